"""Reconciliation: is every acknowledged note in the databases, and nothing there twice?

A note that failed (timeout, closed connection, 503) may be stored or not: it is neither missing nor duplicated. So:

- missing: acknowledged, but not there; for Redis also a counter that grew by less than the notes that were counted;
- duplicated in MongoDB: documents that appeared during the run and that no attempted key accounts for. A key fixes the
  `_id`, so a note stored twice can only be a second document with an `_id` of its own;
- duplicated in Redis: what the counters grew by beyond the distinct notes that were counted.

Someone else who writes notes during the run shows up as duplicates: the load test wants the system for itself.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path

import msgspec

from course.ids import id_of
from course.note import FIELDS
from loadgen.collector import Load
from loadgen.keys import key_of
from loadgen.pool import make_pool, place_in_pool
from loadgen.settings import RunDirectory, Settings, write_csv, write_json
from loadgen.stores import Applied, Counters, Documents

ID_BYTES = 12
BATCH = 1000
MOST_MISSING = 10_000
COUNTED_ROUTE = "direct"  # the route whose notes Redis counts
SETTLE_S = 1.0
SETTLE_TIMES = 15

Progress = Callable[[str], None]


class Baseline(msgspec.Struct):
    """What was there before the run."""

    documents: int
    counters: Counters


class Reconciled(msgspec.Struct):
    """How one database compares with what was acknowledged. `unknown` notes failed and are there all the same."""

    acknowledged: int
    stored: int
    missing: int
    duplicated: int
    unknown: int


class Reconciliation(msgspec.Struct):
    """Both databases; Redis keeps only what went through direct."""

    mongodb: Reconciled
    redis: Reconciled


def take_baseline(documents: Documents, applied: Applied) -> Baseline:
    """Counts before the run starts."""
    return Baseline(documents.count(), applied.counters())


def reconcile(directory: RunDirectory, documents: Documents, applied: Applied, progress: Progress) -> Reconciliation:
    """Compares both databases with what the run's directory says was acknowledged and attempted."""
    settings = msgspec.json.decode(directory.settings.read_bytes(), type=Settings)
    load = msgspec.json.decode(directory.load.read_bytes(), type=Load)
    before = msgspec.json.decode(directory.baseline.read_bytes(), type=Baseline)
    uncertain = bool(load.failures or load.lost_attempts)
    after = _settled(documents, applied) if uncertain else take_baseline(documents, applied)
    check = _Check(settings, documents, applied, load.lost_attempts)
    total = sum(load.acknowledged.values())
    for route in load.acknowledged:
        for ids in _batches(_stored_ids(directory.acknowledged(route))):
            check.acknowledged(route, ids)
            progress(f"reconciling: {check.checked:,} of {total:,} acknowledged notes looked up")
    unknown = _stored_ids(directory.unknown) if directory.unknown.exists() else iter(())
    for ids in _batches(unknown):
        check.unknown(ids)
    check.lost_workers()
    _write_missing(directory, check.missing)
    return check.result(before, after)


def leave_unreconciled(directory: RunDirectory, why: str) -> None:
    """Leaves in the run's directory why nothing is known of its notes."""
    write_json(directory.reconciliation, why)
    _write_missing(directory, [])


