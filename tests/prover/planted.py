"""A service with a defect planted in it, as no image has it: python3 -m prover.planted DEFECT SERVICE.

Each defect is a way in which a service, or what it stands on, may be wrong while it answers 201.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from itertools import count
from typing import Any

from bson import ObjectId

import course.notes
from course.group_commit import Done, GroupCommit
from course.note import Note
from course.notes import Notes, Stored
from course.outcome import Failure
from direct.batches import Batches
from direct.counters import Counters

LATE_S = 0.5
OFTEN, SELDOM = 500, 10_000  # of so many notes, one
BATCHES = 20  # of so many batches, one

Documents = Sequence[dict[str, Any]]


def one_in(number: int) -> Callable[[], bool]:
    """Tells each time whether this is the one; the first comes early, so that a short run has it as well."""
    numbers = count(number - min(number, 1000) + 1)
    return lambda: next(numbers) % number == 0


def acknowledges_before_the_write() -> None:
    """A note is acknowledged when it comes, and written half a second later: a kill meanwhile loses it."""
    submit = GroupCommit.submit

    def planted(self: GroupCommit[Note], item: Note, done: Done) -> Failure | None:
        asyncio.get_running_loop().call_later(LATE_S, submit, self, item, lambda _: None)
        done(None)
        return None

    _plant(GroupCommit, "submit", planted)


def answers_201_on_a_timeout() -> None:
    """A batch that ran out of time counts as stored."""
    outcomes = GroupCommit._outcomes

    async def planted(self: GroupCommit[Note], items: Sequence[Note]) -> Mapping[int, Failure]:
        await outcomes(self, items)
        return {}

    _plant(GroupCommit, "_outcomes", planted)


def drops_a_note() -> None:
    """One note in 10,000 is acknowledged and not written."""
    drop = one_in(SELDOM)
    _write(lambda documents: [document for document in documents if not drop()])


def writes_one_twice() -> None:
    """A note is written under a second id as well."""
    twice = one_in(OFTEN)
    _write(lambda documents: [*documents, *({**one, "_id": ObjectId()} for one in documents if twice())])


def swaps_two_fields() -> None:
    """A note's faculty is stored as its career, and the other way round."""
    _alter(lambda note: {"facultad": note["carrera"], "carrera": note["facultad"]})


def truncates_a_text() -> None:
    """The last character of a text is lost."""
    _alter(lambda note: {"carrera": note["carrera"][:-1]})


def writes_to_another_collection() -> None:
    """The process writes where nobody reads."""
    _plant(course.notes, "COLLECTION", "notes_of_another")


def counts_twice() -> None:
    """Redis is told a batch under two names."""
    again, names, counted = one_in(BATCHES), Batches(), Counters.count

    async def planted(self: Counters, batch: str, notes: Sequence[Note]) -> None:
        await counted(self, batch, notes)
        if again():
            await counted(self, names.next(), notes)

    _plant(Counters, "count", planted)


def forgets_to_count() -> None:
    """Redis is not told of a batch."""
    forget, counted = one_in(BATCHES), Counters.count

    async def planted(self: Counters, batch: str, notes: Sequence[Note]) -> None:
        if not forget():
            await counted(self, batch, notes)

    _plant(Counters, "count", planted)


def nothing() -> None:
    """No defect."""


PLANTED = (
    nothing,
    acknowledges_before_the_write,
    answers_201_on_a_timeout,
    drops_a_note,
    writes_one_twice,
    swaps_two_fields,
    truncates_a_text,
    writes_to_another_collection,
    counts_twice,
    forgets_to_count,
)


def _plant(owner: object, name: str, planted: object) -> None:
    setattr(owner, name, planted)


def _write(changed: Callable[[Documents], Documents]) -> None:
    """Changes what is written; what came is acknowledged."""
    put = Notes.put

    async def planted(self: Notes, documents: Documents) -> Stored:
        await put(self, changed(documents))
        return Stored({}, {})

    _plant(Notes, "put", planted)


def _alter(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    wrong = one_in(OFTEN)
    _write(lambda documents: [{**one, **change(one)} if wrong() else one for one in documents])


if __name__ == "__main__":
    defect, service = sys.argv[1:]
    {planted.__name__: planted for planted in PLANTED}[defect]()
    import_module(f"{service}.service").main()
