"""Reconciliation: each kind of difference by itself, none hidden by another, and whatever others have stored."""

import csv
from argparse import Namespace
from collections import Counter
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import bson
import msgspec
import pytest

from course.ids import id_of
from course.note import FIELDS
from course.notes import document
from course.stored import OTHER
from loadgen import __main__, ids, stores
from loadgen.attempted import BATCH
from loadgen.collector import Collector
from loadgen.content import id_in, read
from loadgen.keys import key_of
from loadgen.pool import make_pool, place_in_pool
from loadgen.reconcile import compare, leave_unreconciled, take_baseline
from loadgen.settings import SearchDirectory, write_json
from loadgen.spool import Spool
from loadgen.stores import Counters
from loadgen.verdict import _of_notes

AT = datetime(2026, 11, 24, tzinfo=UTC)


class MemoryDocuments:
    """Stands in for MongoDB: documents by what stands for their `_id`."""

    def __init__(self):
        self.by_id = {}
        self.reads_of_all = 0

    def insert(self, **fields):
        encoded = bson.encode(fields)
        self.by_id[id_in(encoded)] = encoded

    def change(self, note_id, **fields):
        stored = bson.decode(self.by_id.pop(note_id)) | fields
        self.insert(**{name: value for name, value in stored.items() if value is not None})

    def total(self):
        return len(self.by_id)

    def ids(self):
        return (bson.encode({"_id": read(one)["_id"]}) for one in self.read())

    def read(self):
        self.reads_of_all += 1
        return iter(self.by_id.values())

    def fetch(self, ids):
        assert len(ids) <= BATCH
        return (self.by_id[note_id] for note_id in ids if note_id in self.by_id)

    def present(self, ids):
        return self.by_id.keys() & set(ids)


class MemoryCounters:
    """Stands in for Redis: the ids or tokens of what was counted, and the counters as direct keeps them."""

    def __init__(self, settings):
        self.pool = make_pool(settings.pool, settings.seed)
        self.applied = set()
        self.total = 40
        self.by_field: dict[str, Counter[str]] = {field: Counter() for field in FIELDS}

    def apply(self, note_id, mark=None):
        self.applied.add(mark or note_id)
        self.total += 1
        note = self.pool[place_in_pool(note_id, len(self.pool))]
        for field in FIELDS:
            self.by_field[field][getattr(note, field)] += 1

    def counters(self):
        return Counters(self.total, {field: dict(counts) for field, counts in self.by_field.items()})

    def present(self, marks):
        return self.applied & set(marks)


class World:
    """Databases, with documents of before, and a run whose users have posted to them."""

    search: SearchDirectory | None = None
    worker = "host_1234"

    def __init__(self, settings, directory, make_report):
        self.settings = settings
        self.directory = directory
        self.documents = MemoryDocuments()
        self.counters = MemoryCounters(settings)
        self.pool = self.counters.pool
        self.make_report = make_report
        self.earlier = [id_of(f"earlier-{number}") for number in range(40)]
        self.store(self.earlier)
        self.take_baseline()

    def take_baseline(self):
        before = take_baseline(self.directory, self.documents, self.counters, lambda _: None, self.search)
        write_json(self.directory.baseline, before)

    def ids(self, user, start, stop):
        return [id_of(key_of(self.settings.run, user, number)) for number in range(start, stop)]

    def note(self, note_id):
        return self.pool[place_in_pool(note_id, len(self.pool))]

    def store(self, ids, counted=False, batch=None):
        """Stores notes as relay does, or, where they are counted, as direct does."""
        for note_id in ids:
            stored = document(note_id, self.note(note_id), "direct" if counted else "relay", AT)
            self.documents.insert(**stored, **({"batch": batch} if batch else {}))
            if counted:
                self.counters.apply(note_id, batch)

    def load(self, relay=(), direct=(), unknown=(), attempts=None):
        """The load of workers that reported these ids; with `attempts`, the worker is lost after that."""
        collector = Collector(self.settings, self.directory, 1000.0)
        report = self.make_report(
            run=self.settings.run,
            worker=self.worker,
            final=attempts is None,
            acknowledged={"relay": b"".join(relay), "direct": b"".join(direct)},
            unknown=b"".join(unknown),
            attempts=attempts or {},
        )
        collector.take(report, now=1001.0)
        return collector.finish(ended_at=1010.0, now=1010.0)

    def reconcile(self, *notes, **further):
        """What comes out of such a load."""
        write_json(self.directory.load, self.load(*notes, **further))
        return compare(self.directory, self.documents, self.counters, lambda _: None, self.search)

    def reasons(self, found):
        return [reason for _, reason in _of_notes(self.settings, self.load([bytes(12)]), found) if reason]

    def differences(self):
        with self.directory.differences.open() as file:
            return [tuple(row.values()) for row in csv.DictReader(file)]


