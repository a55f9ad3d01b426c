"""Document ids in sorted files, 12 bytes each: millions of them are compared a range at a time, in little memory."""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ID_BYTES = 12
MOST = 25_000
"""How many ids a range holds at most: few enough for the memory, enough that a question to a database pays."""

_DIGITS = "0123456789abcdef"


class Range(NamedTuple):
    """All ids that begin with some hexadecimal digits; without any, all there are."""

    digits: str = ""

    @property
    def first(self) -> bytes:
        return bytes.fromhex(self.digits.ljust(2 * ID_BYTES, "0"))

    @property
    def last(self) -> bytes:
        return bytes.fromhex(self.digits.ljust(2 * ID_BYTES, "f"))

    def split(self, count: Callable[["Range"], int]) -> Iterator["Range"]:
        """This range in ascending parts that hold at most `MOST` ids each, by what `count` says of them."""
        if len(self.digits) == 2 * ID_BYTES or count(self) <= MOST:
            yield self
            return
        for digit in _DIGITS:
            yield from Range(self.digits + digit).split(count)


class IdFile:
    """A file of records in ascending order, each an id and `more` bytes that belong to it."""

    def __init__(self, path: Path, more: int = 0) -> None:
        self._size = ID_BYTES + more
        self._file = path.open("rb")
        self._ids = range(os.fstat(self._file.fileno()).st_size // self._size)

    def __len__(self) -> int:
        return len(self._ids)

    def count(self, within: Range) -> int:
        """How many ids of a range there are."""
        first, end = self._places(within)
        return end - first

    def read(self, within: Range) -> list[bytes]:
        """The records of a range."""
        first, end = self._places(within)
        read = os.pread(self._file.fileno(), (end - first) * self._size, first * self._size)
        return [read[at : at + self._size] for at in range(0, len(read), self._size)]

    def close(self) -> None:
        self._file.close()

    def _places(self, within: Range) -> tuple[int, int]:
        return bisect_left(self._ids, within.first, key=self._at), bisect_right(self._ids, within.last, key=self._at)

    def _at(self, place: int) -> bytes:
        return os.pread(self._file.fileno(), ID_BYTES, place * self._size)


class IdFiles:
    """Several such files as one; what they hold of a range comes file by file."""

    def __init__(self, paths: Iterable[Path], more: int = 0) -> None:
        self._files = [IdFile(path, more) for path in paths]

    def count(self, within: Range) -> int:
        """How many ids of a range there are."""
        return sum(file.count(within) for file in self._files)

    def read(self, within: Range) -> Iterator[bytes]:
        """The records of a range."""
        return (record for file in self._files for record in file.read(within))


class Sorter:
    """Takes ids in any order, each with one byte that belongs to it, and writes them sorted."""

    def __init__(self) -> None:
        self._by_first_byte = [bytearray() for _ in range(256)]

    def add(self, ids: bytes, code: int) -> None:
        """Takes ids that lie one after the other."""
        parts, mark = self._by_first_byte, bytes([code])
        for at in range(0, len(ids), ID_BYTES):
            parts[ids[at]] += ids[at : at + ID_BYTES] + mark

    def parts(self) -> Iterator[list[bytes]]:
        """All records in ascending order, in parts of which no two share an id; what was read is forgotten."""
        size = ID_BYTES + 1
        for part in self._by_first_byte:
            yield sorted(bytes(part[at : at + size]) for at in range(0, len(part), size))
            part.clear()


def write_ids(path: Path, parts: Iterable[Iterable[bytes]]) -> None:
    """Writes records that come in ascending order, in parts."""
    with path.open("wb") as file:
        for part in parts:
            file.write(b"".join(part))
