"""Downloads and bundles: only what is vouched for is taken, and what is not stops the run with a sentence."""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.http_server import Exchange, serving
from helpers.machine import REPOSITORY
from helpers.playbook import Play, play, write_playbook

CONTENT = b"what was published\n"
TASKS = """\
- name: Provide
  ansible.builtin.include_role: {role}
"""
FETCH = "{name: artifact}"
VERIFY = "{name: artifact, tasks_from: bundle}"
CHOOSE = "{name: image, tasks_from: source}"
UNPACK = "{name: workload, tasks_from: artifacts}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def run(tmp_path: Path, *options: str, role: str = FETCH, **variables: Any) -> Play:
    playbook = write_playbook(tmp_path, TASKS.format(role=role))
    directory = {} if "bundle_dir" in variables else {"artifact_directory": str(tmp_path / "files")}
    settings = {"artifact_names": ["thing"], "pins_file": str(tmp_path / "pins.yml")} | directory | variables
    return play(playbook, *options, inventory=str(REPOSITORY / "inventory/local.yml"), **settings)


def stopped(outcome: Play, *words: str) -> None:
    """Asserts that a run stopped, and says these words in one sentence."""
    assert not outcome.ok, outcome.output
    assert len(outcome.reasons) > 0
    assert all(word in " ".join(outcome.reasons) for word in words), outcome.reasons
    assert "Traceback" not in outcome.output


@pytest.fixture
def publisher(tmp_path: Path) -> Path:
    """A directory with a file and the list of its checksum."""
    directory = tmp_path / "publisher"
    directory.mkdir()
    (directory / "thing").write_bytes(CONTENT)
    (directory / "sums.txt").write_text(f"{sha256(b'another')}  another\n{sha256(CONTENT)}  thing\n")
    return directory


@pytest.fixture
def thing(publisher: Path) -> dict[str, dict[str, str]]:
    """The description of that file."""
    url = publisher.as_uri()
    return {"thing": {"version": "1", "url": f"{url}/thing", "file": "thing-1", "checksums": f"{url}/sums.txt"}}


def test_a_file_is_downloaded_once_and_verified_each_time(tmp_path: Path, thing: dict[str, dict[str, str]]) -> None:
    first = run(tmp_path, artifacts=thing)
    assert first.ok, first.output
    assert (tmp_path / "files/thing-1").read_bytes() == CONTENT
    second = run(tmp_path, artifacts=thing)
    assert second.ok, second.output
    assert second.changes == []
    (tmp_path / "files/thing-1").write_bytes(b"tampered with")
    third = run(tmp_path, artifacts=thing)
    assert third.ok, third.output
    assert (tmp_path / "files/thing-1").read_bytes() == CONTENT


def test_check_mode_downloads_nothing(tmp_path: Path, thing: dict[str, dict[str, str]]) -> None:
    outcome = run(tmp_path, "--check", artifacts=thing)
    assert outcome.ok, outcome.output
    assert not (tmp_path / "files").exists()


def test_a_file_that_is_not_what_was_published_is_not_kept(
    tmp_path: Path, publisher: Path, thing: dict[str, dict[str, str]]
) -> None:
    (publisher / "thing").write_bytes(b"changed")
    stopped(run(tmp_path, artifacts=thing), "thing-1", sha256(CONTENT), sha256(b"changed"), "sums.txt")
    assert not (tmp_path / "files/thing-1").exists()


@pytest.mark.parametrize("where", ["in the file", "in the lock"])
def test_where_there_is_a_pin_only_that_counts(tmp_path: Path, thing: dict[str, dict[str, str]], where: str) -> None:
    seen = sha256(b"what was seen here")
    if where == "in the file":
        outcome = run(tmp_path, artifacts={"thing": thing["thing"] | {"sha256": seen}})
    else:
        outcome = run(tmp_path, artifacts=thing, published_pins={"thing-1": f"sha256:{seen}"})
    stopped(outcome, "thing-1", seen, sha256(CONTENT), "pinned")
    assert not (tmp_path / "files/thing-1").exists()


def test_with_a_pin_the_publishers_list_is_not_asked(
    tmp_path: Path, publisher: Path, thing: dict[str, dict[str, str]]
) -> None:
    (publisher / "sums.txt").unlink()
    outcome = run(tmp_path, artifacts=thing, published_pins={"thing-1": f"sha256:{sha256(CONTENT)}"})
    assert outcome.ok, outcome.output


