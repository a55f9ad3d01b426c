"""The module credentials: passwords that are generated once, files that carry them, and nothing that tells them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from courseload.credentials import fill, others, with_password
from helpers.playbook import Play, play
from helpers.plugins import load

credentials = load("modules", "credentials")

OWNER = (os.geteuid(), os.getegid())
FILES = {
    "redis": {"uri": "redis://default:{password}@redis", "acl": ">{password:statistics} >{password}\n"},
    "grafana": {"admin": "{password}"},
}
PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Provide
      credentials:
        path: "{{ base }}"
        owner: "{{ owner }}"
        files: "{{ files }}"
        passwords: "{{ known | default({}) }}"
        reveal: "{{ revealing | default(false) }}"
      register: provided
      no_log: "{{ revealing | default(false) }}"

    - name: Keep what was revealed
      ansible.builtin.copy: {content: "{{ provided.passwords | to_json }}", dest: "{{ base }}/revealed", mode: "0600"}
      when: revealing is defined
      no_log: true
"""


def state(path: Path) -> dict[str, tuple[str, str]]:
    """Mode and content of everything below a directory."""
    return {
        str(found.relative_to(path)): (
            f"{found.stat().st_mode & 0o7777:04o}",
            found.read_text() if found.is_file() else "",
        )
        for found in path.rglob("*")
    }


def apply(base: Path, passwords: dict[str, str]) -> list[str]:
    """Makes everything as it should be; returns what was not, with how it was found."""
    found = []
    for entry in credentials.entries(base, OWNER[0], FILES, passwords):
        if (deviation := entry.deviation()) is not None:
            found.append(f"{entry.path.relative_to(base)}: {deviation}")
            entry.apply()
    return found


PASSWORDS = {"redis": "r" * 32, "grafana": "g" * 32, "statistics": "s" * 32}


def test_a_file_gets_its_own_password_and_those_of_others() -> None:
    assert fill(FILES["redis"]["acl"], "redis", PASSWORDS) == f">{'s' * 32} >{'r' * 32}\n"
    assert others("{password} {password:b} {password:a} {password:b}") == ["b", "a"]


def test_a_password_that_looks_like_a_place_is_left_alone() -> None:
    assert fill("{password}", "a", {"a": "{password:b}", "b": "secret"}) == "{password:b}"


def test_whoever_is_carried_has_a_password_too() -> None:
    assert with_password(FILES) == ["redis", "grafana", "statistics"]


def test_a_generated_password_is_long_and_never_the_same() -> None:
    generated = {credentials.generate() for _ in range(100)}
    assert len(generated) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9]{32}", password) for password in generated)


@pytest.mark.skipif(OWNER[0] != OWNER[1], reason="the containers' user has one number for uid and gid")
class TestEntries:
    def test_each_is_a_directory_of_its_own_that_nobody_else_reads(self, tmp_path: Path) -> None:
        apply(tmp_path, PASSWORDS)
        assert state(tmp_path) == {
            "redis": ("0700", ""),
            "redis/.password": ("0600", PASSWORDS["redis"]),
            "redis/uri": ("0600", f"redis://default:{PASSWORDS['redis']}@redis"),
            "redis/acl": ("0600", f">{PASSWORDS['statistics']} >{PASSWORDS['redis']}\n"),
            "grafana": ("0700", ""),
            "grafana/.password": ("0600", PASSWORDS["grafana"]),
            "grafana/admin": ("0600", PASSWORDS["grafana"]),
            "statistics": ("0700", ""),
            "statistics/.password": ("0600", PASSWORDS["statistics"]),
        }

    def test_what_is_as_it_should_be_is_left_alone(self, tmp_path: Path) -> None:
        apply(tmp_path, PASSWORDS)
        assert apply(tmp_path, PASSWORDS) == []

    def test_what_differs_is_repaired_and_told_without_content(self, tmp_path: Path) -> None:
        apply(tmp_path, PASSWORDS)
        (tmp_path / "redis/uri").write_text("redis://another")
        (tmp_path / "redis/acl").chmod(0o644)
        (tmp_path / "grafana").chmod(0o755)
        (tmp_path / "grafana/admin").unlink()
        owner = f"{OWNER[0]}:{OWNER[1]}"
        assert apply(tmp_path, PASSWORDS) == [
            f"redis/uri: 0600 {owner}, other content",
            f"redis/acl: 0644 {owner}",
            f"grafana: 0755 {owner}",
            "grafana/admin: absent",
        ]
        assert apply(tmp_path, PASSWORDS) == []

    def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(self, tmp_path: Path) -> None:
        apply(tmp_path, PASSWORDS)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_text("not ours")
        for name in ("redis/uri", "redis/.password"):
            (tmp_path / name).unlink()
            (tmp_path / name).symlink_to(elsewhere)
        assert credentials.stored(tmp_path / "redis/.password") == ""
        assert apply(tmp_path, PASSWORDS) == ["redis/.password: not a file", "redis/uri: not a file"]
        assert elsewhere.read_text() == "not ours"
        assert not (tmp_path / "redis/uri").is_symlink()


@pytest.fixture
def provide(tmp_path: Path):
    """Runs the module in a playbook."""
    base = tmp_path / "credentials"
    base.mkdir()
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(PLAYBOOK)

    def run(*options: str, **variables: Any) -> Play:
        settings: dict[str, Any] = {"base": str(base), "owner": OWNER[0], "files": FILES} | variables
        return play(playbook, *options, inventory="localhost,", **settings)

    return run


def secrets_in(base: Path) -> set[str]:
    return {path.read_text() for path in base.rglob(".password")}


def test_a_run_generates_once_and_no_output_ever_holds_a_password(tmp_path: Path, provide) -> None:
    base = tmp_path / "credentials"
    before = provide("--check", "--diff")
    assert before.ok, before.output
    assert before.changes == ["Provide"]
    assert f"+{base}/redis/uri: 0600" in before.output
    assert list(base.iterdir()) == []

    first = provide("--diff", "-vvv")
    assert first.ok, first.output
    assert first.changes == ["Provide"]
    passwords = secrets_in(base)
    assert len(passwords) == 3
    second = provide("--diff", "-vvv")
    assert (second.ok, second.changes) == (True, []), second.output
    assert secrets_in(base) == passwords
    assert [secret for secret in passwords if secret in first.output + second.output] == []


def test_a_known_password_counts_and_what_is_revealed_is_hidden_from_the_output(tmp_path: Path, provide) -> None:
    known = "k" * 32
    run = provide("--diff", "-vvv", known={"redis": known}, revealing=True)
    assert run.ok, run.output
    base = tmp_path / "credentials"
    assert (base / "redis/uri").read_text() == f"redis://default:{known}@redis"
    revealed = (base / "revealed").read_text()
    assert (base / "grafana/.password").read_text() in revealed
    assert known not in revealed
    again = provide("--diff", "-vvv", known={"redis": known})
    assert (again.ok, again.changes) == (True, []), again.output
    assert [secret for secret in secrets_in(base) if secret in run.output + again.output] == []


def test_without_the_directory_the_run_stops_with_a_sentence(tmp_path: Path, provide) -> None:
    (tmp_path / "credentials").rmdir()
    run = provide()
    assert not run.ok
    assert "site.yml" in run.reasons[0]
