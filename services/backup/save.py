"""Saves the documents while others are stored, and what Redis must hold for them."""

import time
from pathlib import Path

from bson import decode_all
from bson.codec_options import DatetimeConversion

from backup.files import write_counters, writing
from backup.stores import Memory, Notes
from backup.tally import Tally
from course.notes import LENIENT

_TOLD = 100_000  # documents between two lines of progress
_OPTIONS = LENIENT.with_options(datetime_conversion=DatetimeConversion.DATETIME_MS)


class Incomplete(Exception):
    """Not everything was saved; the message is a sentence."""


def save(directory: Path, notes: Notes, memory: Memory) -> None:
    """Writes the files of a backup: all notes that are stored when it begins, and some of those that come meanwhile.

    Raises `Incomplete` where fewer were read than there were.
    """
    started, before = time.monotonic(), notes.total()
    tally, read = Tally(memory.named()), 0
    with writing(directory) as file:
        for page in notes.pages():
            file.write(page)
            documents = decode_all(page, _OPTIONS)
            tally.add(documents)
            read += len(documents)
            if (read - len(documents)) // _TOLD < read // _TOLD:
                print(f"{read:,} of at least {before:,} notes read", flush=True)
    if read < before:
        raise Incomplete(f"{read:,} notes were read, and there were {before:,}: nobody may remove notes meanwhile.")
    write_counters(directory, tally.counters())
    print(f"{read:,} notes saved in {time.monotonic() - started:.1f} s", flush=True)
