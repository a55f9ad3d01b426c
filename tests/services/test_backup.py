"""A backup taken under load, and its restore: on the real databases, by the program that the pod runs."""

import asyncio
import gzip
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import ObjectId

from direct.counters import KEEP, TEXTS
from services.parts import ROOT, Databases, Load, System, mongodb_uri, redis_url
from unit.services.helpers import BODY

MANY = 23_000  # more than two pages of those that a backup reads


def note(number: int, **fields: Any) -> dict[str, Any]:
    texts = {"curso": f"SO{number % 7}", "facultad": "ingenieria", "carrera": "sistemas", "region": "NORTE"}
    at = datetime.fromtimestamp(1_700_000_000 + number, UTC)
    return {"_id": ObjectId(), **texts, "route": "relay", "at": at, **fields}


def key(name: str) -> str:
    return f"Idempotency-Key: {name}"


async def backup(*arguments: str | Path) -> tuple[int, str]:
    """Runs it; returns its exit code and its last words."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "services"),
        "MONGODB_URI": mongodb_uri(),
        "REDIS_URL": redis_url(),
    }
    command = [sys.executable, "-m", "backup", *map(str, arguments)]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, (done.stdout + done.stderr).strip().rpartition("\n")[2]


def saved(directory: Path) -> list[dict[str, Any]]:
    return bson.decode_all(gzip.decompress((directory / "notes.bson.gz").read_bytes()))


async def test_what_was_acknowledged_before_a_backup_is_there_after_its_restore_and_counted_once(
    system: System, databases: Databases, tmp_path: Path
) -> None:
    load = Load(system.relay, system.direct)
    await asyncio.sleep(1)
    before = list(load.acknowledged)
    code, said = await backup("save", tmp_path)
    assert code == 0, said
    await asyncio.sleep(0.3)
    await load.stop()
    assert set(load.statuses) == {201}
    assert len(load.acknowledged) > len(before) > 100

    await databases.clear()
    code, said = await backup("load", tmp_path)
    assert code == 0, said
    stored = await databases.stored(before)
    assert len(stored) == len(before)
    counted = [document async for document in databases.notes.find({"route": "direct"})]
    assert await databases.redis.get("notes:count") == str(len(counted)) != "0"
    assert await databases.counted("curso", counted[0]["curso"]) == len(counted)
    latest = [json.loads(line)["id"] for line in await databases.redis.lrange("notes:latest", 0, -1)]
    at = {str(document["_id"]): document["at"] for document in counted}
    assert [at[note_id] for note_id in latest] == sorted(at.values(), reverse=True)[:KEEP]


async def test_a_note_of_the_backup_that_is_sent_again_is_not_counted_again(
    system: System, databases: Databases, tmp_path: Path
) -> None:
    sent = [key("mine"), key("yours")]
    answers = [await system.direct.post(BODY, header) for header in sent]
    relayed = await system.relay.post(BODY, key("relayed"))
    assert (await backup("save", tmp_path))[0] == 0
    late = await system.direct.post(BODY, key("late"))
    assert (await backup("load", tmp_path, "--overwrite"))[0] == 0
    assert late.json["id"] not in await databases.stored([late.json["id"]])

    again = [await system.direct.post(BODY, header) for header in sent]
    assert [answer.json["id"] for answer in again] == [answer.json["id"] for answer in answers]
    assert await databases.redis.get("notes:count") == "2"
    # What the backup does not have, and what only relay had stored, is counted when it comes.
    assert (await system.direct.post(BODY, key("late"))).json["id"] == late.json["id"]
    assert (await system.direct.post(BODY, key("relayed"))).json["id"] == relayed.json["id"]
    assert await databases.redis.get("notes:count") == "4"


async def test_a_note_that_is_stored_and_not_yet_counted_is_counted_by_the_restore(
    system: System, databases: Databases, tmp_path: Path
) -> None:
    answer = await system.direct.post(BODY, key("mine"))
    await databases.redis.flushdb()  # as if Redis had not heard of it
    assert (await backup("save", tmp_path))[0] == 0
    assert (await backup("load", tmp_path, "--overwrite"))[0] == 0
    assert await databases.redis.get("notes:count") == "1"
    assert (await system.direct.post(BODY, key("mine"))).json["id"] == answer.json["id"]
    assert await databases.redis.get("notes:count") == "1"


async def test_notes_that_change_while_they_are_read_are_saved_once(databases: Databases, tmp_path: Path) -> None:
    chance = random.Random(1)  # noqa: S311  (which notes, and no secret)
    ids = [ObjectId(chance.randbytes(12)) for _ in range(MANY)]
    await databases.notes.insert_many(note(number, _id=note_id) for number, note_id in enumerate(ids))
    saving = asyncio.create_task(backup("save", tmp_path))
    # Direct takes over what relay has stored: each update moves a document on the disk.
    for number in range(100_000):
        if saving.done():
            break
        some = chance.sample(ids, 300)
        await databases.notes.update_many({"_id": {"$in": some}}, {"$set": {"batch": f"{1:016x}{number:010x}"}})
    code, said = await saving
    assert code == 0, said
    assert Counter(document["_id"] for document in saved(tmp_path)) == dict.fromkeys(ids, 1)


async def test_what_somebody_else_has_stored_comes_back_as_it_was(databases: Databases, tmp_path: Path) -> None:
    theirs: Sequence[dict[str, Any]] = [
        {"_id": "a text", "curso": 1},
        {"_id": 7},
        note(1, batch="no batch"),
        note(2, batch=f"{1:026x}", _id="a text with a batch"),
        note(3, region="\U0001f30d" * 400),
    ]
    await databases.notes.insert_many([*theirs, note(4, batch=f"{1:026x}", route="direct")])
    assert (await backup("save", tmp_path))[0] == 0
    await databases.clear()
    code, said = await backup("load", tmp_path)
    assert code == 0, said
    found = {document["_id"]: document async for document in databases.notes.find()}
    assert len(found) == len(theirs) + 1
    assert all(found[document["_id"]] == document for document in theirs)
    assert await databases.redis.get("notes:count") == "1"


async def test_texts_have_the_counters_that_they_had(databases: Databases, tmp_path: Path) -> None:
    batch = f"{1:026x}"
    # Those that came last have a counter of their own, and as many before them have not.
    named = [f"SO{number}" for number in range(TEXTS, 2 * TEXTS)]
    await databases.notes.insert_many(
        note(number, curso=f"SO{number}", batch=batch, route="direct") for number in range(2 * TEXTS)
    )
    await databases.redis.hset("notes:count:curso", "other", str(TEXTS), dict.fromkeys(named, "1"))
    before = await databases.redis.hgetall("notes:count:curso")
    assert (await backup("save", tmp_path))[0] == 0
    assert (await backup("load", tmp_path, "--overwrite"))[0] == 0
    assert await databases.redis.hgetall("notes:count:curso") == before
    assert await databases.redis.get("notes:count") == str(2 * TEXTS)


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
async def test_a_damaged_backup_is_refused(databases: Databases, tmp_path: Path, damage: str) -> None:
    await databases.notes.insert_many(note(number) for number in range(200))
    assert (await backup("save", tmp_path))[0] == 0
    file = tmp_path / "notes.bson.gz"
    whole = file.read_bytes()
    changed = bytes([*whole[:-5], whole[-5] ^ 1, *whole[-4:]])
    file.write_bytes({"cut": whole[:-20], "changed": changed, "gone": b""}[damage])
    code, said = await backup("load", tmp_path, "--overwrite")
    assert code == 1
    assert "not as it was saved" in said or "were saved" in said


async def test_notes_are_removed_only_on_request(databases: Databases, tmp_path: Path) -> None:
    await databases.notes.insert_one(note(1))
    assert (await backup("save", tmp_path))[0] == 0
    await databases.notes.insert_one(note(2))
    for asked in ("check", "load"):
        code, said = await backup(asked, tmp_path)
        assert code == 1
        assert said.startswith("There are 2 notes")
    assert await databases.notes.count_documents({}) == 2
    assert (await backup("load", tmp_path, "--overwrite"))[0] == 0
    assert await databases.notes.count_documents({}) == 1
