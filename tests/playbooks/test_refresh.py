"""refresh=true: the images of a run are other ones than before, from its beginning on, and stay so."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.machine import REPOSITORY
from helpers.playbook import Play, play, write_playbook

RECORDED = "Record what the control machine keeps"
TASKS = f"""\
- ansible.builtin.include_tasks: {REPOSITORY}/playbooks/tasks/refresh.yml
  when: refresh | bool
- ansible.builtin.include_role: {{name: image, tasks_from: source}}
- ansible.builtin.debug: {{var: image_references.redis}}
- ansible.builtin.include_role: {{name: control_machine, tasks_from: record}}
"""


@pytest.fixture
def redis(tmp_path: Path) -> Callable[..., tuple[str, Play]]:
    """Runs the playbook from a control machine, and returns the image of Redis and what was done."""
    playbook = write_playbook(tmp_path, TASKS)
    (tmp_path / "etc").mkdir()

    def run(machine: str = "first", **variables: Any) -> tuple[str, Play]:
        (tmp_path / machine).mkdir(exist_ok=True)
        settings = {"pins_file": str(tmp_path / machine / "pins.yml"), "config_dir": str(tmp_path / "etc")}
        done = play(playbook, image_source="packages", **settings, **variables)
        (found,) = re.findall(r"localhost/courseload/redis:\w+", done.output)[-1:] or [""]
        return found, done

    return run


def test_images_are_built_anew_once_for_each_time_that_it_is_asked_for(
    tmp_path: Path, redis: Callable[..., tuple[str, Play]]
) -> None:
    before, _ = redis()
    refreshed, done = redis(refresh=True)
    assert refreshed != before
    assert done.changes == ["Record when packages were to be new", RECORDED]
    after, done = redis()
    assert (after, done.changes) == (refreshed, [])
    refused = redis(refresh=True, bundle_dir=str(tmp_path))[1]
    assert "make another bundle, with playbooks/bundle.yml -e refresh=true" in " ".join(refused.reasons)


def test_a_second_machine_does_not_go_back_to_what_was_before(
    tmp_path: Path, redis: Callable[..., tuple[str, Play]]
) -> None:
    refreshed, _ = redis(refresh=True)
    _, refused = redis("second")
    assert not refused.ok
    assert refused.changes == []
    reason = refused.reasons[0]
    first, second = (tmp_path / machine / "refreshed" for machine in ("first", "second"))
    moment = first.read_text().strip()
    assert all(words in reason for words in (f"{second} is not here", f"Bring {first}", f"line in it: {moment}"))
    second.write_text("2026-01-01T00:00:00Z\n")
    assert f"{second} says 2026-01-01T00:00:00Z" in redis("second")[1].reasons[0]
    shutil.copy(first, second)
    image, done = redis("second")
    assert (image, done.changes) == (refreshed, [RECORDED])
    # Whoever asks for newer packages asks for no older ones.
    second.unlink()
    _, done = redis("second", refresh=True)
    assert done.ok, done.output
    assert redis("first")[1].reasons != []
