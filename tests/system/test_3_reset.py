"""A second run, beside what is somebody else's, and removal: not without a yes, and in the end without a trace."""

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers import courseload, machine
from helpers.courseload import may_reset
from helpers.others import Others, others_here, their_files_here
from helpers.playbook import Play, play

MODES: dict[str, list[str]] = {"for good": [], "check": ["--check"]}
LOAD_PODS = ("locust-master", "locust-worker-1")
WRITTEN = (
    "/etc/courseload",
    "/var/lib/courseload",
    "/etc/containers/containers.conf.d/courseload.conf",
    "/etc/sysctl.d/60-courseload.conf",
    "/etc/systemd/system/libpod-.scope.d",
)


def volumes() -> list[str]:
    return [name for name in machine.podman_list("volume") if name.startswith("courseload-")]


def test_nothing_is_removed_without_a_yes() -> None:
    run = play("playbooks/reset.yml", confirm="no")
    assert not run.ok
    assert run.changes == []
    assert "Nothing was removed" in " ".join(run.reasons)
    assert courseload.serves()


# --- What is somebody else's


@pytest.fixture(scope="module")
def others() -> Iterator[Others]:
    with others_here() as found:
        yield found


@pytest.fixture(scope="module")
def their_files() -> Iterator[list[Path]]:
    with their_files_here() as files:
        yield files


@pytest.fixture(scope="module")
def second_runs(others: Others, their_files: list[Path]) -> dict[str, Play]:
    """What site.yml does where it has been run, for good and in check mode, both at once: nothing is to change."""
    with ThreadPoolExecutor() as pool:
        runs = {mode: pool.submit(play, "site.yml", *options) for mode, options in MODES.items()}
    return {mode: run.result() for mode, run in runs.items()}


@pytest.mark.parametrize("mode", MODES)
def test_a_second_run_has_nothing_to_change(second_runs: dict[str, Play], mode: str) -> None:
    assert second_runs[mode].ok, second_runs[mode].output[-4000:]
    assert second_runs[mode].changes == []


def test_the_summary_says_where_grafana_is_or_what_to_do_for_it(second_runs: dict[str, Play]) -> None:
    runs = "grafana" in courseload.pods()
    said = " ".join(second_runs["for good"].output.split())
    assert ("Grafana, on this host only: http://localhost:3000" in said) is runs
    assert ("Grafana was left out" in said) is not runs
    assert runs or "set it up with -e image_source=registry" in said


def test_site_touches_nothing_of_somebody_elses(
    second_runs: dict[str, Play], others: Others, their_files: list[Path]
) -> None:
    assert others.here() == others.all()
    assert [path for path in their_files if not path.exists()] == []


@dataclass(frozen=True)
class Refused:
    """What the playbooks say where names and a directory that they need are somebody else's, and what is left there."""

    runs: dict[str, Play]
    directory: Path
    pods: list[str]


@pytest.fixture(scope="module")
def refused(others: Others, tmp_path_factory: pytest.TempPathFactory) -> Refused:
    """All at once: each has a sentence of its own."""
    directory = tmp_path_factory.mktemp("theirs")
    (directory / "theirs").mkdir()
    directory.chmod(0o755)
    machine.podman("volume", "create", "locust-master-scratch-1")
    for name in LOAD_PODS:
        machine.podman("pod", "create", f"--name={name}")
    try:
        with ThreadPoolExecutor() as pool:
            site = pool.submit(play, "site.yml", pod_network=others.network, state_dir=str(directory))
            load = pool.submit(play, "loadtest.yml", users=10, duration="8s")
        runs = {"site.yml": site.result(), "loadtest.yml": load.result()}
        return Refused(runs, directory, machine.podman_list("pod"))
    finally:
        machine.podman("pod", "rm", *LOAD_PODS)
        machine.podman("volume", "rm", "locust-master-scratch-1")


def stopped(run: Play, *words: str) -> None:
    assert not run.ok, run.output[-4000:]
    assert run.changes == []
    assert all(word in " ".join(run.reasons) for word in words), run.reasons


@pytest.mark.parametrize("playbook", ["site.yml", "loadtest.yml"])
def test_stops_where_a_volume_that_it_needs_is_somebody_elses(refused: Refused, playbook: str) -> None:
    stopped(refused.runs[playbook], "volume called locust-master-scratch-1", "podman volume rm")


@pytest.mark.parametrize("name", LOAD_PODS)
def test_a_load_test_stops_where_its_pod_is_somebody_elses(refused: Refused, name: str) -> None:
    stopped(refused.runs["loadtest.yml"], f"pod called {name}", "rename or remove it")
    assert name in refused.pods


def test_site_stops_where_the_network_is_somebody_elses(refused: Refused, others: Others) -> None:
    stopped(refused.runs["site.yml"], f"network called {others.network}", "pod_network")


def test_site_stops_where_a_directory_has_something_in_it(refused: Refused) -> None:
    stopped(refused.runs["site.yml"], str(refused.directory), "-e state_dir=")
    assert stat.S_IMODE(refused.directory.stat().st_mode) == 0o755


def test_a_check_of_reset_names_no_directory_of_somebody_elses(tmp_path: Path) -> None:
    for name in ("build/context", "credentials/redis", "pods"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "uri").touch()
    run = play("playbooks/reset.yml", "--check", confirm="yes", config_dir=str(tmp_path), state_dir=str(tmp_path))
    assert run.ok, run.output[-4000:]
    assert f"{tmp_path} stays as it is" in run.output
    assert courseload.serves()


# --- Removal


@pytest.fixture(scope="module")
def kept(others: Others, their_files: list[Path]) -> list[str]:
    """A reset that keeps the data; returns the volumes of before."""
    before = volumes()
    run = play("playbooks/reset.yml", confirm="yes", keep_data=True)
    assert run.ok, run.output[-4000:]
    return before


@may_reset
def test_the_data_is_kept_on_request(kept: list[str]) -> None:
    assert volumes() == kept
    assert machine.credential("mongodb", "uri")
    assert courseload.pods() == ["theirs"]


@may_reset
def test_a_reset_leaves_what_is_somebody_elses(kept: list[str], others: Others, their_files: list[Path]) -> None:
    assert others.here() == others.all()
    assert [path for path in their_files if not path.exists()] == []
    for path in their_files:
        path.unlink()


@may_reset
def test_nothing_of_ours_is_left_in_the_end(kept: list[str], others: Others) -> None:
    for place in ("/etc/courseload/credentials/redis", "/etc/courseload/pods", "/var/lib/courseload/loadtest"):
        if Path(place).exists() and not any(Path(place).iterdir()):
            Path(place).rmdir()  # what somebody else has left there
    Path("/var/cache/courseload").rmdir()
    run = play("playbooks/reset.yml", confirm="yes", keep_data="false")  # a text, as -e keep_data=false gives it
    assert run.ok, run.output[-4000:]
    assert others.here() == others.all()
    assert volumes() == ["courseload-backup"]
    assert "courseload" not in machine.podman_list("network")
    assert [image for image in machine.podman_list("image") if "/courseload/" in image] == [others.image]
    assert [path for path in WRITTEN if Path(path).exists()] == []
    assert not machine.installed()


@may_reset
def test_a_second_reset_has_nothing_to_do() -> None:
    run = play("playbooks/reset.yml", confirm="yes")
    assert run.ok, run.output[-4000:]
    assert run.changes == []
