"""Reconciliation: is every acknowledged note in the databases, as it was sent, and is nothing else there?

All documents are read after the run, and each is one of three: it carries an id that the run attempted, it was there
before, or it appeared. So what was lost, what was stored twice, and what others did are each counted by themselves,
and none can make up for another. A note that failed (timeout, closed connection, 503) may be stored or not. Of MongoDB:

- missing: acknowledged, but not there;
- altered: a note of the run, acknowledged or not, that is there with other texts than were sent under its id;
- misrouted: acknowledged by one route, but stored as another's;
- duplicated: a document with an `_id` that no request had, and with the texts of a note that the run sends. A key fixes
  the `_id`, so a note stored twice can only be a second document with an `_id` of its own;
- appeared: a document that no request had, with other texts: somebody else's;
- vanished: a document that was there before the run.

Of Redis only what its counters and its memory of what it counted tell: a note is missing that is not among what it
counted, or by which a counter grew too little; and duplicated is what a counter grew too much.

A step of a search for the capacity reads its own notes, by their ids, and compares the number of documents. Only where
that has not grown by the notes found, all documents are read, to tell what happened. So a document that vanished and
one that appeared in the same step make up for each other, and neither is noticed. What was there before a step is what
was there before the search and what its steps have found since; a note of an earlier step that was not found then may
come late, and is neither duplicated nor vanished.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec

from course.note import FIELDS
from course.stored import OTHER
from loadgen.attempted import BATCH, LOST, UNKNOWN, Attempted, Reported, Rows
from loadgen.collector import Load
from loadgen.content import Contents, id_in
from loadgen.ids import ID_BYTES, IdFile, IdFiles, Range, write_ids
from loadgen.pool import make_pool, place_in_pool
from loadgen.settings import RunDirectory, SearchDirectory, Settings, write_csv, write_json
from loadgen.spool import Spool
from loadgen.stores import Applied, Counters, Documents

COUNTED_ROUTE = "direct"  # the route whose notes Redis counts
SETTLE_S = 1.0
SETTLE_TIMES = 15
TOLD = 100_000  # documents between two lines of progress

Progress = Callable[[str], None]


class Baseline(msgspec.Struct):
    """What was there before the run; the ids of the documents are in a file of their own."""

    documents: int
    counters: Counters


class Reconciled(msgspec.Struct):
    """How one database compares with what was acknowledged. `unknown` notes failed and are there all the same."""

    acknowledged: int
    stored: int
    missing: int
    duplicated: int
    unknown: int


class ReconciledDocuments(Reconciled):
    """How MongoDB compares: what its documents hold as well, and what happened to those that are not the run's."""

    altered: int = 0
    misrouted: int = 0
    appeared: int = 0
    vanished: int = 0


class Reconciliation(msgspec.Struct):
    """Both databases; Redis keeps only what went through direct."""

    mongodb: ReconciledDocuments
    redis: Reconciled
    reported: Reported = msgspec.field(default_factory=Reported)

    @property
    def lost(self) -> int:
        """Acknowledged notes that a database does not have as they were sent; one that both lack is one."""
        return self.mongodb.missing + self.mongodb.altered + max(0, self.redis.missing - self.mongodb.missing)


def take_baseline(
    directory: RunDirectory,
    documents: Documents,
    applied: Applied,
    progress: Progress,
    search: SearchDirectory | None = None,
) -> Baseline:
    """Looks at what is there before a run or a search starts; with `search`, before a step of it, only at how much."""
    if search:
        if not search.baseline.exists():  # the step before could not be reconciled
            _drop_stored(search)
            write_json(search.baseline, take_baseline(search, documents, applied, progress))
        return Baseline(documents.total(), applied.counters())
    with TemporaryDirectory(dir=directory.path) as disk:
        found = Spool(Path(disk, "ids"), _counted(documents.ids(), "before the run: {:,} documents", progress))
        ranges = Range().split(found.count)
        write_ids(directory.before, (sorted(map(id_in, found.read(within))) for within in ranges))
    return Baseline(found.count(Range()), applied.counters())