class Searched(World):
    """Databases, and a search for the capacity that has begun; each step's notes are those of a run of its own."""

    def __init__(self, settings, directory, make_report):
        super().__init__(settings, directory, make_report)
        self.search = SearchDirectory(directory.path)
        self.of_search = settings

    def begin(self, number):
        """Begins a step."""
        assert self.search is not None
        self.directory = self.search.step(number)
        self.directory.path.mkdir(parents=True)
        self.worker = f"host_{number}"
        self.settings = msgspec.structs.replace(self.of_search, run=f"{self.of_search.run}-{number}")
        write_json(self.directory.settings, self.settings)
        self.documents.reads_of_all = 0
        self.take_baseline()

    def step(self, number, size=30):
        """Begins a step whose notes of both routes are all stored as they were sent; returns them."""
        self.begin(number)
        relay, direct = self.ids("0-1", 0, size), self.ids("0-2", 0, size)
        self.store(relay)
        self.store(direct, counted=True)
        return relay, direct


@pytest.fixture
def world(settings, directory, make_report, monkeypatch):
    monkeypatch.setattr("loadgen.reconcile.SETTLE_S", 0)
    return World(settings, directory, make_report)


def verdict(found):
    return (found.acknowledged, found.stored, found.missing, found.duplicated)


def beside(found):
    return (found.altered, found.misrouted, found.appeared, found.vanished)


def foreign(world, **fields):
    world.documents.insert(**({"_id": bson.ObjectId()} | fields))


def doubled(world, note_id):
    """The note once more, under an id of its own."""
    world.documents.insert(**document(bson.ObjectId().binary, world.note(note_id), "relay", AT))


def test_everything_stored_once_is_neither_missing_nor_duplicated(world):
    relay, direct = world.ids("0-1", 0, 1500), world.ids("0-2", 0, 1200)
    world.store(relay)
    world.store(direct, counted=True)
    found = world.reconcile(relay, direct)
    assert verdict(found.mongodb) == (2700, 2700, 0, 0)
    assert verdict(found.redis) == (1200, 1200, 0, 0)


def test_an_acknowledged_note_that_is_not_stored_is_missing_and_named(world):
    relay = world.ids("0-1", 0, 10)
    world.store(relay[1:])
    found = world.reconcile(relay)
    assert verdict(found.mongodb) == (10, 9, 1, 0)
    assert (world.directory.path / "missing.csv").read_text().splitlines() == [
        "database,route,id",
        f"mongodb,relay,{relay[0].hex()}",
    ]


def test_a_note_that_redis_did_not_count_is_missing_there_only(world):
    direct = world.ids("0-1", 0, 10)
    world.store(direct, counted=True)
    world.counters = MemoryCounters(world.settings)
    for note_id in direct[1:]:
        world.counters.apply(note_id)
    found = world.reconcile(direct=direct)
    assert verdict(found.mongodb) == (10, 10, 0, 0)
    assert verdict(found.redis) == (10, 9, 1, 0)


def test_a_document_with_an_id_of_its_own_is_a_duplicate(world):
    relay = world.ids("0-1", 0, 10)
    world.store(relay)
    doubled(world, relay[0])
    doubled(world, relay[0])
    assert verdict(world.reconcile(relay).mongodb) == (10, 10, 0, 2)


