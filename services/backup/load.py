"""Loads what was saved into both databases, and proves that it is there."""

import time
from itertools import islice
from pathlib import Path

from backup.files import documents, read_counters
from backup.stores import Memory, Notes
from backup.tally import Counters

_TOGETHER = 1000  # documents in one command
_TOLD = 100_000  # documents between two lines of progress


class Refused(Exception):
    """It was not loaded, or is not there now; the message is a sentence."""


def refuse_notes(notes: Notes) -> None:
    """Raises `Refused` where there are notes."""
    if there := notes.total():
        raise Refused(
            f"There are {there:,} notes, which a restore removes. Nothing was changed: to go on all the same, run it "
            "with -e confirm=yes."
        )


def load(directory: Path, notes: Notes, memory: Memory, *, overwrite: bool) -> None:
    """Removes what the databases hold and stores the backup instead. Nobody else may write meanwhile.

    Raises `Refused` where there are notes that it may not overwrite, and where the result is not what was saved.
    """
    started, counters = time.monotonic(), read_counters(directory)
    if not overwrite:
        refuse_notes(notes)
    # First what depends on the other: whoever is interrupted here leaves notes that pass for uncounted.
    memory.clear()
    notes.clear()
    stored, coming = 0, documents(directory)
    while some := list(islice(coming, _TOGETHER)):
        notes.insert(some)
        stored += len(some)
        if stored % _TOLD == 0:
            print(f"{stored:,} of {counters.documents:,} notes stored", flush=True)
    memory.fill(counters)
    _prove(counters, notes, memory)
    print(f"{counters.documents:,} notes restored in {time.monotonic() - started:.1f} s", flush=True)


def _prove(counters: Counters, notes: Notes, memory: Memory) -> None:
    """Raises `Refused` unless both databases hold what was saved."""
    if (found := notes.total()) != counters.documents:
        raise Refused(f"MongoDB has {found:,} notes, and {counters.documents:,} were saved.")
    if (counted := memory.counts()) != (counters.counted, counters.by_field):
        raise Refused(f"Redis has counted {counted[0]:,} notes, and its counters are not those of the backup.")
