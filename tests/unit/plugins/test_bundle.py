"""A bundle: what it says of itself, and which files are its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from courseload import bundle
from courseload.artifacts import SUMS, deviations
from courseload.pins import in_bundle, refreshed_in_bundle

ARTIFACTS: dict[str, dict[str, Any]] = {
    "k3s-amd64": {"version": "v2", "file": "k3s-v2", "checksums": "https://example.invalid/sums.txt"},
    "plugin": {"version": "1.0", "file": "plugin.zip"},
}
HOSTS = bundle.Hosts("amd64", ["bookworm", "trixie"])
NAMES = ("bundle.yml", "k3s-v2", "plugin.zip", "images/redis.tar.zst")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in NAMES:
        (tmp_path / name).write_text(name)
    return tmp_path


def test_a_bundle_says_what_it_was_made_from() -> None:
    described = {
        "image_source": "packages",
        "architecture": "amd64",
        "releases": ["bookworm", "trixie"],
        "artifacts": {"k3s-amd64": "v2", "plugin": 1.0},
    }
    assert yaml.safe_load(bundle.describe("packages", HOSTS, ARTIFACTS, {})) == described
    pins = {"docker.io/library/redis:8.0": "sha256:" + "1" * 64}
    assert yaml.safe_load(bundle.describe("packages", HOSTS, ARTIFACTS, pins)) == described | {"pins": pins}


def test_the_pins_of_a_bundle_are_those_that_it_was_made_with(tmp_path: Path) -> None:
    pins = {"docker.io/library/redis:8.0": "sha256:" + "1" * 64}
    for expected in (pins, {}):
        (tmp_path / "bundle.yml").write_text(bundle.describe("packages", HOSTS, ARTIFACTS, expected))
        assert in_bundle(str(tmp_path / "bundle.yml")) == expected


def test_a_bundle_knows_when_newer_packages_were_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "bundle.yml"
    for expected in ("2026-11-30T12:00:00Z", ""):
        file.write_text(bundle.describe("packages", HOSTS, ARTIFACTS, {}, expected))
        assert refreshed_in_bundle(str(file)) == expected
    assert refreshed_in_bundle(str(tmp_path / "none.yml")) == ""


def test_what_an_earlier_bundle_had_is_replaced_and_anything_else_is_strange(directory: Path) -> None:
    (directory / SUMS).write_text(bundle.sums(directory, NAMES) + "0" * 64 + "  k3s-v1\n")
    for name in ("k3s-v1", "notes.txt", "images/deeper/file"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).touch()
    found = bundle.contents(directory, ARTIFACTS)
    assert found.kept == sorted(NAMES)
    assert found.replaced == ["k3s-v1"]
    assert found.strange == ["images/deeper/file", "notes.txt"]


def test_packages_of_a_release_that_is_not_wanted_any_more_are_replaced(directory: Path) -> None:
    """Also where the bundle was never finished, and so has no list."""
    (directory / "packages").mkdir()
    for name in HOSTS.repositories:
        (directory / name).touch()
    found = bundle.contents(directory, ARTIFACTS, bundle.Hosts("amd64", ["trixie"]).repositories)
    assert found.kept == sorted([*NAMES, "packages/trixie-amd64.tar"])
    assert (found.replaced, found.strange) == (["packages/bookworm-amd64.tar"], [])


def test_a_link_is_no_part_of_a_bundle(directory: Path) -> None:
    (directory / "plugin.zip").unlink()
    (directory / "plugin.zip").symlink_to("k3s-v2")
    assert bundle.contents(directory, ARTIFACTS).strange == ["plugin.zip"]


def test_a_bundle_with_its_list_has_no_deviations(directory: Path) -> None:
    names = bundle.contents(directory, ARTIFACTS).kept
    assert bundle.write(directory / SUMS, bundle.sums(directory, names), dry=False)
    assert deviations(directory) == {}
    assert bundle.contents(directory, ARTIFACTS).kept == names


def test_a_file_is_written_where_it_differs_and_not_in_check_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert bundle.write(path, "text", dry=True)
    assert not path.exists()
    assert bundle.write(path, "text", dry=False)
    assert not bundle.write(path, "text", dry=False)
    assert path.stat().st_mode & 0o777 == 0o644
