"""Directories and files as they should be: how what is there deviates, and how it becomes so."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path


def _own() -> tuple[int, int]:
    return os.geteuid(), os.getegid()


@dataclass(frozen=True)
class Entry:
    """A directory (without content) or a file as it should be; `owner` is its uid and gid."""

    path: Path
    mode: int
    content: str | None = None
    owner: tuple[int, int] = field(default_factory=_own)

    def __str__(self) -> str:
        return f"{self.mode:04o} {self.owner[0]}:{self.owner[1]}"

    def deviation(self) -> str | None:
        """What is there in its place, in words that tell no content; None where it is as it should be."""
        try:
            found = self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return "absent"
        if stat.S_IFMT(found.st_mode) != (stat.S_IFDIR if self.content is None else stat.S_IFREG):
            return "not a directory" if self.content is None else "not a file"
        state = f"{stat.S_IMODE(found.st_mode):04o} {found.st_uid}:{found.st_gid}"
        if self.content is not None and self.path.read_bytes() != self.content.encode():
            return f"{state}, other content"
        return None if state == str(self) else state

    def apply(self) -> None:
        """Makes it so. A file is replaced at once, so nobody ever reads a part of it."""
        if self.content is None:
            self.path.mkdir(mode=self.mode, parents=True, exist_ok=True)
            os.chown(self.path, *self.owner)
            self.path.chmod(self.mode)
            return
        descriptor, temporary = tempfile.mkstemp(dir=self.path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchown(descriptor, *self.owner)
                os.fchmod(descriptor, self.mode)
                file.write(self.content.encode())
                file.flush()
                # A database that was made with the password in it must not outlive it.
                os.fsync(descriptor)
            Path(temporary).replace(self.path)
        except BaseException:
            Path(temporary).unlink()
            raise