def test_a_file_for_which_nobody_vouches_is_pinned_and_only_that_counts_then(
    tmp_path: Path, publisher: Path, thing: dict[str, dict[str, str]]
) -> None:
    spec = {key: value for key, value in thing["thing"].items() if key != "checksums"}
    outcome = run(tmp_path, artifacts={"thing": spec})
    assert outcome.ok, outcome.output
    assert yaml.safe_load((tmp_path / "pins.yml").read_text()) == {"thing-1": f"sha256:{sha256(CONTENT)}"}
    (publisher / "thing").write_bytes(b"changed")
    (tmp_path / "files/thing-1").unlink()
    stopped(run(tmp_path, artifacts={"thing": spec}), "thing-1", sha256(b"changed"), "pinned in", "pins.yml")


def test_a_file_that_somebody_has_brought_is_taken_as_it_is_each_time(
    tmp_path: Path, publisher: Path, thing: dict[str, dict[str, str]]
) -> None:
    spec = {key: value for key, value in thing["thing"].items() if key != "checksums"} | {"brought": True}
    for content in (CONTENT, b"built again\n"):
        (publisher / "thing").write_bytes(content)
        outcome = run(tmp_path, artifacts={"thing": spec})
        assert outcome.ok, outcome.output
        assert (tmp_path / "files/thing-1").read_bytes() == content
    assert run(tmp_path, artifacts={"thing": spec}).changes == []


