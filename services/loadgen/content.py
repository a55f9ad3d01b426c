"""What a stored note must hold: the four texts that were sent under its id, and the route that acknowledged it."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import bson
from bson.codec_options import CodecOptions, DatetimeConversion

from course.note import FIELDS, Course
from loadgen.ids import ID_BYTES
from loadgen.pool import place_in_pool

BATCH = "batch"
"""The field with which a document of direct names the batch that it was stored with."""

ABSENT = "(absent)"
_MOST_CHARACTERS = 200

# A document in BSON begins with its length and its _id: 4 bytes, b"\x07_id\x00", the 12 bytes of the id.
_ID = b"\x07_id\x00"
_ID_AT = 4 + len(_ID)
_TEXTS_AT = _ID_AT + ID_BYTES
_AT_LENGTH = len(b"\x09at\x00") + 8

# A document of somebody else may hold anything: nothing in it may stop the reading.
_ANYTHING: CodecOptions[dict[str, Any]] = CodecOptions(
    unicode_decode_error_handler="backslashreplace", datetime_conversion=DatetimeConversion.DATETIME_AUTO
)


class Difference(NamedTuple):
    """A field of a stored note that is not what was sent."""

    field: str
    sent: str
    stored: str


class Found(NamedTuple):
    """A stored note: how it differs from what was sent, and its batch's token, empty where it names none."""

    differences: Sequence[Difference]
    batch: bytes


class Contents:
    """The notes of a pool as documents have them: a document of the usual form is compared as the bytes it is."""

    def __init__(self, pool: Sequence[Course]) -> None:
        self._pool = pool
        self._texts = [_elements({field: getattr(note, field) for field in FIELDS}) for note in pool]
        self._distinct = {tuple(getattr(note, field) for field in FIELDS) for note in pool}
        self._routes: dict[str, bytes] = {}

    def compare(self, note_id: bytes, route: str | None, document: bytes) -> Found:
        """Compares a document with what went out under its id; `route` is None when nobody knows which took it."""
        place = place_in_pool(note_id, len(self._pool))
        texts = self._texts[place]
        end = _TEXTS_AT + len(texts)
        if route is not None and document.startswith(texts, _TEXTS_AT):
            element = self._routes.get(route) or self._routes.setdefault(route, _elements({"route": route}))
            if document.startswith(element, end):
                return Found((), _token_after(document[end + len(element) + _AT_LENGTH :]))
        return self._by_field(self._pool[place], route, document)

    def is_of_the_pool(self, document: bytes) -> bool:
        """Whether a document holds the texts of one of the notes."""
        stored = read(document)
        texts = tuple(stored.get(field) for field in FIELDS)
        return all(isinstance(text, str) for text in texts) and texts in self._distinct

    def _by_field(self, note: Course, route: str | None, document: bytes) -> Found:
        stored = read(document)
        wanted = {field: getattr(note, field) for field in FIELDS}
        if route is not None:
            wanted["route"] = route
        differences = [
            Difference(field, text, _shown(stored, field))
            for field, text in wanted.items()
            if stored.get(field) != text
        ]
        return Found(differences, _token(stored))


def read(document: bytes) -> dict[str, Any]:
    """A document of any form; empty when it is no document at all."""
    try:
        return bson.decode(document, _ANYTHING)
    except bson.errors.InvalidBSON:
        return {}


def id_in(document: bytes) -> bytes:
    """The 12 bytes that stand for a document's `_id`: those of an ObjectId, or the hash of anything else."""
    if document.startswith(_ID, 4):
        return document[_ID_AT:_TEXTS_AT]
    return hashlib.sha256(bson.encode({"_id": read(document).get("_id")})).digest()[:ID_BYTES]


def _elements(fields: dict[str, str]) -> bytes:
    """Fields as they lie within a document: without its length, and without the zero at its end."""
    return bson.encode(fields)[4:-1]


@lru_cache(maxsize=1 << 16)
def _token_after(rest: bytes) -> bytes:
    """The token in the last fields of a document: all notes of a batch have the same ones."""
    return _token(read((4 + len(rest)).to_bytes(4, "little") + rest)) if len(rest) > 1 else b""


def _token(stored: dict[str, Any]) -> bytes:
    token = stored.get(BATCH, b"")
    if isinstance(token, bson.ObjectId):
        return token.binary
    return token if isinstance(token, bytes) else str(token).encode("utf-8", "backslashreplace")


def _shown(stored: dict[str, Any], field: str) -> str:
    return str(stored[field])[:_MOST_CHARACTERS] if field in stored else ABSENT
