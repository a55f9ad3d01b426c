"""RELAY_FORWARD_URL: each stored note goes to direct as well, and a failing direct disturbs nobody."""

import asyncio
from collections.abc import Mapping, Sequence

from course.group_commit import Limits
from course.handler import Handler
from course.ids import id_of, new_id
from course.metrics import RequestMetrics
from course.note import Course, Note
from course.outcome import Failure
from relay.forward import Forward
from unit.services.helpers import BODY, serving

COURSE = Course("SO1", "ingenieria", "sistemas", "NORTE")


async def stored(notes: Sequence[Note]) -> Mapping[int, Failure]:
    return {1: Failure(503, "refused")} if len(notes) > 1 else {}


async def test_stored_notes_arrive_with_the_same_id_and_failed_ones_do_not() -> None:
    async with serving(Limits()) as direct:
        forward = Forward(f"http://127.0.0.1:{direct.port}/course")
        await forward.start()
        notes = [Note(id_of(key), COURSE, key) for key in ("a", "b", "c")]
        assert set(await forward.after(stored)(notes)) == {1}
        await forward.close()
        assert set(direct.store.notes) == {id_of("a"), id_of("c")}


async def test_with_forwarding_every_note_has_a_key_that_gives_its_id() -> None:
    note = Handler("relay", RequestMetrics(), name_every_note=True).note(None, BODY)
    assert isinstance(note, Note)
    assert note.key is not None
    assert note.id == id_of(note.key)


async def test_a_direct_that_is_gone_neither_delays_nor_fails_the_relay() -> None:
    forward = Forward("http://127.0.0.1:1/course")
    await forward.start()
    async with asyncio.timeout(1):
        assert not await forward.after(stored)([Note(new_id(), COURSE, "k")])
    async with asyncio.timeout(8):
        await forward.close()
    assert {family.name: family.samples[0].value for family in forward.families()}["courseload_forward_errors"] == 1