def compare(
    directory: RunDirectory,
    documents: Documents,
    applied: Applied,
    progress: Progress,
    search: SearchDirectory | None = None,
) -> Reconciliation:
    """Compares both databases with what the run's directory says was acknowledged and attempted.

    With `search`, the run is a step of it, and the steps before it have left their files.
    """
    settings = msgspec.json.decode(directory.settings.read_bytes(), type=Settings)
    load = msgspec.json.decode(directory.load.read_bytes(), type=Load)
    before = msgspec.json.decode(directory.baseline.read_bytes(), type=Baseline)
    total, counters = _settled(documents, applied, bool(load.unknown or load.lost_attempts))
    run = Attempted(settings, load, directory)
    run.sort(documents)
    ids = _ids_of(directory, search)
    check = _Check(settings, run.outcomes, applied)
    if search:
        write_ids(directory.stored, _look_up(check, ids.attempted, documents, progress))
    if not search or before.documents + check.found != total:
        check = _Check(settings, run.outcomes, applied)
        write_ids(directory.stored, _look_at_all(check, ids, documents, directory, progress))
        if search:
            _renew_baseline(search, directory, Baseline(check.read, counters))
    _write_rows(directory, check.missing, [*run.repeated, *check.differences])
    return Reconciliation(check.of_mongodb(), check.of_redis(before.counters, counters), run.reported)


def leave_unreconciled(directory: RunDirectory, why: str, search: SearchDirectory | None = None) -> None:
    """Leaves in the run's directory why nothing is known of its notes; a search's next step reads all ids anew."""
    write_json(directory.reconciliation, why)
    _write_rows(directory, [], [])
    if search:
        search.baseline.unlink(missing_ok=True)


class _Ids(NamedTuple):
    """The ids of a run; of what was there before it; and of notes of earlier steps, which may come late."""

    attempted: IdFile
    before: IdFiles
    late: IdFiles


def _ids_of(directory: RunDirectory, search: SearchDirectory | None) -> _Ids:
    attempted = IdFile(directory.attempted, more=1)
    if not search:
        return _Ids(attempted, IdFiles([directory.before]), IdFiles([]))
    steps = [step for step in search.steps() if step.path != directory.path]
    before = [search.before, *(step.stored for step in steps if step.stored.exists())]
    late = [step.attempted for step in steps if step.attempted.exists()]
    return _Ids(attempted, IdFiles(before), IdFiles(late, more=1))


def _renew_baseline(search: SearchDirectory, step: RunDirectory, found: Baseline) -> None:
    """What a step found when it looked at all documents is what was there before the next one."""
    step.stored.replace(search.before)
    _drop_stored(search)
    write_json(search.baseline, found)


def _drop_stored(search: SearchDirectory) -> None:
    """Removes what steps found before all ids were read anew."""
    for step in search.steps():
        step.stored.unlink(missing_ok=True)


def _look_up(check: "_Check", attempted: IdFile, documents: Documents, progress: Progress) -> Iterator[list[bytes]]:
    """Compares the run's own documents, asked for by their ids; gives the ids found, range by range."""
    for within in Range().split(attempted.count):
        records = attempted.read(within)
        asked = [record[:ID_BYTES] for record in records]
        parts = (asked[at : at + BATCH] for at in range(0, len(asked), BATCH))
        yield check.look(records, [], chain.from_iterable(map(documents.fetch, parts)))
        progress(f"reconciling: {check.found:,} of this run's {len(attempted):,} notes found")


def _look_at_all(
    check: "_Check", ids: _Ids, documents: Documents, directory: RunDirectory, progress: Progress
) -> Iterator[list[bytes]]:
    """Compares all documents, which are put on the run's disk first; gives the ids found, range by range."""
    with TemporaryDirectory(dir=directory.path) as disk:
        spool = Spool(Path(disk, "documents"), _counted(documents.read(), "reconciling: {:,} documents read", progress))

        def most(within: Range) -> int:
            return max(counted.count(within) for counted in (spool, *ids))

        for within in Range().split(most):
            compared = check.read
            yield check.look(
                ids.attempted.read(within), ids.before.read(within), spool.read(within), ids.late.read(within)
            )
            if compared // TOLD < check.read // TOLD:
                _tell_compared(check, progress)
    _tell_compared(check, progress)


def _tell_compared(check: "_Check", progress: Progress) -> None:
    progress(f"reconciling: {check.read:,} documents compared, {check.found:,} of them this run's")