class _Check:
    """Looks ids up in both databases and counts what it finds."""

    def __init__(
        self, settings: Settings, documents: Documents, applied: Applied, lost_attempts: dict[str, int]
    ) -> None:
        self._run = settings.run
        self._lost_attempts = lost_attempts
        # What was under way at a lost worker's last report, unless that turns up among the ids that were reported.
        self._under_way = {id_of(key_of(self._run, user, n - 1)) for user, n in lost_attempts.items() if n}
        self._pool = make_pool(settings.pool, settings.seed)
        self._documents = documents
        self._applied = applied
        self.checked = 0
        self.missing: list[tuple[str, str, str]] = []  # (database, route, id), the first ones
        self._stored = self._stored_unknown = 0
        self._counted_of = Counter[str]()  # by route: acknowledged notes that Redis counted
        self._acknowledged_of = Counter[str]()
        self._counted_unknown = 0
        self._expected: dict[str, Counter[str]] = {field: Counter() for field in FIELDS}

    def acknowledged(self, route: str, ids: Sequence[bytes]) -> None:
        """Looks up notes that a route acknowledged; Redis has only those of direct."""
        self.checked += len(ids)
        self._under_way.difference_update(ids)
        self._acknowledged_of[route] += len(ids)
        stored, counted = self._documents.present(ids), self._count(ids)
        self._stored += len(stored)
        self._counted_of[route] += len(counted)
        self._note_missing("mongodb", route, ids, stored)
        if route == COUNTED_ROUTE:
            self._note_missing("redis", route, ids, counted)

    def unknown(self, ids: Sequence[bytes]) -> int:
        """Looks up notes that were attempted but not acknowledged; returns how many are there."""
        self._under_way.difference_update(ids)
        stored, counted = len(self._documents.present(ids)), len(self._count(ids))
        self._stored_unknown += stored
        self._counted_unknown += counted
        return max(stored, counted)

    def lost_workers(self) -> None:
        """Looks up what users of lost workers posted after their last report, as long as there is something."""
        if self._under_way:
            self.unknown(sorted(self._under_way))
        for user, attempts in self._lost_attempts.items():
            for start in count(attempts, BATCH):
                if not self.unknown([id_of(key_of(self._run, user, n)) for n in range(start, start + BATCH)]):
                    break

    def result(self, before: Baseline, after: Baseline) -> Reconciliation:
        """Sets what was found against how the databases grew."""
        acknowledged = sum(self._acknowledged_of.values())
        grown = after.documents - before.documents
        mongodb = Reconciled(
            acknowledged=acknowledged,
            stored=self._stored,
            missing=acknowledged - self._stored,
            duplicated=max(0, grown - self._stored - self._stored_unknown),
            unknown=self._stored_unknown,
        )
        less, more = self._counter_differences(before.counters, after.counters)
        direct, counted = self._acknowledged_of[COUNTED_ROUTE], self._counted_of[COUNTED_ROUTE]
        redis = Reconciled(
            acknowledged=direct,
            stored=counted,
            missing=direct - counted + less,
            duplicated=more,
            unknown=self._counted_unknown,
        )
        return Reconciliation(mongodb, redis)

    def _note_missing(self, database: str, route: str, ids: Sequence[bytes], found: set[bytes]) -> None:
        for note_id in ids:
            if note_id not in found and len(self.missing) < MOST_MISSING:
                self.missing.append((database, route, note_id.hex()))

    def _count(self, ids: Sequence[bytes]) -> set[bytes]:
        counted = self._applied.present(ids)
        for note_id in counted:
            note = self._pool[place_in_pool(note_id, len(self._pool))]
            for field in FIELDS:
                self._expected[field][getattr(note, field)] += 1
        return counted

    def _counter_differences(self, before: Counters, after: Counters) -> tuple[int, int]:
        """By how much the counters grew too little, and too much: the worst of the total and the four fields."""
        counted = sum(self._counted_of.values()) + self._counted_unknown
        too_much = after.total - before.total - counted
        less, more = max(0, -too_much), max(0, too_much)
        for field, expected in self._expected.items():
            was, now = before.by_field[field], after.by_field[field]
            off = [now.get(text, 0) - was.get(text, 0) - expected[text] for text in {*was, *now, *expected}]
            less = max(less, -sum(difference for difference in off if difference < 0))
            more = max(more, sum(difference for difference in off if difference > 0))
        return less, more


def _settled(documents: Documents, applied: Applied) -> Baseline:
    """Counts once they stand still: what failed for its user may still be on its way into the databases."""
    counts = take_baseline(documents, applied)
    for _ in range(SETTLE_TIMES):
        time.sleep(SETTLE_S)
        previous, counts = counts, take_baseline(documents, applied)
        if counts == previous:
            break
    return counts


def _write_missing(directory: RunDirectory, missing: Sequence[tuple[str, str, str]]) -> None:
    write_csv(directory.path / "missing.csv", ["database", "route", "id"], missing)


def _stored_ids(file: Path) -> Iterator[bytes]:
    with file.open("rb") as ids:
        while note_id := ids.read(ID_BYTES):
            yield note_id


def _batches(ids: Iterable[bytes]) -> Iterator[list[bytes]]:
    iterator = iter(ids)
    while batch := list(islice(iterator, BATCH)):
        yield batch
