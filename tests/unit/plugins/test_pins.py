"""Pins: what they are read from, where each is, and what is said of those that are new or differ."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from courseload import pins
from helpers.machine import REPOSITORY

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
IMAGES = {
    "redis": {"name": "docker.io/library/redis", "tag": "8.0"},
    "mongo": {"name": "docker.io/library/mongo", "tag": "8.0"},
}
REDIS = "docker.io/library/redis:8.0"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pins.yml"


def test_a_file_has_pins_by_name_and_one_that_is_absent_or_empty_has_none(file: Path) -> None:
    assert pins.in_file(str(file)) == {}
    file.write_text("# Nothing yet.\n")
    assert pins.in_file(str(file)) == {}
    file.write_text(f"# Two.\n{REDIS}: {ONE}\nthing-1.zip: {TWO}\n")
    assert pins.in_file(str(file)) == {REDIS: ONE, "thing-1.zip": TWO}


@pytest.mark.parametrize(
    "text", ["- a\n", "a: 1\n", "a: [\n", f"a: {ONE[:-1]}\n", f"a: {ONE[7:]}\n", f"a: sha256:{'A' * 64}\n"]
)
def test_what_is_no_pin_is_refused_with_the_name_of_the_file(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(str(file))):
        pins.in_file(str(file))


def test_images_are_pinned_by_their_name_and_tag() -> None:
    digests = pins.of_images(IMAGES, {REDIS: ONE, "docker.io/library/mongo:7.0": TWO})
    assert digests == {"redis": ONE}
    assert pins.by_name(digests, IMAGES) == {REDIS: ONE}


def test_another_digest_is_named_with_where_it_is_pinned_and_what_to_do(file: Path) -> None:
    known = {REDIS: ONE, "thing-1": ONE}
    assert pins.differing({REDIS: ONE, "new": TWO}, known, str(file)) == []
    (published,) = pins.differing({REDIS: TWO}, known, str(file))
    assert f"{REDIS} is {TWO} now, and pinned as {ONE} in group_vars/all/pins.yml" in published
    assert f"have this line in {file}, then run this again: {REDIS}: {TWO}" in published
    file.write_text(f"{REDIS}: {ONE}\n")
    (mine,) = pins.differing({REDIS: TWO}, known, str(file))
    assert f"in {file}: find out" in mine
    assert pins.missing({REDIS: TWO, "new": TWO}, known) == {"new": TWO}


def test_the_summary_says_how_many_were_pinned_and_where() -> None:
    assert pins.summary({REDIS: ONE, "a": ""}, "/pins.yml", check=False) == (
        f"New pins in /pins.yml: 2 (a, {REDIS}). "
        "Keep that file with the inventory, because only they count from now on."
    )
    assert "there would be new pins in /pins.yml: 1" in pins.summary({"a": ""}, "/pins.yml", check=True)
    assert pins.summary({}, "/pins.yml", check=False).startswith("Nothing was pinned")


def test_what_was_seen_in_public_is_pins_and_in_one_list_only(tmp_path: Path) -> None:
    seen = yaml.safe_load((REPOSITORY / "group_vars/all/pins.yml").read_text())
    for name in ("published_pins", "published_once"):
        (tmp_path / name).write_text(yaml.safe_dump(seen[name]))
        assert pins.in_file(str(tmp_path / name)) == seen[name] != {}
    assert seen["published_pins"].keys() & seen["published_once"].keys() == set()
