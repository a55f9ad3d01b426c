"""The module build_context: packs what builds need, with modes of its own."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from helpers.plugins import load

build_context = load("modules", "build_context")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository that was cloned under the umask 077."""
    root = tmp_path / "a clone"
    (root / "services/relay").mkdir(parents=True)
    (root / "services/relay/__init__.py").write_text("'relay'")
    (root / "services/relay/run").write_text("#!/bin/sh")
    (root / "services/relay/link").symlink_to("run")
    (root / "services/relay/__pycache__").mkdir()
    (root / "services/relay/__pycache__/x.pyc").write_bytes(b"0")
    (root / "services/ledger.txt").write_text("not asked for")
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() or path.name == "run" else 0o600)
    return root


def packed(clone: Path, name: str = "context.tar.gz") -> list[tarfile.TarInfo]:
    archive = clone.parent / name
    build_context.pack(clone, ["services/relay"], archive)
    with tarfile.open(archive) as opened:
        return opened.getmembers()


def test_modes_are_ours_whatever_they_are_in_the_clone(clone: Path) -> None:
    modes = {member.name: oct(member.mode) for member in packed(clone) if not member.issym()}
    assert modes == {
        "services": "0o755",
        "services/relay": "0o755",
        "services/relay/__init__.py": "0o644",
        "services/relay/run": "0o755",
    }


def test_contents_and_links_are_those_of_the_clone(clone: Path) -> None:
    links = {member.name: member.linkname for member in packed(clone) if member.issym()}
    assert links == {"services/relay/link": "run"}
    with tarfile.open(clone.parent / "context.tar.gz") as archive:
        file = archive.extractfile("services/relay/__init__.py")
        assert file is not None
        assert file.read() == b"'relay'"


def test_nothing_says_whose_the_clone_is(clone: Path) -> None:
    assert {(member.uid, member.gid, member.uname, member.gname) for member in packed(clone)} == {
        (0, 0, "root", "root")
    }
