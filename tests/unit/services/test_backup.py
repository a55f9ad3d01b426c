"""What Redis must hold is computed from the notes alone, in whatever order they come."""

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

from bson import DatetimeMS, ObjectId

from backup.tally import Counters, Tally
from direct.counters import KEEP, PROCESSES, TEXTS

TEXT = {"curso": "SO1", "facultad": "ingenieria", "carrera": "sistemas", "region": "NORTE"}


def note(number: int, **fields: Any) -> dict[str, Any]:
    stored = {"_id": ObjectId(number.to_bytes(12, "big")), **TEXT, "route": "direct", "at": DatetimeMS(number)}
    return {**stored, "batch": f"{1:016x}{number + 1:010x}", **fields}


def tallied(documents: Sequence[dict[str, Any]], **named: list[str]) -> Counters:
    tally = Tally(named)
    tally.add(documents)
    return tally.counters()


def test_the_order_in_which_notes_come_changes_nothing() -> None:
    notes = [note(number, curso=f"SO{number % 7}") for number in range(500)]
    shuffled = Random(1).sample(notes, len(notes))  # noqa: S311  (an order, and no secret)
    assert tallied(shuffled) == tallied(notes)
    found = tallied(notes)
    assert (found.documents, found.counted, found.batches) == (500, 500, {f"{1:016x}": 500})
    assert found.by_field["curso"] == Counter(note["curso"] for note in notes)
    assert len(found.latest) == KEEP
    assert f'"id":"{499:024x}"' in found.latest[0]


def test_what_direct_has_neither_stored_nor_taken_over_is_no_note_of_redis() -> None:
    strangers = [
        note(1, route="relay", batch=None),
        note(2, region=7),
        note(3, batch="no batch"),
        note(4, _id="a text"),
        {"_id": ObjectId()},
    ]
    assert tallied(strangers) == Counters(5, 0, {field: {} for field in TEXT})
    assert tallied([note(1, route="relay"), note(2, batch=None)]).counted == 2, "taken over; of an earlier version"


def test_texts_beyond_the_limit_are_other_unless_they_had_a_counter() -> None:
    notes = [note(number, curso=f"SO{number}") for number in range(TEXTS + 5)]
    last = f"SO{TEXTS + 4}"
    counts = tallied(notes, curso=[last]).by_field["curso"]
    assert counts["other"] == 5
    assert counts[last] == 1
    assert sum(counts.values()) == TEXTS + 5


def test_the_oldest_processes_are_forgotten_and_pass_for_counted() -> None:
    found = tallied([note(number, batch=f"{number:016x}{1:010x}") for number in range(PROCESSES + 3)])
    assert len(found.batches) == PROCESSES
    assert found.forgotten == f"{2:016x}" < min(found.batches)
