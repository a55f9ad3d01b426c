"""Documents that come in any order, put on disk by what their ids begin with, so that they can be read in ranges.

A database reads all of its documents fastest in the order in which they lie on its own disk. Ids are random: whoever
asks for them range by range has it read each of its pages again for every range.
"""

import errno
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from loadgen.content import id_in
from loadgen.ids import Range

_BYTES = range(256)
_BUFFER_BYTES = 1 << 16
_FULL = (errno.ENOSPC, errno.EDQUOT)


class NoRoom(Exception):
    """The disk takes no more documents; the message says where."""


class Spool:
    """Documents in a directory that it makes, in a file for each of the 256 values that a byte of their ids has.

    Which byte that is `place` tells. Raises `NoRoom` where the disk is full.
    """

    def __init__(self, path: Path, documents: Iterable[bytes], place: int = 0) -> None:
        self._path = path
        self._place = place
        self._counts = [0 for _ in _BYTES]
        self._finer: dict[int, Spool] = {}
        try:
            path.mkdir()
            self._write(documents)
        except OSError as problem:
            if problem.errno not in _FULL:
                raise
            written = sum(self._counts)
            raise NoRoom(f"{path.parent} has no room for the documents to compare, {written:,} so far") from problem

    def count(self, within: Range) -> int:
        """How many documents there are in a range."""
        digits = self._digits(within)
        if len(digits) > 2:
            return self._finer_than(digits).count(within)
        return sum(self._counts[byte] for byte in _beginning_with(digits))

    def read(self, within: Range) -> Iterator[bytes]:
        """The documents of a range, in no order."""
        digits = self._digits(within)
        if len(digits) > 2:
            yield from self._finer_than(digits).read(within)
        else:
            for byte in _beginning_with(digits):
                yield from self._read(byte)

    def _digits(self, within: Range) -> str:
        """The digits of a range that are about this spool's byte of the ids, and those after it."""
        return within.digits[2 * self._place :]

    def _finer_than(self, digits: str) -> "Spool":
        """The documents of one file by the next byte of their ids."""
        byte = int(digits[:2], 16)
        if byte not in self._finer:
            finer = self._file(byte).with_suffix(".finer")
            self._finer[byte] = Spool(finer, self._read(byte), self._place + 1)
        return self._finer[byte]

    def _write(self, documents: Iterable[bytes]) -> None:
        with ExitStack() as opened:
            files = [opened.enter_context(self._file(byte).open("wb", _BUFFER_BYTES)) for byte in _BYTES]
            for document in documents:
                byte = id_in(document)[self._place]
                files[byte].write(document)
                self._counts[byte] += 1

    def _read(self, byte: int) -> Iterator[bytes]:
        with self._file(byte).open("rb", _BUFFER_BYTES) as file:
            while length := file.read(4):  # a document in BSON begins with its length
                yield length + file.read(int.from_bytes(length, "little") - 4)

    def _file(self, byte: int) -> Path:
        return self._path / f"{byte:02x}.bson"


def _beginning_with(digits: str) -> range:
    """The bytes that begin with up to two hexadecimal digits."""
    return range(int(digits.ljust(2, "0"), 16), int(digits.ljust(2, "f"), 16) + 1)
