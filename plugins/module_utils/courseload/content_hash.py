"""A short name for what files contain, for tags that change only when their input does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def content_hash(paths: str | Sequence[str], *extra: object) -> str:
    """Hashes the contents of files and directories, and further values, to 12 hexadecimal digits.

    What counts is what a build would see: the names below each path, the modes that the module `build_context` gives
    them, and the bytes. Times, owners, other modes, Python's caches and where the repository lies do not count. A path
    that does not exist counts as empty. Directories are walked in the order of their names, so the result is the same
    on every machine.
    """
    digest = hashlib.sha256()
    for part in _parts([paths] if isinstance(paths, str) else paths):
        _add(digest, part)
    for value in extra:
        _add(digest, str(value).encode())
    return digest.hexdigest()[:12]


def _parts(paths: Sequence[str]) -> Iterator[bytes]:
    """Yields what is hashed: for each path its name, then name, kind and contents of every file below it."""
    for path in map(Path, paths):
        yield path.name.encode()
        for file in _files(path):
            yield str(file.relative_to(path.parent)).encode()
            try:
                if file.is_symlink():
                    yield b"link"
                    yield str(file.readlink()).encode()
                else:
                    yield b"0755" if file.stat().st_mode & 0o100 else b"0644"
                    yield file.read_bytes()
            except OSError as error:
                raise ValueError(f"content_hash cannot read {file}: {error.strerror}") from error


def _files(path: Path) -> list[Path]:
    if path.is_symlink() or path.is_file():
        return [path]
    files = (file for file in path.rglob("*") if file.is_symlink() or file.is_file())
    return sorted(file for file in files if "__pycache__" not in file.parts and file.suffix != ".pyc")


def _add(digest: Any, part: bytes) -> None:
    # The length in front keeps neighbours apart: ("ab", "c") is not ("a", "bc").
    digest.update(b"%d:" % len(part))
    digest.update(part)