def test_a_note_counted_twice_is_a_duplicate_in_redis(world):
    direct = world.ids("0-1", 0, 10)
    world.store(direct, counted=True)
    world.counters.apply(direct[0])
    assert verdict(world.reconcile(direct=direct).redis) == (10, 10, 0, 1)


def test_a_counter_that_lost_a_note_shows_as_missing(world):
    direct = world.ids("0-1", 0, 10)
    world.store(direct, counted=True)
    world.counters.total -= 1
    assert verdict(world.reconcile(direct=direct).redis) == (10, 10, 1, 0)


def test_a_note_counted_under_the_wrong_text_shows_as_missing_and_duplicated(world):
    direct = world.ids("0-1", 0, 10)
    world.store(direct, counted=True)
    regions = world.counters.by_field["region"]
    regions[next(iter(regions))] -= 1
    regions["ATLANTIS"] += 1
    assert verdict(world.reconcile(direct=direct).redis) == (10, 10, 1, 1)


def test_a_failed_note_may_be_stored_or_not(world):
    unknown = world.ids("0-1", 0, 10)
    world.store(unknown[:4], counted=True)
    found = world.reconcile(unknown=unknown)
    assert verdict(found.mongodb) == (0, 0, 0, 0)
    assert verdict(found.redis) == (0, 0, 0, 0)
    assert (found.mongodb.unknown, found.redis.unknown) == (4, 4)


def test_notes_of_the_relay_that_redis_counted_are_accounted_for(world):
    """As with RELAY_FORWARD_URL, where relay posts each note to direct as well."""
    relay = world.ids("0-1", 0, 10)
    world.store(relay, counted=True)
    assert verdict(world.reconcile(relay).redis) == (0, 0, 0, 0)


def test_what_a_lost_worker_posted_after_its_last_report_is_no_duplicate(world):
    reported, later = world.ids("0-1", 0, 10), world.ids("0-1", 10, 1100)
    world.store(reported + later)
    found = world.reconcile(reported, attempts={"0-1": 10})
    assert verdict(found.mongodb) == (10, 10, 0, 0)


def test_who_began_to_post_after_a_lost_workers_last_report_is_known_as_well(world):
    """With open arrivals, where each that waits for an answer has a name of its own."""
    world.settings = msgspec.structs.replace(world.settings, arrivals="open")
    write_json(world.directory.settings, world.settings)
    reported, later = world.ids("0-1-0", 0, 10), [world.ids(f"0-1-{number}", 0, 2) for number in range(1, 60)]
    world.store([*reported, *chain(*later)])
    found = world.reconcile(reported, attempts={"0-1-0": 10})
    assert verdict(found.mongodb) == (10, 10, 0, 0)


def test_the_note_under_way_at_a_lost_workers_last_report_is_looked_up_once(world):
    reported, under_way = world.ids("0-1", 0, 9), world.ids("0-1", 9, 10)
    world.store(reported + under_way)
    doubled(world, reported[0])
    found = world.reconcile(reported, attempts={"0-1": 10})
    assert verdict(found.mongodb) == (9, 9, 0, 1)


def test_the_reconciliation_can_be_written_and_read(world):
    found = world.reconcile(world.ids("0-1", 0, 1))
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def test_a_database_that_is_away_is_left_as_the_reason(world, monkeypatch, capsys):
    world.reconcile(world.ids("0-1", 0, 1))
    monkeypatch.setattr(__main__, "PATIENCE_S", 0)
    monkeypatch.setattr(stores, "_PATIENCE_MS", 100)
    monkeypatch.setenv("MONGODB_URI", "mongodb://127.0.0.1:1/courses")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    __main__.reconcile(Namespace(directory=world.directory.path))
    left = msgspec.json.decode(world.directory.reconciliation.read_bytes())
    assert left == "MongoDB did not answer for 0 s (ServerSelectionTimeoutError)"
    assert left in capsys.readouterr().out


