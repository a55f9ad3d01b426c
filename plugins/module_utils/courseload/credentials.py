"""Passwords in the files of a credential: `{password}` stands for its own, `{password:other}` for that of another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

Files = Mapping[str, str]  # contents by file name

PASSWORD = ".password"  # noqa: S105 (the file that has it, and the key in a Secret)
PLACE = re.compile(r"\{password(?::([a-z0-9-]+))?\}")


def others(text: str) -> list[str]:
    """The names of the other credentials whose passwords a text carries, each once."""
    return list(dict.fromkeys(name for name in PLACE.findall(text) if name))


def with_password(credentials: Mapping[str, Files]) -> list[str]:
    """All that have a password: the credentials themselves, and those whose passwords their files carry."""
    carried = [name for files in credentials.values() for text in files.values() for name in others(text)]
    return list(dict.fromkeys([*credentials, *carried]))


def fill(text: str, own: str, passwords: Mapping[str, str]) -> str:
    """A file of the credential `own` with the passwords in place."""
    return PLACE.sub(lambda place: passwords[place[1] or own], text)


def texts_of(files: Iterable[str]) -> str:
    """What is in files of the control machine, one after the other, without those that are not there (yet)."""
    return "".join(file.read_text().rstrip("\n") + "\n" for file in map(Path, files) if file.is_file())
