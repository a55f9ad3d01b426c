"""What a run attempted: every id that its workers reported, or may have used, with what became of its request."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

import msgspec

from course.ids import id_of
from loadgen.collector import Load
from loadgen.ids import ID_BYTES, Sorter, write_ids
from loadgen.keys import key_of, poster_name, user_and_number
from loadgen.settings import OPEN, RunDirectory, Settings
from loadgen.stores import Documents

UNKNOWN, LOST = "?unknown", "?lost"
"""Outcomes beside the routes that acknowledged: no 201 came; a worker was lost before it could tell."""

BATCH = 1000
POSTERS = 50  # who are looked for at a time
MOST_ROWS = 10_000  # of one kind in a file of differences
_READ_BYTES = 100_000 * ID_BYTES


class Reported(msgspec.Struct):
    """The ids that the workers reported beside those that could be read back.

    `unread` were reported and could not be read, `unreported` the other way round; `repeated` were reported more than
    once.
    """

    read: int = 0
    unread: int = 0
    unreported: int = 0
    repeated: int = 0


class Rows:
    """Rows of a table, the first ones of each kind."""

    def __init__(self) -> None:
        self._of_kind = Counter[str]()
        self._rows: list[Sequence[str]] = []

    def add(self, kind: str, *row: str) -> None:
        if self._of_kind[kind] < MOST_ROWS:
            self._rows.append((kind, *row))
        self._of_kind[kind] += 1

    def __iter__(self) -> Iterator[Sequence[str]]:
        return iter(self._rows)


class Attempted:
    """What the run attempted: its ids, sorted, each with a byte that says which of the `outcomes` its request had."""

    def __init__(self, settings: Settings, load: Load, directory: RunDirectory) -> None:
        self._settings = settings
        self._load = load
        self._directory = directory
        self.outcomes = [*sorted(load.acknowledged), UNKNOWN, LOST]
        self.reported = Reported()
        self.repeated = Rows()

    def sort(self, documents: Documents) -> None:
        """Writes the ids that were reported, and those that users of lost workers may have used, into one file."""
        sorter = Sorter()
        for code, outcome in enumerate(self.outcomes[:-1]):
            of_unknown = outcome == UNKNOWN
            file = self._directory.unknown if of_unknown else self._directory.acknowledged(outcome)
            read = sum(_add(sorter, ids, code) for ids in _blocks(file))
            difference = (self._load.unknown if of_unknown else self._load.acknowledged[outcome]) - read
            self.reported.read += read
            self.reported.unread += max(0, difference)
            self.reported.unreported += max(0, -difference)
        for ids in self._lost(documents):
            sorter.add(b"".join(ids), len(self.outcomes) - 1)
        write_ids(self._directory.attempted, map(self._distinct, sorter.parts()))

    def _lost(self, documents: Documents) -> Iterator[list[bytes]]:
        """What users of lost workers posted after their last report, as long as there is something.

        The note before that may have been under way, and is no other one than was reported, where it was.
        """
        run, attempts = self._settings.run, dict(self._load.lost_attempts)
        if self._settings.arrivals == OPEN:
            attempts |= dict.fromkeys(self._posters_since(documents, attempts), 0)
        yield [id_of(key_of(run, user, number - 1)) for user, number in attempts.items() if number]
        for user, number in attempts.items():
            for start in count(number, BATCH):
                found = documents.present([id_of(key_of(run, user, at)) for at in range(start, start + BATCH)])
                if not found:
                    break
                yield list(found)

    def _posters_since(self, documents: Documents, known: Iterable[str]) -> Iterator[str]:
        """Those who began to post after the last report, as they do where answers get slow, as long as there are any.

        The first note of one of them may have failed: so some are looked for at a time.
        """
        highest: dict[str, int] = {}
        for poster in known:
            user, number = user_and_number(poster)
            highest[user] = max(number, highest.get(user, 0))
        for user, number in highest.items():
            for start in count(number + 1, POSTERS):
                names = [poster_name(user, at) for at in range(start, start + POSTERS)]
                if not documents.present([id_of(key_of(self._settings.run, name, 0)) for name in names]):
                    break
                yield from names

    def _distinct(self, records: Iterable[bytes]) -> Iterator[bytes]:
        """Each id once, with the first of its outcomes: what was acknowledged comes first, what was lost last."""
        previous = b""
        for record in records:
            note_id = record[:ID_BYTES]
            if note_id != previous:
                yield record
            elif self.outcomes[record[ID_BYTES]] != LOST:
                self.reported.repeated += 1
                self.repeated.add("repeated", note_id.hex())
            previous = note_id


def _blocks(file: Path) -> Iterator[bytes]:
    """The ids in a file, many at a time; a piece of an id at its end is none, and a file that is not there is empty."""
    if not file.exists():
        return
    with file.open("rb") as ids:
        while block := ids.read(_READ_BYTES):
            yield block[: len(block) // ID_BYTES * ID_BYTES]


def _add(sorter: Sorter, ids: bytes, code: int) -> int:
    sorter.add(ids, code)
    return len(ids) // ID_BYTES
