"""The module package_repository: packages with all that they depend on, and nothing that depends on this host."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from helpers.debian_packages import build, index
from helpers.debian_packages import repository as module
from helpers.playbook import Play, play

PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Collect
      package_repository: {packages: "{{ packages }}", sources: "{{ sources }}", dest: "{{ dest }}"}
"""


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A mirror with a package, what it depends on, and one that nobody asks for."""
    if not shutil.which("apt-get"):
        pytest.skip("this machine has no apt")
    directory = tmp_path / "mirror"
    directory.mkdir()
    # What a host has anyway is collected as well: another host may have an older one.
    build(directory, "wanted", "1:2.0", depends="needed (>= 1.0)")
    build(directory, "needed")
    build(directory, "other")
    offer(directory)
    return directory


def offer(mirror: Path) -> None:
    """Writes the index of a mirror."""
    (mirror / "Packages").write_text(index(mirror))


def collect(mirror: Path, *options: str, packages: Any = ("wanted",)) -> Play:
    playbook = mirror.parent / "playbook.yml"
    playbook.write_text(PLAYBOOK)
    # apt would take what is at a file: where it is.
    sources = f"deb [trusted=yes] copy:{mirror} ./\n"
    return play(playbook, *options, packages=[*packages], sources=sources, dest=str(mirror.parent / "archive.tar"))


def names(archive: Path) -> list[str]:
    with tarfile.open(archive) as opened:
        return opened.getnames()


def test_what_a_package_depends_on_is_collected_and_nothing_else(mirror: Path) -> None:
    done = collect(mirror)
    assert done.ok, done.output
    assert done.changes == ["Collect"]
    archive = mirror.parent / "archive.tar"
    assert names(archive) == ["Packages", "needed_1.0_all.deb", "wanted_2.0_all.deb"]
    assert (archive.stat().st_mode & 0o777, [path.name for path in mirror.parent.glob(".*")]) == (0o644, [])
    listed = module.index_of(archive)
    assert "Version: 1:2.0\n" in listed
    assert module.sums_in(listed).keys() == {"needed_1.0_all.deb", "wanted_2.0_all.deb"}


def test_a_second_time_changes_nothing_until_there_is_a_newer_one(mirror: Path) -> None:
    assert collect(mirror).changes == ["Collect"]
    archive = mirror.parent / "archive.tar"
    before = archive.read_bytes()
    again = collect(mirror)
    assert again.ok, again.output
    assert again.changes == []
    archive.unlink()
    assert collect(mirror).changes == ["Collect"]
    assert archive.read_bytes() == before, "the same packages make the same archive"
    build(mirror, "needed", "1.1")
    offer(mirror)
    assert collect(mirror).changes == ["Collect"]
    assert names(archive) == ["Packages", "needed_1.1_all.deb", "wanted_2.0_all.deb"]


def test_what_is_there_and_no_archive_is_made_anew(mirror: Path) -> None:
    (mirror.parent / "archive.tar").write_text("half an archive")
    assert collect(mirror).changes == ["Collect"]
    assert len(names(mirror.parent / "archive.tar")) == 3


def test_check_mode_asks_no_mirror(mirror: Path) -> None:
    (mirror / "Packages").unlink()
    done = collect(mirror, "--check")
    assert done.ok, done.output
    assert done.changes == ["Collect"]
    assert not (mirror.parent / "archive.tar").exists()


@pytest.mark.parametrize(("packages", "said"), [(["unknown"], "unknown"), (["broken"], "nowhere")])
def test_a_package_that_cannot_be_had_is_named(mirror: Path, packages: list[str], said: str) -> None:
    build(mirror, "broken", depends="nowhere")
    offer(mirror)
    done = collect(mirror, packages=packages)
    assert not done.ok
    assert said in done.reasons[0]
    assert "Traceback" not in done.output
    assert not (mirror.parent / "archive.tar").exists()


def test_a_mirror_that_does_not_answer_is_an_error(mirror: Path) -> None:
    shutil.rmtree(mirror)
    done = collect(mirror)
    assert not done.ok
    assert str(mirror) in done.reasons[0]


def test_this_hosts_own_packages_do_not_count(mirror: Path) -> None:
    """Otherwise a bundle would lack what the host that makes it happens to have."""
    build(mirror, "dpkg", "99:1")
    build(mirror, "wants-dpkg", depends="dpkg")
    offer(mirror)
    done = collect(mirror, packages=["wants-dpkg"])
    assert done.ok, done.output
    assert "dpkg_1_all.deb" in names(mirror.parent / "archive.tar")


def test_a_name_has_no_epoch(tmp_path: Path) -> None:
    assert module.named("libgmp10_2%3a6.3.0+dfsg-3_amd64.deb") == "libgmp10_6.3.0+dfsg-3_amd64.deb"
    uris = (
        "'http://mirror/a/adduser_3.134_all.deb' adduser_3.134_all.deb 160948 SHA256:ab12\n"
        "'http://mirror/l/libgmp10_6.3.0_amd64.deb' libgmp10_2%3a6.3.0_amd64.deb 5 SHA256:cd34\n"
    )
    assert module.wanted(uris) == {"adduser_3.134_all.deb": "ab12", "libgmp10_6.3.0_amd64.deb": "cd34"}
