"""Documents on disk, read range by range, and a disk that is full."""

import errno
from pathlib import Path

import bson
import pytest

from course.ids import id_of
from loadgen import ids
from loadgen.content import id_in
from loadgen.ids import Range
from loadgen.spool import NoRoom, Spool


def documents_of(*note_ids):
    return [bson.encode({"_id": bson.ObjectId(note_id), "curso": "SO1"}) for note_id in note_ids]


@pytest.fixture
def documents():
    """Most anywhere, some that have all but the end of their ids in common, and one with another kind of id."""
    alike = [b"\x69\x24\x00\x00\x00\x00\x00\x00\x00\x00" + number.to_bytes(2, "big") for number in range(300)]
    found = documents_of(*(id_of(f"anywhere-{number}") for number in range(500)), *alike)
    return [bson.encode({"_id": "a text"}), *found]


def test_ranges_together_have_every_document_once_in_the_order_of_ranges(tmp_path, documents, monkeypatch):
    monkeypatch.setattr(ids, "MOST", 20)
    found = Spool(tmp_path / "spool", iter(documents))
    ranges = list(Range().split(found.count))
    parts = [list(found.read(within)) for within in ranges]
    assert [len(part) for part in parts] == [found.count(within) for within in ranges]
    assert max(map(len, parts)) <= 20
    assert all(
        within.first <= id_in(one) <= within.last for within, part in zip(ranges, parts, strict=True) for one in part
    )
    assert sorted(one for part in parts for one in part) == sorted(documents)


def test_a_range_of_one_digit_has_what_begins_with_it(tmp_path):
    found = Spool(tmp_path / "spool", documents_of(b"\x0f" * 12, b"\x10" * 12, b"\x1f" * 12, b"\x20" * 12))
    assert [id_in(one)[0] for one in found.read(Range("1"))] == [0x10, 0x1F]
    assert [found.count(Range(digit)) for digit in "0123"] == [1, 2, 1, 0]


def test_without_documents_there_is_one_range_without_any(tmp_path):
    found = Spool(tmp_path / "spool", [])
    assert [(within, list(found.read(within))) for within in Range().split(found.count)] == [(Range(), [])]


def test_a_full_disk_is_named(tmp_path, documents, monkeypatch):
    monkeypatch.setattr(Spool, "_file", lambda self, byte: Path("/dev/full"))
    with pytest.raises(NoRoom, match=f"{tmp_path} has no room for the documents to compare, 801 so far"):
        Spool(tmp_path / "spool", documents)


def test_what_the_database_raises_is_not_taken_for_a_full_disk(tmp_path):
    def broken():
        yield from documents_of(bytes(12))
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    with pytest.raises(ConnectionResetError):
        Spool(tmp_path / "spool", broken())
