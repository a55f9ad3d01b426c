"""What chaos.yml says when a service of the running system is wrong on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers import courseload
from helpers.machine import podman
from helpers.playbook import play
from prover import planted


@contextmanager
def defect_in(container: str, defect: Callable[[], None]) -> Iterator[None]:
    """The container's service starts anew with the defect, and in the end without it."""
    files = Path(podman("mount", container)) / "app"
    start, defects = files / "sitecustomize.py", files / "planted.py"
    try:
        defects.write_text(Path(planted.__file__).read_text())
        start.write_text(f"import planted\n\nplanted.{defect.__name__}()\n")
        courseload.kill(container)
        courseload.wait_until_it_serves(60)
        yield
    finally:
        start.unlink()
        defects.unlink()
        podman("unmount", container)
        courseload.kill(container)
        courseload.wait_until_it_serves(60)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("container", "defect", "fault", "verdict"),
    [
        ("relay-relay", planted.acknowledges_before_the_write, "killed/relay", "lost"),
        ("direct-direct", planted.forgets_to_count, "killed/redis", "lost"),
        ("direct-direct", planted.counts_twice, "killed/redis", "doubled"),
    ],
)
def test_a_planted_defect_fails_the_faults(
    tmp_path: Path, container: str, defect: Callable[[], None], fault: str, verdict: str
) -> None:
    with defect_in(container, defect):
        done = play("chaos.yml", faults=fault, locust_reports_dir=str(tmp_path))
    assert not done.ok
    (found,) = tmp_path.glob("*-chaos/chaos.json")
    (trial,) = json.loads(found.read_text())["trials"]
    assert trial["verdict"] == verdict, trial["why"]