def test_a_full_disk_is_left_as_the_reason_and_stops_a_run_before_it_begins(world, posted, monkeypatch, capsys):
    world.reconcile(*posted)
    monkeypatch.setattr(stores, "connect", lambda _: (world.documents, world.counters))
    monkeypatch.setattr(Spool, "_file", lambda self, byte: Path("/dev/full"))
    options = Namespace(directory=world.directory.path)
    __main__.reconcile(options)
    left = msgspec.json.decode(world.directory.reconciliation.read_bytes())
    assert "has no room for the documents to compare" in left
    assert f"not reconciled: {left}" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="has no room for the documents to compare, 100 so far: make room"):
        __main__.baseline(options)


@pytest.fixture
def posted(world):
    """Notes of both routes, all stored as they were sent: (relay's, direct's)."""
    relay, direct = world.ids("0-1", 0, 30), world.ids("0-2", 0, 30)
    world.store(relay)
    world.store(direct, counted=True)
    return relay, direct


def test_a_run_without_a_difference_has_no_reason_and_no_row(world, posted):
    found = world.reconcile(*posted)
    assert beside(found.mongodb) == (0, 0, 0, 0)
    assert (found.reported.read, found.reported.unread, found.reported.repeated) == (60, 0, 0)
    assert world.reasons(found) == []
    assert world.differences() == []


@pytest.mark.parametrize("route", [0, 1], ids=["relay", "direct"])
def test_fields_that_changed_places_are_found_on_both_routes(world, posted, route):
    note_id = posted[route][3]
    note = world.note(note_id)
    world.documents.change(note_id, curso=note.carrera, carrera=note.curso)
    found = world.reconcile(*posted)
    assert verdict(found.mongodb) == (60, 60, 0, 0)
    assert beside(found.mongodb) == (1, 0, 0, 0)
    assert world.differences() == [
        ("altered", note_id.hex(), "curso", note.curso, note.carrera),
        ("altered", note_id.hex(), "carrera", note.carrera, note.curso),
    ]
    (reason,) = world.reasons(found)
    assert reason.startswith("MongoDB: 1 notes have other texts than were sent")


@pytest.mark.parametrize(
    "change",
    [
        {"facultad": "x"},
        {"facultad": None},
        {"facultad": 5},
        {"facultad": ["ingenieria"]},
        {"facultad": "\ud7ff" * 300},
    ],
    ids=["another", "absent", "a number", "a list", "a long one"],
)
def test_a_text_that_is_not_what_was_sent_is_found(world, posted, change):
    world.documents.change(posted[0][3], **change)
    assert beside(world.reconcile(*posted).mongodb) == (1, 0, 0, 0)
    ((kind, _, field, sent, stored),) = world.differences()
    assert (kind, field, sent) == ("altered", "facultad", world.note(posted[0][3]).facultad)
    assert len(stored) <= 200


def test_a_text_that_lost_its_last_character_is_found(world, posted):
    note = world.note(posted[1][7])
    world.documents.change(posted[1][7], carrera=note.carrera[:-1])
    assert beside(world.reconcile(*posted).mongodb) == (1, 0, 0, 0)
    assert world.differences() == [("altered", posted[1][7].hex(), "carrera", note.carrera, note.carrera[:-1])]


def test_a_note_that_is_stored_as_the_other_routes_is_found(world, posted):
    world.documents.change(posted[0][0], route="direct")
    world.documents.change(posted[1][0], route=None)
    found = world.reconcile(*posted)
    assert beside(found.mongodb) == (0, 2, 0, 0)
    assert {row[2:] for row in world.differences()} == {("route", "relay", "direct"), ("route", "direct", "(absent)")}
    (reason,) = world.reasons(found)
    assert reason.startswith("MongoDB: 2 notes are stored as those of another route")


def test_the_texts_of_a_failed_note_that_is_stored_are_compared_as_well(world):
    unknown = world.ids("0-1", 0, 4)
    world.store(unknown)
    world.documents.change(unknown[0], region="")
    found = world.reconcile(unknown=unknown)
    assert (found.mongodb.unknown, found.mongodb.altered) == (4, 1)