def _counted(documents: Iterator[bytes], told: str, progress: Progress) -> Iterator[bytes]:
    """The documents, with a line of progress for some of them at a time, and for all in the end."""
    number = 0
    for number, document in enumerate(documents, 1):
        if number % TOLD == 0:
            progress(told.format(number))
        yield document
    if number % TOLD:
        progress(told.format(number))


class _Check:
    """Looks at the documents range by range, and counts what it finds."""

    def __init__(self, settings: Settings, outcomes: Sequence[str], applied: Applied) -> None:
        self._outcomes = outcomes
        self._applied = applied
        self._pool = make_pool(settings.pool, settings.seed)
        self._contents = Contents(self._pool)
        self._known_batches: dict[bytes, bool] = {}
        self.missing, self.differences = Rows(), Rows()
        self.read = self.found = 0
        self._acknowledged, self._stored, self._counted = Counter[str](), Counter[str](), Counter[str]()
        self._altered = self._misrouted = self._duplicated = self._appeared = self._vanished = 0
        # By place in the pool: notes that Redis counted, those of which nobody can say whether it did, and those of
        # earlier steps, which it may have counted meanwhile.
        self._certain, self._possible, self._late = Counter[int](), Counter[int](), Counter[int]()

    def look(
        self,
        attempted: Iterable[bytes],
        before: Iterable[bytes],
        documents: Iterable[bytes],
        late: Iterable[bytes] = (),
    ) -> list[bytes]:
        """Compares a range's documents with the run's ids in it, and with those of before; returns the ids found.

        Notes of earlier steps, `late`, may be there or not.
        """
        wanted = {record[:ID_BYTES]: self._outcomes[record[ID_BYTES]] for record in attempted}
        earlier = set(before)
        allowed = {record[:ID_BYTES] for record in late} - earlier
        by_mark: dict[bytes, list[tuple[bytes, str]]] = defaultdict(list)
        ids = []
        for document in documents:
            note_id = id_in(document)
            ids.append(note_id)
            if outcome := wanted.pop(note_id, None):
                by_mark[self._note(note_id, outcome, document)].append((note_id, outcome))
            elif note_id in allowed:
                self._late[self._place(note_id)] += 1
            elif note_id not in earlier:
                self._stranger(note_id, document)
            earlier.discard(note_id)
        for note_id in sorted(earlier):
            self._vanished += 1
            self.differences.add("vanished", note_id.hex())
        self._lost(wanted)
        self._count(by_mark)
        self.read += len(ids)
        return sorted(ids)

    def of_mongodb(self) -> ReconciledDocuments:
        """What was found in MongoDB."""
        acknowledged, stored = self._acknowledged.total(), self._of_routes(self._stored)
        return ReconciledDocuments(
            acknowledged=acknowledged,
            stored=stored,
            missing=acknowledged - stored,
            duplicated=self._duplicated,
            unknown=self._stored.total() - stored,
            altered=self._altered,
            misrouted=self._misrouted,
            appeared=self._appeared,
            vanished=self._vanished,
        )

    def of_redis(self, before: Counters, after: Counters) -> Reconciled:
        """Sets what Redis says it counted against how its counters grew."""
        certain, possible, late = self._certain.total(), self._possible.total(), self._late.total()
        counted = self._counted[COUNTED_ROUTE] + min(max(0, after.total - before.total - certain), possible)
        less, more = _off(after.total - before.total, certain, certain + possible + late)
        for field in FIELDS:
            least = self._by_text(field, self._certain)
            most = self._by_text(field, self._certain + self._possible + self._late)
            off = _differences(before.by_field[field], after.by_field[field], least, most)
            less, more = max(less, off[0]), max(more, off[1])
        acknowledged = self._acknowledged[COUNTED_ROUTE]
        return Reconciled(
            acknowledged=acknowledged,
            stored=counted,
            missing=acknowledged - counted + less,
            duplicated=more,
            unknown=self._counted.total() - self._of_routes(self._counted),
        )

    def _note(self, note_id: bytes, outcome: str, document: bytes) -> bytes:
        """Compares a document of the run with what was sent; returns by what Redis would know it."""
        route = self._route(outcome)
        self.found += 1
        self._stored[outcome] += 1
        self._acknowledged[outcome] += route is not None
        found = self._contents.compare(note_id, route, document)
        if found.differences:
            fields = {difference.field for difference in found.differences}
            self._misrouted += "route" in fields
            self._altered += bool(fields - {"route"})
            for field, sent, stored in found.differences:
                kind = "misrouted" if field == "route" else "altered"
                self.differences.add(kind, note_id.hex(), field, sent, stored)
        return found.batch or note_id

    def _stranger(self, note_id: bytes, document: bytes) -> None:
        """A document that appeared, and that no request of the run accounts for."""
        if self._contents.is_of_the_pool(document):
            self._duplicated += 1
            self.differences.add("duplicated", note_id.hex())
        else:
            self._appeared += 1
            self.differences.add("appeared", note_id.hex())

    def _lost(self, absent: Mapping[bytes, str]) -> None:
        """Notes without a document. What Redis knows of them is known by their id only, if at all."""
        counted = self._applied.present(list(absent)) if absent else set()
        for note_id, outcome in absent.items():
            if (route := self._route(outcome)) is None:
                continue
            self._acknowledged[route] += 1
            self.missing.add("mongodb", route, note_id.hex())
            if note_id in counted:
                self._counted[route] += 1
                self._certain[self._place(note_id)] += 1
            elif route == COUNTED_ROUTE:
                self._possible[self._place(note_id)] += 1

    def _count(self, by_mark: Mapping[bytes, Sequence[tuple[bytes, str]]]) -> None:
        """Counts the notes that Redis says it counted: by the token of their batch, or one by one."""
        unasked = [mark for mark in by_mark if mark not in self._known_batches]
        present = self._applied.present(unasked) if unasked else set()
        self._known_batches |= {mark: mark in present for mark in unasked if mark != by_mark[mark][0][0]}
        for mark, notes in by_mark.items():
            counted = mark in present or self._known_batches.get(mark, False)
            for note_id, outcome in notes:
                if counted:
                    self._counted[outcome] += 1
                    self._certain[self._place(note_id)] += 1
                elif outcome == COUNTED_ROUTE:
                    self.missing.add("redis", outcome, note_id.hex())

    def _route(self, outcome: str) -> str | None:
        """The route that acknowledged a note, if one did."""
        return None if outcome in (UNKNOWN, LOST) else outcome

    def _of_routes(self, counts: Counter[str]) -> int:
        return sum(number for outcome, number in counts.items() if self._route(outcome) is not None)

    def _place(self, note_id: bytes) -> int:
        return place_in_pool(note_id, len(self._pool))

    def _by_text(self, field: str, places: Counter[int]) -> Counter[str]:
        """Notes by a field's text."""
        counts = Counter[str]()
        for place, number in places.items():
            counts[getattr(self._pool[place], field)] += number
        return counts


