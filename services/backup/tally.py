"""What Redis must hold for given notes: computed from the notes, not copied from Redis.

A snapshot of MongoDB and one of Redis are never of one moment while the system serves, and a note that is in one of
them only would be lost or counted twice. So the notes alone are saved, and this says what Redis would hold had it
counted exactly them: each that direct has stored or taken over. All batches that are named in them pass for counted, so
whoever sends one of these notes again is answered, and the note is not counted a second time.
"""

import heapq
from collections.abc import Collection, Iterable, Mapping

import msgspec
from bson import ObjectId

from course.note import FIELDS, Course
from course.notes import Document, is_note
from course.stored import OTHER
from direct.batches import parts
from direct.counters import KEEP, PROCESSES, TEXTS, latest

ROUTE = "direct"  # whose notes Redis counts


class Counters(msgspec.Struct):
    """What Redis holds, and for how many documents that is right."""

    documents: int = 0
    counted: int = 0
    by_field: dict[str, dict[str, int]] = {}
    latest: list[str] = []  # the newest first
    batches: dict[str, int] = {}  # the highest number of each process
    forgotten: str = ""  # the greatest process that is not among them


class Tally:
    """Counts notes as they go by, in any order. Its memory grows with the starts of direct, not with the notes."""

    def __init__(self, named: Mapping[str, Collection[str]]) -> None:
        """`named` is which texts of each field Redis counts by themselves; others get a place while there is room."""
        self._documents = self._counted = 0
        self._by_field = {field: dict.fromkeys(named.get(field, ()), 0) for field in FIELDS}
        self._latest: list[tuple[int, bytes, str]] = []
        self._batches: dict[str, int] = {}

    def add(self, documents: Iterable[Document]) -> None:
        """Counts documents; what is no note of direct's only as a document. Times are milliseconds (`DatetimeMS`)."""
        for document in documents:
            self._documents += 1
            if is_counted(document):
                self._counted += 1
                for field, counts in self._by_field.items():
                    _count(counts, document[field])
                self._remember(document)

    def counters(self) -> Counters:
        """What Redis must hold for what was counted so far."""
        processes = sorted(self._batches)
        kept = {
            field: {text: count for text, count in counts.items() if count} for field, counts in self._by_field.items()
        }
        return Counters(
            self._documents,
            self._counted,
            kept,
            [line for *_, line in sorted(self._latest, reverse=True)],
            {process: self._batches[process] for process in processes[-PROCESSES:]},
            max(processes[:-PROCESSES], default=""),
        )

    def _remember(self, document: Document) -> None:
        if batch := document.get("batch"):
            process, number = parts(batch)
            self._batches[process] = max(number, self._batches.get(process, 0))
        at = int(document["at"])
        if len(self._latest) < KEEP or at >= self._latest[0][0]:
            note_id = document["_id"].binary
            line = latest(note_id, Course(*(document[field] for field in FIELDS)))
            (heapq.heappush if len(self._latest) < KEEP else heapq.heappushpop)(self._latest, (at, note_id, line))


def is_counted(document: Document) -> bool:
    """Whether Redis counts a document: a note that names its batch, or one of direct's from before there were any."""
    named = document.get("batch") is not None or document.get("route") == ROUTE
    return named and isinstance(document["_id"], ObjectId) and is_note(document)


def _count(counts: dict[str, int], text: str) -> None:
    if text not in counts and len(counts) >= TEXTS:
        text = OTHER
    counts[text] = counts.get(text, 0) + 1
