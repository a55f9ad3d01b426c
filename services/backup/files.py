"""The files of a backup: the documents as mongodump writes them with --gzip, and what Redis must hold for them.

So `mongorestore --gzip` and `bsondump` read the notes as well, whichever program they came from.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
from bson import decode_file_iter
from bson.codec_options import CodecOptions
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument

from backup.tally import Counters

NOTES = "notes.bson.gz"
COUNTERS = "counters.json"

_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


class Damaged(Exception):
    """A file that is not what was saved; the message is a sentence."""


@contextmanager
def writing(directory: Path) -> Iterator[BinaryIO]:
    """The file of the notes, to write documents to."""
    with gzip.open(directory / NOTES, "wb", compresslevel=1) as file:
        yield cast("BinaryIO", file)


def documents(directory: Path) -> Iterator[RawBSONDocument]:
    """The documents, one after the other; raises `Damaged`."""
    try:
        with gzip.open(directory / NOTES) as file:
            yield from decode_file_iter(cast("BinaryIO", file), _RAW)
    except (EOFError, InvalidBSON, OSError, zlib.error) as problem:
        raise Damaged(f"{NOTES} is not as it was saved: {problem}") from problem


def write_counters(directory: Path, counters: Counters) -> None:
    """Writes what Redis must hold."""
    (directory / COUNTERS).write_bytes(msgspec.json.format(msgspec.json.encode(counters)))


def read_counters(directory: Path) -> Counters:
    """What Redis must hold; raises `Damaged`."""
    try:
        return msgspec.json.decode((directory / COUNTERS).read_bytes(), type=Counters)
    except (OSError, msgspec.DecodeError) as problem:
        raise Damaged(f"{COUNTERS} is not as it was saved: {problem}") from problem