def _differences(
    before: Mapping[str, int], after: Mapping[str, int], least: Counter[str], most: Counter[str]
) -> tuple[int, int]:
    """By how much the counters of a field's texts grew too little, and too much."""
    least, most = Counter(least), Counter(most)
    if OTHER in after:  # a text without a counter of its own is counted there
        for text in most.keys() - after.keys():
            least[OTHER] += least.pop(text, 0)
            most[OTHER] += most.pop(text)
    off = [_off(after.get(text, 0) - before.get(text, 0), least[text], most[text]) for text in {*before, *after, *most}]
    return sum(less for less, _ in off), sum(more for _, more in off)


def _off(grown: int, least: int, most: int) -> tuple[int, int]:
    """By how much a counter grew too little, and too much."""
    return max(0, least - grown), max(0, grown - most)


def _settled(documents: Documents, applied: Applied, uncertain: bool) -> tuple[int, Counters]:
    """How many documents there are, and the counters; where something failed, once both stand still.

    What failed for its user may still be on its way into the databases.
    """
    counts = documents.total(), applied.counters()
    for _ in range(SETTLE_TIMES if uncertain else 0):
        time.sleep(SETTLE_S)
        previous, counts = counts, (documents.total(), applied.counters())
        if counts == previous:
            break
    return counts


def _write_rows(
    directory: RunDirectory, missing: Iterable[Sequence[str]], differences: Iterable[Sequence[str]]
) -> None:
    write_csv(directory.missing, ["database", "route", "id"], missing)
    header = ["kind", "id", "field", "sent", "stored"]
    write_csv(directory.differences, header, ((*row, *[""] * (len(header) - len(row))) for row in differences))