def test_fields_beside_the_notes_own_are_no_difference(world, posted):
    world.documents.change(posted[0][0], batch=b"token", extra={"more": [1]})
    assert world.reasons(world.reconcile(*posted)) == []


def test_a_document_of_before_that_is_gone_has_vanished(world, posted):
    del world.documents.by_id[world.earlier[5]]
    found = world.reconcile(*posted)
    assert beside(found.mongodb) == (0, 0, 0, 1)
    assert world.differences() == [("vanished", world.earlier[5].hex(), "", "", "")]
    (reason,) = world.reasons(found)
    assert reason.startswith("MongoDB: 1 documents that were there before the run are gone")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {
            "curso": "SO1",
            "facultad": "ingenieria",
            "carrera": "sistemas",
            "region": "ATLANTIS",
            "route": "relay",
            "at": AT,
        },
        {"curso": 1, "facultad": None, "carrera": [], "region": {"a": 1}, "at": "yesterday"},
        {"at": bson.datetime_ms.DatetimeMS(2**60)},
        {"_id": "a text"},
        {"_id": 5, "curso": "SO1"},
        {"_id": None},
    ],
    ids=["empty", "a note", "other types", "no date", "a text as id", "a number as id", "nothing as id"],
)
def test_a_document_of_any_form_that_appeared_is_told_from_a_duplicate(world, posted, fields):
    foreign(world, **fields)
    found = world.reconcile(*posted)
    assert verdict(found.mongodb) == (60, 60, 0, 0)
    assert beside(found.mongodb) == (0, 0, 1, 0)
    assert [row[0] for row in world.differences()] == ["appeared"]
    (reason,) = world.reasons(found)
    assert reason.startswith("MongoDB: 1 documents appeared that are not this run's")


@pytest.mark.parametrize("note_id", [None, "a text", 5])
def test_a_document_of_before_stays_where_it_is_whatever_its_id(world, posted, note_id):
    foreign(world, _id=note_id)
    world.take_baseline()
    write_json(world.directory.load, world.load(*posted))
    for left in (0, 1):
        found = compare(world.directory, world.documents, world.counters, progress=lambda _: None)
        assert beside(found.mongodb) == (0, 0, 0, left)
        world.documents.by_id.pop(id_in(bson.encode({"_id": note_id})), None)


def test_one_that_vanished_and_one_that_appeared_do_not_hide_each_other(world, posted):
    del world.documents.by_id[world.earlier[0]]
    foreign(world)
    assert world.documents.total() == len(world.earlier) + 60
    found = world.reconcile(*posted)
    assert beside(found.mongodb) == (0, 0, 1, 1)
    assert len(world.reasons(found)) == 2


def test_one_that_vanished_and_one_that_was_doubled_do_not_hide_each_other(world, posted):
    del world.documents.by_id[world.earlier[0]]
    doubled(world, posted[0][0])
    found = world.reconcile(*posted)
    assert (found.mongodb.duplicated, found.mongodb.vanished) == (1, 1)


def test_one_that_was_lost_and_one_that_was_doubled_do_not_hide_each_other(world, posted):
    del world.documents.by_id[posted[0][0]]
    doubled(world, posted[0][1])
    found = world.reconcile(*posted)
    assert verdict(found.mongodb) == (60, 59, 1, 1)
    assert [row[0] for row in world.differences()] == ["duplicated"]
    assert posted[0][0].hex() in world.directory.missing.read_text()


def test_one_that_was_lost_and_somebody_elses_do_not_hide_each_other(world, posted):
    del world.documents.by_id[posted[0][0]]
    foreign(world, curso="CHESS")
    found = world.reconcile(*posted)
    assert verdict(found.mongodb) == (60, 59, 1, 0)
    assert found.mongodb.appeared == 1


def test_an_id_that_was_reported_and_cannot_be_read_back_fails_the_run(world, posted):
    load = world.load(*posted)
    write_json(world.directory.load, load)
    file = world.directory.acknowledged("relay")
    file.write_bytes(file.read_bytes()[:-1])  # the last id is cut
    found = compare(world.directory, world.documents, world.counters, progress=lambda _: None)
    assert (found.reported.read, found.reported.unread) == (59, 1)
    assert any(reason.startswith("1 ids that the workers reported could not be") for reason in world.reasons(found))


