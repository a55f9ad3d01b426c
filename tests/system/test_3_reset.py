"""Removing courseload: not without a yes, on request without the data, and in the end without a trace."""

import os
from pathlib import Path

import pytest

from helpers import courseload, machine
from helpers.playbook import play

WRITTEN = (
    "/etc/courseload",
    "/var/lib/courseload",
    "/etc/containers/containers.conf.d/courseload.conf",
    "/etc/sysctl.d/60-courseload.conf",
)

may_reset = pytest.mark.skipif(
    os.environ.get("COURSELOAD_MAY_RESET") != "yes",
    reason="courseload was on this machine before the tests: it stays, with its data",
)


def volumes() -> list[str]:
    return [name for name in machine.podman_list("volume") if name.startswith("courseload-")]


def test_nothing_is_removed_without_a_yes() -> None:
    run = play("playbooks/reset.yml", confirm="no")
    assert not run.ok
    assert run.changes == []
    assert "Nothing was removed" in " ".join(run.reasons)
    assert courseload.serves()


@may_reset
def test_the_data_is_kept_on_request() -> None:
    before = volumes()
    run = play("playbooks/reset.yml", confirm="yes", keep_data=True)
    assert run.ok, run.output[-4000:]
    assert volumes() == before
    assert machine.credential("mongodb", "uri")
    assert courseload.pods() == []


@may_reset
def test_nothing_is_left_in_the_end() -> None:
    run = play("playbooks/reset.yml", confirm="yes", keep_data="false")  # a text, as -e keep_data=false gives it
    assert run.ok, run.output[-4000:]
    assert volumes() == []
    assert "courseload" not in machine.podman_list("network")
    assert [image for image in machine.podman_list("image") if "/courseload/" in image] == []
    assert [path for path in WRITTEN if Path(path).exists()] == []
    assert not machine.installed()


@may_reset
def test_a_second_reset_has_nothing_to_do() -> None:
    run = play("playbooks/reset.yml", confirm="yes")
    assert run.ok, run.output[-4000:]
    assert run.changes == []
