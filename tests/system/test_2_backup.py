"""A backup while the system serves, the loss of both databases, and the restore: every acknowledged note is back."""

from __future__ import annotations

import json
import stat
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from helpers import courseload, machine
from helpers.courseload import may_reset
from helpers.playbook import Play, play, write_playbook

FIELDS = ("curso", "facultad", "carrera", "region")
POSTERS = 4
PAUSE_S = 0.05  # between the notes of each: the plays need the processors as well
DATABASES = """\
- ansible.builtin.include_role: {name: image, tasks_from: source}
- ansible.builtin.setup: {gather_subset: ["!all", "!min", service_mgr]}
- ansible.builtin.include_role: {name: workload}
  vars: {workload_names: [mongodb, redis]}
"""

pytestmark = [pytest.mark.timeout(900), may_reset]


@dataclass
class Posted:
    """What clients were answered who post notes, each with a key of its own."""

    acknowledged: dict[str, str] = field(default_factory=dict)  # ids by their keys
    refused: Counter[str] = field(default_factory=Counter)  # what else they were answered


@contextmanager
def clients() -> Iterator[Posted]:
    """Clients that post for as long as this lasts."""
    posted, going = Posted(), True

    def post(number: int) -> None:
        while going:
            key = courseload.fresh_key()
            try:
                answer = courseload.post({**courseload.NOTE, "curso": f"SO{number}"}, key=key, timeout=20)
            except OSError as error:
                posted.refused[type(error).__name__] += 1
                continue
            if answer.status == 201:
                posted.acknowledged[key] = answer.body["id"]
            else:
                posted.refused[f"{answer.status}{', Retry-After' if answer.retry_after else ''}"] += 1
            time.sleep(PAUSE_S)

    with ThreadPoolExecutor(POSTERS) as pool:
        for number in range(POSTERS):
            pool.submit(post, number)
        try:
            yield posted
        finally:
            going = False


@dataclass(frozen=True)
class Backup:
    """A backup, and what was known when it was made."""

    folder: Path
    before: dict[str, str]  # acknowledged before it began, by their keys
    meanwhile: Counter[str]  # what was answered but 201
    manifest: dict[str, Any]


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Backup:
    folder = tmp_path_factory.mktemp("backup") / "folder"
    with clients() as posted:
        time.sleep(5)
        before = dict(posted.acknowledged)
        done = play("playbooks/backup.yml", backup_dir=str(folder))
    assert done.ok, done.output[-6000:]
    assert len(posted.acknowledged) > len(before) > 100
    return Backup(folder, before, posted.refused, json.loads((folder / "manifest.json").read_text()))


@pytest.fixture(scope="module")
def refusals(backup: Backup, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Play]:
    """Restores that change nothing, both at once."""
    damaged = tmp_path_factory.mktemp("damaged")
    for file in backup.folder.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    notes = damaged / "notes.bson.gz"
    notes.write_bytes(notes.read_bytes()[:-1])
    with ThreadPoolExecutor() as pool:
        runs = {
            "unconfirmed": pool.submit(play, "playbooks/restore.yml", backup_dir=str(backup.folder)),
            "damaged": pool.submit(play, "playbooks/restore.yml", backup_dir=str(damaged), confirm="yes"),
        }
    return {name: run.result() for name, run in runs.items()}


@pytest.fixture(scope="module")
def restored(
    backup: Backup, refusals: dict[str, Play], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Play, Posted]:
    """Both databases are lost, with their volumes; new ones take their place, and then what they had."""
    lost = ("courseload-mongodb", "courseload-redis")
    volumes = [name for name in machine.podman_list("volume") if name.startswith(lost)]
    machine.podman("pod", "rm", "--force", "--time", "10", "mongodb", "redis")
    machine.podman("volume", "rm", *volumes)
    made = play(write_playbook(tmp_path_factory.mktemp("databases"), DATABASES))
    assert made.ok, made.output[-6000:]
    courseload.wait_until_it_serves(60)
    with courseload.notes() as notes:
        assert notes.count_documents({}) < len(backup.before)
    with clients() as posted:
        done = play("playbooks/restore.yml", backup_dir=str(backup.folder), confirm="yes")
    assert done.ok, done.output[-6000:]
    return done, posted


def test_nothing_fails_for_a_backup(backup: Backup) -> None:
    assert backup.meanwhile == {}


def test_only_its_owner_reads_a_backup(backup: Backup) -> None:
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (backup.folder, *backup.folder.iterdir())}
    names = ["SHA256SUMS", "counters.json", "manifest.json", "notes.bson.gz"]
    assert modes == {backup.folder.name: 0o700} | dict.fromkeys(names, 0o600)
    assert backup.manifest["notes"] >= len(backup.before)


def test_nothing_is_left_of_a_backup_on_the_host(backup: Backup) -> None:
    assert "backup" not in courseload.pods() + machine.podman_list("pod")
    assert "courseload-backup-files" not in machine.podman_list("volume")
    assert not Path("/var/lib/courseload/backup").exists()


def test_notes_are_not_overwritten_without_a_yes(refusals: dict[str, Play]) -> None:
    run = refusals["unconfirmed"]
    assert not run.ok
    assert "notes, which a restore removes" in " ".join(run.reasons)
    assert "-e confirm=yes" in " ".join(run.reasons)


def test_a_backup_that_has_changed_is_refused(refusals: dict[str, Play]) -> None:
    run = refusals["damaged"]
    assert not run.ok
    assert run.changes == []
    assert "changed: notes.bson.gz" in " ".join(run.reasons)


def test_every_acknowledged_note_is_there_again(backup: Backup, restored: tuple[Play, Posted]) -> None:
    ids = [ObjectId(note_id) for note_id in backup.before.values()]
    with courseload.notes() as notes:
        assert notes.count_documents({"_id": {"$in": ids}}) == len(ids)
        # What came after the restore is there as well.
        assert notes.count_documents({}) >= backup.manifest["notes"]


def test_redis_counts_what_is_there(backup: Backup, restored: tuple[Play, Posted]) -> None:
    with courseload.notes() as notes, courseload.counters() as redis:
        counted = list(notes.find({"batch": {"$exists": True}}, dict.fromkeys(FIELDS, 1)))
        assert int(redis.get("notes:count") or 0) == len(counted) >= backup.manifest["counted"] > 0
        for name in FIELDS:
            found = {text: int(number) for text, number in redis.hgetall(f"notes:count:{name}").items()}
            assert found == Counter(note[name] for note in counted), name


def test_a_note_of_before_that_is_sent_again_is_stored_and_counted_once(
    backup: Backup, restored: tuple[Play, Posted]
) -> None:
    with courseload.notes() as notes, courseload.counters() as redis:
        direct = notes.find_one({"_id": {"$in": [ObjectId(i) for i in backup.before.values()]}, "route": "direct"})
        assert direct
        key = next(key for key, note_id in backup.before.items() if note_id == str(direct["_id"]))
        before = notes.count_documents({}), redis.get("notes:count")
        again = courseload.post_on_both_routes(key=lambda: key, note={name: direct[name] for name in FIELDS})
        assert {answer.body["id"] for answer in again.values()} == {str(direct["_id"])}
        assert (notes.count_documents({}), redis.get("notes:count")) == before


def test_whoever_posts_during_a_restore_is_told_to_try_again(restored: tuple[Play, Posted]) -> None:
    assert restored[1].refused.keys() == {"503, Retry-After"}


def test_the_reader_sees_what_is_there(restored: tuple[Play, Posted]) -> None:
    assert courseload.read("/notes?limit=5")["notes"]