def test_the_ids_of_one_route_do_not_make_up_for_those_of_another(world, posted):
    relay, direct = posted
    write_json(world.directory.load, world.load(relay, direct))
    world.directory.acknowledged("relay").write_bytes(b"".join(relay[1:]))
    world.directory.acknowledged("direct").write_bytes(b"".join([*direct, relay[0]]))
    found = compare(world.directory, world.documents, world.counters, progress=lambda _: None)
    assert (found.reported.unread, found.reported.unreported, found.mongodb.misrouted) == (1, 1, 1)


def test_ids_that_are_nowhere_to_be_read_are_missed(world, posted):
    write_json(world.directory.load, world.load(*posted))
    world.directory.acknowledged("relay").unlink()
    found = compare(world.directory, world.documents, world.counters, progress=lambda _: None)
    assert found.reported.unread == 30


def test_an_id_that_was_reported_twice_hides_no_other(world, posted):
    relay, direct = posted
    found = world.reconcile([*relay[:-1], relay[0]], direct)
    assert found.reported.repeated == 1
    assert ("repeated", relay[0].hex(), "", "", "") in world.differences()
    assert any(reason.startswith("1 ids were reported more than once") for reason in world.reasons(found))


def test_everything_is_found_in_small_ranges_as_well(world, posted, monkeypatch):
    monkeypatch.setattr(ids, "MOST", 3)
    same_second = [b"\x69\x24\x00\x00" + bytes([0, 0, 0, 0, 0, 0, 0, number]) for number in range(20)]
    world.store(same_second)
    world.take_baseline()
    del world.documents.by_id[posted[0][0]]
    del world.documents.by_id[same_second[4]]
    foreign(world)
    found = world.reconcile(*posted)
    # The run's own notes were there before this baseline, so the one that was lost has vanished as well.
    assert verdict(found.mongodb) == (60, 59, 1, 0)
    assert beside(found.mongodb)[2:] == (1, 2)


def test_a_database_that_was_emptied_and_filled_again_is_noticed(world, posted):
    world.documents.by_id.clear()
    for _ in range(len(world.earlier) + 60):
        foreign(world)
    found = world.reconcile(*posted)
    assert verdict(found.mongodb) == (60, 0, 60, 0)
    assert beside(found.mongodb) == (0, 0, 100, 40)


def test_a_batch_that_redis_counted_is_known_by_its_token(world):
    direct = world.ids("0-2", 0, 20)
    world.store(direct[:10], counted=True, batch=b"first")
    world.store(direct[10:], counted=True, batch=b"second")
    found = world.reconcile(direct=direct)
    assert verdict(found.redis) == (20, 20, 0, 0)
    assert world.reasons(found) == []


def test_a_batch_that_redis_did_not_count_is_missing_though_another_was_counted_twice(world):
    direct = world.ids("0-2", 0, 20)
    world.store(direct, counted=True, batch=b"first")
    for note_id in direct[10:]:
        world.documents.change(note_id, batch=b"second")
    found = world.reconcile(direct=direct)
    assert verdict(found.redis) == (20, 10, 10, 10)
    assert len(world.reasons(found)) == 2


def test_texts_beyond_those_that_have_a_counter_are_looked_for_among_the_others(world):
    direct = world.ids("0-2", 0, 20)
    world.store(direct, counted=True)
    courses = world.counters.by_field["curso"]
    for text in list(courses)[3:]:
        courses[OTHER] += courses.pop(text)
    assert verdict(world.reconcile(direct=direct).redis) == (20, 20, 0, 0)
    courses[OTHER] -= 1
    assert verdict(world.reconcile(direct=direct).redis) == (20, 20, 1, 0)


def test_a_note_that_is_gone_with_its_batchs_name_is_not_called_counted_twice(world):
    direct = world.ids("0-2", 0, 20)
    world.store(direct, counted=True, batch=b"first")
    del world.documents.by_id[direct[0]]
    found = world.reconcile(direct=direct)
    assert verdict(found.mongodb) == (20, 19, 1, 0)
    assert verdict(found.redis) == (20, 20, 0, 0)


