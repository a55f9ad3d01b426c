"""The locks in requirements/: complete, in agreement with each other, and free of the machine they were made on."""

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.txt"))


def pins(lock: Path) -> dict[str, str]:
    """Package names and versions of a lock."""
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[^\]]*\])?==([^\s;]+)", lock.read_text(), re.MULTILINE))


def test_every_list_has_its_lock() -> None:
    assert {file.stem for file in REQUIREMENTS.glob("*.in")} == {file.stem for file in LOCKS}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_holds_what_its_list_names(lock: Path) -> None:
    named = re.findall(r"^([A-Za-z][A-Za-z0-9-]*)", lock.with_suffix(".in").read_text(), re.MULTILINE)
    assert {name.lower() for name in named} <= pins(lock).keys()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_each_package_by_hashes(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", lock.read_text())
    assert all("--hash=sha256:" in entry for entry in entries if entry.strip() and not entry.startswith("#"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_names_no_index_and_no_local_path(lock: Path) -> None:
    assert not re.findall(r"^.*(?:://|--index|--find-links|file:|@ ).*$", lock.read_text(), re.MULTILINE)


def test_the_locks_agree_about_every_package_they_share() -> None:
    together = pins(REQUIREMENTS / "test.txt")
    for lock in LOCKS:
        for package, version in pins(lock).items():
            assert together.get(package, version) == version, f"{lock.name} has {package} {version}"
