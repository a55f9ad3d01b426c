"""The actions `finish_bundle` and `verify_bundle`: a folder becomes a bundle, and a stranger's file is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from helpers.playbook import Play, play

PINS = {"docker.io/library/redis:8.0": "sha256:" + "1" * 64}
ARTIFACTS = {"thing": {"version": "1", "file": "thing-1", "checksums": ""}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "bundle"
    directory.mkdir()
    (directory / "thing-1").write_text("what was published\n")
    return directory


def finish(folder: Path, *options: str) -> Play:
    arguments = {"artifacts": ARTIFACTS, "image_source": "packages", "architecture": "amd64", "pins": PINS}
    tasks = [
        {"name": "Finish", "finish_bundle": {"directory": str(folder), **arguments}},
        {"name": "Verify", "verify_bundle": {"directory": str(folder)}, "when": "not ansible_check_mode"},
    ]
    playbook = folder.parent / "playbook.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    return play(playbook, *options)


def test_a_folder_becomes_a_bundle_once(folder: Path) -> None:
    first = finish(folder)
    assert first.ok, first.output
    described = yaml.safe_load((folder / "bundle.yml").read_text())
    assert (described["artifacts"], described["pins"]) == ({"thing": 1}, PINS)
    assert first.changes == ["Finish"]
    second = finish(folder)
    assert second.ok, second.output
    assert second.changes == []


def test_a_check_finishes_nothing(folder: Path) -> None:
    run = finish(folder, "--check")
    assert run.ok, run.output
    assert [path.name for path in folder.iterdir()] == ["thing-1"]


def test_a_file_of_somebodys_stops_it_before_anything_is_written(folder: Path) -> None:
    (folder / "notes.txt").touch()
    run = finish(folder)
    assert not run.ok
    assert "notes.txt" in run.reasons[-1]
    assert "take it out" in run.reasons[-1]
    assert not (folder / "bundle.yml").exists()