@pytest.fixture
def searched(settings, directory, make_report, monkeypatch):
    monkeypatch.setattr("loadgen.reconcile.SETTLE_S", 0)
    return Searched(settings, directory, make_report)


def test_steps_without_a_difference_read_their_own_notes_only(searched):
    for number in (1, 2, 3):
        posted = searched.step(number, size=1500)
        found = searched.reconcile(*posted)
        assert (verdict(found.mongodb), verdict(found.redis)) == ((3000, 3000, 0, 0), (1500, 1500, 0, 0))
        assert searched.reasons(found) == []
        assert searched.documents.reads_of_all == 0


def test_a_step_reads_its_own_notes_in_small_ranges_as_well(searched, monkeypatch):
    monkeypatch.setattr(ids, "MOST", 3)
    posted = searched.step(1)
    assert verdict(searched.reconcile(*posted).mongodb) == (60, 60, 0, 0)
    assert searched.documents.reads_of_all == 0


def test_lost_and_altered_notes_of_a_step_are_found_without_reading_all(searched):
    relay, direct = searched.step(1)
    del searched.documents.by_id[relay[0]]
    searched.documents.change(direct[0], curso="CHESS")
    searched.documents.change(direct[1], route="relay")
    found = searched.reconcile(relay, direct)
    assert verdict(found.mongodb) == (60, 59, 1, 0)
    assert beside(found.mongodb) == (1, 1, 0, 0)
    assert [row[:2] for row in searched.differences()] == sorted(
        [("altered", direct[0].hex()), ("misrouted", direct[1].hex())], key=lambda row: row[1]
    )
    assert relay[0].hex() in searched.directory.missing.read_text()
    assert searched.documents.reads_of_all == 0


def test_a_batch_of_a_step_that_redis_did_not_count_is_found_by_its_token(searched):
    searched.begin(1)
    direct = searched.ids("0-2", 0, 20)
    searched.store(direct, counted=True, batch=b"first")
    for note_id in direct[10:]:
        searched.documents.change(note_id, batch=b"second")
    assert verdict(searched.reconcile(direct=direct).redis) == (20, 10, 10, 10)
    assert searched.documents.reads_of_all == 0


@pytest.fixture
def second(searched):
    """The notes of a search's second step; those of its first one were all found."""
    searched.reconcile(*searched.step(1))
    return searched.step(2)


def test_a_duplicate_in_a_later_step_is_named(searched, second):
    doubled(searched, second[0][0])
    found = searched.reconcile(*second)
    assert verdict(found.mongodb) == (60, 60, 0, 1)
    assert beside(found.mongodb) == (0, 0, 0, 0)
    assert [row[0] for row in searched.differences()] == ["duplicated"]


@pytest.mark.parametrize("fields", [{"curso": "CHESS"}, {"_id": "a text"}], ids=["a note", "a text as id"])
def test_a_stranger_in_a_later_step_is_named(searched, second, fields):
    foreign(searched, **fields)
    found = searched.reconcile(*second)
    assert verdict(found.mongodb) == (60, 60, 0, 0)
    assert beside(found.mongodb) == (0, 0, 1, 0)
    assert [row[0] for row in searched.differences()] == ["appeared"]


def test_a_note_counted_twice_in_a_later_step_is_named_where_all_is_read_as_well(searched, second):
    searched.counters.apply(second[1][0])
    foreign(searched)
    assert verdict(searched.reconcile(*second).redis) == (30, 30, 0, 1)


@pytest.mark.parametrize("of_step_1", [False, True], ids=["of before the search", "of step 1"])
def test_a_document_that_vanished_in_a_later_step_is_named(searched, second, of_step_1):
    gone = id_of(key_of(f"{searched.of_search.run}-1", "0-1", 0)) if of_step_1 else searched.earlier[5]
    del searched.documents.by_id[gone]
    found = searched.reconcile(*second)
    assert verdict(found.mongodb) == (60, 60, 0, 0)
    assert beside(found.mongodb) == (0, 0, 0, 1)
    assert searched.differences() == [("vanished", gone.hex(), "", "", "")]


