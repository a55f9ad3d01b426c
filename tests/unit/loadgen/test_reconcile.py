"""Reconciliation: what counts as missing, as duplicated, and as neither."""

from argparse import Namespace
from collections import Counter

import msgspec
import pytest

from course.ids import id_of
from course.note import FIELDS
from loadgen import __main__, stores
from loadgen.collector import Collector
from loadgen.keys import key_of
from loadgen.pool import make_pool, place_in_pool
from loadgen.reconcile import reconcile, take_baseline
from loadgen.settings import write_json
from loadgen.stores import Counters


class MemoryDocuments:
    """Stands in for MongoDB: a set of ids, and documents that have ids of their own."""

    def __init__(self):
        self.ids = set()
        self.strangers = 3

    def count(self):
        return len(self.ids) + self.strangers

    def present(self, ids):
        return self.ids & set(ids)


class MemoryCounters:
    """Stands in for Redis: applied ids, and the counters as direct keeps them."""

    def __init__(self, settings):
        self.pool = make_pool(settings.pool, settings.seed)
        self.applied = set()
        self.total = 40
        self.by_field: dict[str, Counter[str]] = {field: Counter() for field in FIELDS}

    def apply(self, note_id):
        self.applied.add(note_id)
        self.total += 1
        note = self.pool[place_in_pool(note_id, len(self.pool))]
        for field in FIELDS:
            self.by_field[field][getattr(note, field)] += 1

    def counters(self):
        return Counters(self.total, {field: dict(counts) for field, counts in self.by_field.items()})

    def present(self, ids):
        return self.applied & set(ids)


class World:
    """Databases and a run whose users have posted to them."""

    def __init__(self, settings, directory, make_report, make_second):
        self.settings = settings
        self.directory = directory
        self.documents = MemoryDocuments()
        self.counters = MemoryCounters(settings)
        self.make_report = make_report
        self.make_second = make_second
        write_json(directory.baseline, take_baseline(self.documents, self.counters))

    def ids(self, user, start, stop):
        return [id_of(key_of(self.settings.run, user, number)) for number in range(start, stop)]

    def store(self, ids, counted=False):
        self.documents.ids.update(ids)
        if counted:
            for note_id in ids:
                self.counters.apply(note_id)

    def reconcile(self, relay=(), direct=(), unknown=(), attempts=None):
        """What comes out when workers reported these ids; with `attempts`, the worker is lost after that."""
        collector = Collector(self.settings, self.directory, 1000.0)
        report = self.make_report(
            final=attempts is None,
            acknowledged={"relay": b"".join(relay), "direct": b"".join(direct)},
            unknown=b"".join(unknown),
            attempts=attempts or {},
        )
        collector.take(report, now=1001.0)
        load = collector.finish(ended_at=1010.0, now=1010.0)
        write_json(self.directory.load, load)
        return reconcile(self.directory, self.documents, self.counters, progress=lambda _: None)


@pytest.fixture
def world(settings, directory, make_report, make_second, monkeypatch):
    monkeypatch.setattr("loadgen.reconcile.SETTLE_S", 0)
    return World(settings, directory, make_report, make_second)


def verdict(found):
    return (found.acknowledged, found.stored, found.missing, found.duplicated)


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
    world.store(direct[:1])
    world.store(direct[1:], counted=True)
    found = world.reconcile(direct=direct)
    assert verdict(found.mongodb) == (10, 10, 0, 0)
    assert verdict(found.redis) == (10, 9, 1, 0)


def test_a_document_with_an_id_of_its_own_is_a_duplicate(world):
    relay = world.ids("0-1", 0, 10)
    world.store(relay)
    world.documents.strangers += 2
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


def test_the_note_under_way_at_a_lost_workers_last_report_is_looked_up_once(world):
    reported, under_way = world.ids("0-1", 0, 9), world.ids("0-1", 9, 10)
    world.store(reported + under_way)
    world.documents.strangers += 1
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
