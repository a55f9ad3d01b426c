"""What a second control machine is told: what it lacks, and what is otherwise on it."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from courseload import control_machine
from courseload.pins import Pins

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
BEFORE: dict[str, Any] = {
    "machine": "laptop",
    "pins_file": "/home/ann/pins.yml",
    "pins": {"redis:8": ONE, "haproxy:3": TWO},
    "refreshed_file": "/home/ann/refreshed",
    "refreshed": "2026-11-30T10:00:00Z",
    "addresses": ["192.0.2.1"],
}
HERE: dict[str, Any] = {
    "machine": "desk",
    "pins_file": "/home/bob/pins.yml",
    "pins": {},
    "refreshed_file": "/home/bob/refreshed",
    "refreshed": "",
    "addresses": ["192.0.2.2"],
}
NOTHING = control_machine.noted("")


def refusals(known: Pins | None = None, used: tuple[str, ...] = ("redis:8", "haproxy:3"), **here: Any) -> list[str]:
    return control_machine.refusals(HERE | here, BEFORE, known or {}, used, refresh=False)


def test_what_is_noted_is_read_again_with_the_name_of_the_machine() -> None:
    described = {key: value for key, value in BEFORE.items() if key != "machine"}
    note = control_machine.here(described)
    assert note == described | {"machine": socket.gethostname()}
    assert control_machine.noted(json.dumps(note)) == note


@pytest.mark.parametrize("text", ["", "[]", "{", '{"machine": "laptop"}', "null"])
def test_what_is_no_note_says_nothing(text: str) -> None:
    assert control_machine.noted(text) == NOTHING
    assert control_machine.refusals(HERE, NOTHING, {}, ["redis:8"], refresh=False) == []
    assert control_machine.remarks(HERE, NOTHING, []) == []


def test_a_pin_that_is_missing_here_is_named_with_where_it_is() -> None:
    (pins,) = refusals(refreshed=BEFORE["refreshed"])
    assert pins.startswith("/home/bob/pins.yml has no pin for haproxy:3, redis:8, and laptop")
    assert "Bring /home/ann/pins.yml" in pins
    assert pins.endswith(f":\nhaproxy:3: {TWO}\nredis:8: {ONE}")


def test_a_pin_that_is_known_here_or_not_used_any_more_is_not_missing() -> None:
    refreshed = BEFORE["refreshed"]
    assert refusals(dict.fromkeys(BEFORE["pins"], TWO), refreshed=refreshed) == []
    assert refusals({"redis:8": ONE}, used=("redis:8", "new:1"), refreshed=refreshed) == []


def test_images_that_are_newer_than_this_machine_knows_are_kept() -> None:
    (absent,) = refusals(BEFORE["pins"])
    assert "/home/bob/refreshed is not here" in absent
    assert "Bring /home/ann/refreshed" in absent
    (older,) = refusals(BEFORE["pins"], refreshed="2026-11-29T10:00:00Z")
    assert "/home/bob/refreshed says 2026-11-29T10:00:00Z" in older
    assert refusals(BEFORE["pins"], refreshed="2026-12-01T10:00:00Z") == []
    assert control_machine.refusals(HERE, BEFORE, BEFORE["pins"], (), refresh=True) == []


def test_another_pin_may_be_meant_and_is_named_on_another_machine_only() -> None:
    here = HERE | {"pins": {"redis:8": TWO}, "addresses": []}
    (remark,) = control_machine.remarks(here, BEFORE, [])
    assert f"redis:8 is pinned as {TWO}" in remark
    assert f"was as {ONE} on laptop" in remark
    assert control_machine.remarks(here | {"machine": "laptop"}, BEFORE, []) == []


def test_whom_the_firewall_would_shut_out_is_named() -> None:
    (remark,) = control_machine.remarks(HERE, BEFORE, ["198.51.100.0/24"])
    assert all(words in remark for words in ("(192.0.2.2)", "laptop (192.0.2.1) no longer", "firewall_allowed"))
    assert control_machine.remarks(HERE, BEFORE, ["192.0.2.0/28"]) == []
    assert control_machine.remarks(HERE | {"addresses": ["192.0.2.1", "192.0.2.2"]}, BEFORE, []) == []