def test_one_that_was_lost_and_one_that_was_doubled_in_a_step_do_not_hide_each_other(searched, second):
    del searched.documents.by_id[second[0][0]]
    doubled(searched, second[0][1])
    assert verdict(searched.reconcile(*second).mongodb) == (60, 59, 1, 1)


def test_what_one_step_named_is_not_named_by_the_next_that_reads_all(searched, second):
    del searched.documents.by_id[searched.earlier[5]]
    foreign(searched)
    foreign(searched)
    foreign(searched, _id="a text")
    assert beside(searched.reconcile(*second).mongodb) == (0, 0, 3, 1)
    third = searched.step(3)
    doubled(searched, third[0][0])
    found = searched.reconcile(*third)
    assert (found.mongodb.duplicated, *beside(found.mongodb)) == (1, 0, 0, 0, 0)
    assert len(searched.reasons(found)) == 1


@pytest.mark.parametrize("counted", [False, True], ids=["relay", "direct"])
def test_a_failed_note_of_one_step_that_arrives_in_the_next_raises_no_alarm(searched, counted):
    posted = searched.step(1)
    late = searched.ids("0-3", 0, 4)
    searched.reconcile(*posted, unknown=late)
    posted = searched.step(2)
    searched.store(late[:3], counted=counted)
    found = searched.reconcile(*posted)
    assert (verdict(found.mongodb), verdict(found.redis)) == ((60, 60, 0, 0), (30, 30, 0, 0))
    assert searched.reasons(found) == []
    assert searched.differences() == []
    assert searched.documents.reads_of_all > 0


def test_a_failed_note_that_arrives_between_two_steps_raises_no_alarm_when_all_is_read(searched):
    posted = searched.step(1)
    late = searched.ids("0-3", 0, 1)
    searched.reconcile(*posted, unknown=late)
    searched.store(late)
    posted = searched.step(2)
    foreign(searched)
    found = searched.reconcile(*posted)
    assert beside(found.mongodb) == (0, 0, 1, 0)
    assert verdict(found.mongodb) == (60, 60, 0, 0)


def test_a_failed_note_that_was_stored_in_its_step_has_vanished_if_it_is_gone_in_the_next(searched):
    posted = searched.step(1)
    failed = searched.ids("0-3", 0, 2)
    searched.store(failed)
    assert searched.reconcile(*posted, unknown=failed).mongodb.unknown == 2
    posted = searched.step(2)
    del searched.documents.by_id[failed[0]]
    searched.reconcile(*posted)
    assert searched.differences() == [("vanished", failed[0].hex(), "", "", "")]


def test_after_a_step_that_could_not_be_reconciled_the_next_reads_all_ids_anew(searched, second):
    leave_unreconciled(searched.directory, "MongoDB did not answer", searched.search)
    del searched.documents.by_id[searched.earlier[5]]
    del searched.documents.by_id[id_of(key_of(f"{searched.of_search.run}-1", "0-1", 0))]
    third = searched.step(3)
    assert searched.documents.reads_of_all > 0
    doubled(searched, third[0][0])
    found = searched.reconcile(*third)
    assert (found.mongodb.duplicated, *beside(found.mongodb)) == (1, 0, 0, 0, 0)


def test_a_look_at_all_ids_that_breaks_off_is_not_taken_for_a_whole_one(searched, second, monkeypatch):
    leave_unreconciled(searched.directory, "MongoDB did not answer", searched.search)

    def breaks_off():
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(searched.documents, "ids", breaks_off)
        with pytest.raises(ConnectionError):
            searched.begin(3)
    searched.take_baseline()
    third = searched.ids("0-1", 0, 3)
    searched.store(third)
    doubled(searched, third[0])
    found = searched.reconcile(third)
    assert (found.mongodb.duplicated, *beside(found.mongodb)) == (1, 0, 0, 0, 0)