def test_the_index_of_a_chart_repository_is_a_list_of_checksums(tmp_path: Path, publisher: Path) -> None:
    (publisher / "thing-1.tgz").write_bytes(CONTENT)
    url = publisher.as_uri()
    spec = {"version": "1", "url": f"{url}/thing-1.tgz", "file": "thing-1.tgz", "checksums": f"{url}/index.yaml"}
    entries = [{"version": "2", "digest": sha256(b"another")}, {"version": "1", "digest": sha256(CONTENT)}]
    (publisher / "index.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "entries": {"thing": entries}}))
    outcome = run(tmp_path, artifacts={"thing": spec})
    assert outcome.ok, outcome.output
    (publisher / "thing-1.tgz").write_bytes(b"changed")
    (tmp_path / "files/thing-1.tgz").unlink()
    stopped(run(tmp_path, artifacts={"thing": spec}), "thing-1.tgz", sha256(CONTENT), sha256(b"changed"))


def test_a_file_that_the_publishers_list_lacks_is_refused(
    tmp_path: Path, publisher: Path, thing: dict[str, dict[str, str]]
) -> None:
    (publisher / "sums.txt").write_text(f"{sha256(CONTENT)}  something\n")
    stopped(run(tmp_path, artifacts=thing), "sums.txt has no checksum of thing")
    assert not (tmp_path / "files/thing-1").exists()


@pytest.mark.parametrize("missing", ["thing", "sums.txt"])
def test_a_publisher_out_of_reach_stops_the_run(
    tmp_path: Path, publisher: Path, thing: dict[str, dict[str, str]], missing: str
) -> None:
    (publisher / missing).unlink()
    stopped(run(tmp_path, artifacts=thing), missing, "cannot be downloaded", "http_proxy", "bundle")


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """The URL of a proxy, and the URLs that it was asked for."""
    asked: list[str] = []

    def answer(exchange: Exchange) -> None:
        """It has the file whatever it is asked for."""
        asked.append(exchange.path)
        content = f"{sha256(CONTENT)}  thing\n".encode() if exchange.path.endswith("sums.txt") else CONTENT
        exchange.reply(200, content, "application/octet-stream")

    with serving(answer) as port:
        yield f"http://127.0.0.1:{port}", asked


def test_the_downloads_go_through_the_proxy(tmp_path: Path, proxy: tuple[str, list[str]]) -> None:
    url = "http://publisher.invalid"
    spec = {"version": "1", "url": f"{url}/thing", "file": "thing-1", "checksums": f"{url}/sums.txt"}
    outcome = run(tmp_path, artifacts={"thing": spec}, http_proxy=proxy[0])
    assert outcome.ok, outcome.output
    assert proxy[1] == [f"{url}/sums.txt", f"{url}/thing"]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of that file, and of images that this repository does not have."""
    directory = tmp_path / "bundle"
    (directory / "images").mkdir(parents=True)
    (directory / "thing-1").write_bytes(CONTENT)
    (directory / "images/services-000000000000.tar.zst").write_bytes(b"an image")
    (directory / "bundle.yml").write_text("image_source: packages\n")
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    sums = [f"{sha256(path.read_bytes())}  {path.relative_to(directory)}\n" for path in files]
    (directory / "SHA256SUMS").write_text("".join(sums))
    return directory


def test_a_bundle_needs_no_publisher(
    tmp_path: Path, publisher: Path, bundle: Path, thing: dict[str, dict[str, str]]
) -> None:
    (publisher / "thing").unlink()
    (publisher / "sums.txt").unlink()
    outcome = run(tmp_path, artifacts=thing, bundle_dir=str(bundle))
    assert outcome.ok, outcome.output
    assert outcome.changes == []


@pytest.mark.parametrize("what", ["missing", "changed", "not on its list"])
def test_a_bundle_that_is_not_as_it_was_made_stops_the_run(tmp_path: Path, bundle: Path, what: str) -> None:
    image = bundle / "images/services-000000000000.tar.zst"
    if what == "missing":
        image.unlink()
    elif what == "changed":
        image.write_bytes(b"an imagf")
    else:
        image = bundle / "images/.hidden"
        image.write_bytes(b"")
    stopped(run(tmp_path, role=VERIFY, bundle_dir=str(bundle)), str(bundle), f"{what}: images/{image.name}")


def test_a_folder_without_a_list_is_no_bundle(tmp_path: Path, bundle: Path) -> None:
    (bundle / "SHA256SUMS").unlink()
    stopped(run(tmp_path, role=VERIFY, bundle_dir=str(bundle)), "not a bundle", "playbooks/bundle.yml")


def test_a_bundle_that_lacks_a_file_stops_the_run(
    tmp_path: Path, bundle: Path, thing: dict[str, dict[str, str]]
) -> None:
    stopped(
        run(tmp_path, artifacts={"thing": thing["thing"] | {"file": "thing-2"}}, bundle_dir=str(bundle)), "no thing-2"
    )


def test_a_bundle_with_another_file_than_the_pinned_one_stops_the_run(
    tmp_path: Path, bundle: Path, thing: dict[str, dict[str, str]]
) -> None:
    seen = sha256(b"what was seen here")
    pins = {"thing-1": f"sha256:{seen}"}
    stopped(run(tmp_path, artifacts=thing, published_pins=pins, bundle_dir=str(bundle)), "thing-1", seen, "pinned in")


def test_a_bundle_of_another_state_of_the_repository_stops_the_run(tmp_path: Path, bundle: Path) -> None:
    outcome = run(tmp_path, role=CHOOSE, bundle_dir=str(bundle), config_dir=str(tmp_path / "etc"))
    stopped(outcome, "another state of this repository", "playbooks/bundle.yml")


def test_a_bundle_decides_where_images_come_from(tmp_path: Path, bundle: Path) -> None:
    variables = {"bundle_dir": str(bundle), "config_dir": str(tmp_path / "etc")}
    stopped(run(tmp_path, role=CHOOSE, image_source="registry", **variables), "image_source is registry", "packages")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/image_source").write_text("registry\n")
    stopped(run(tmp_path, role=CHOOSE, **variables), "made with image_source registry", "bundle")


def test_what_a_workload_gets_is_unpacked_once_and_an_earlier_version_removed(tmp_path: Path) -> None:
    def provide(version: str) -> Play:
        archive = tmp_path / f"plugin-{version}.zip"
        if not archive.exists():
            with zipfile.ZipFile(archive, "w") as packed:
                packed.writestr("plugin/program", version)  # without the right to be run, as in a published one
        thing = {
            "version": version,
            "url": archive.as_uri(),
            "file": archive.name,
            "sha256": sha256(archive.read_bytes()),
        }
        workload = {"artifacts": {"directory": "/srv/plugins", "names": ["thing"]}}
        state = {"state_dir": str(tmp_path / "state"), "workload_name": "shower", "workload_spec": workload}
        return run(tmp_path, role=UNPACK, artifacts={"thing": thing}, **state)

    first = provide("1")
    assert first.ok, first.output
    second = provide("1")
    assert second.ok, second.output
    assert second.changes == []
    third = provide("2")
    assert third.ok, third.output
    (left,) = (tmp_path / "state/artifacts/shower").iterdir()
    program = left / "plugin/program"
    assert (left.name, program.read_text()) == ("plugin-2", "2")
    assert program.stat().st_mode & 0o777 == 0o755
