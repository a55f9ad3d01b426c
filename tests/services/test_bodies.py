"""Ten thousand bodies nobody thought of: only 201, 400, 413 and 415 come back, and exactly the 201s are stored."""

import asyncio
import itertools
import json
import uuid
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from course.ids import id_of
from services.parts import Databases, System, running
from unit.services.helpers import GOOD, Answer, Client, post

AT_ONCE = 50  # bodies an example
EXAMPLES = 210
FIELDS = list(GOOD)
TYPES = ["application/json"] * 12 + [
    "application/json; charset=utf-8",
    "text/plain",
    "application/json; charset=latin1",
]

texts = st.one_of(st.text(min_size=1, max_size=12), st.text(max_size=140), st.text(st.characters(), max_size=4))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
good = st.fixed_dictionaries(dict.fromkeys(FIELDS, st.text(min_size=1, max_size=16)))
nearly_good = st.builds(
    lambda note, name, value: note | {name: value}, good, st.one_of(st.sampled_from(FIELDS), texts), values
)
missing = st.builds(lambda note, name: {k: v for k, v in note.items() if k != name}, good, st.sampled_from(FIELDS))
documents = st.one_of(good, good, good, nearly_good, missing, values)
encoded = st.builds(
    lambda value, ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode(
        "utf-8", "surrogatepass"
    ),
    documents,
    st.booleans(),
    st.sampled_from([None, None, 1]),
)
twice = st.builds(
    lambda note, name: (json.dumps(note)[:-1] + f', "{name}": "again"}}').encode(), good, st.sampled_from(FIELDS)
)
cut = st.builds(lambda body, at: body[: at % (len(body) + 1)], encoded, st.integers(0, 200))
padded = st.builds(lambda body, size: body + b" " * size, encoded, st.sampled_from([5_000, 9_000, 16_384, 40_000]))
spoilt = st.builds(lambda body, at, byte: body[:at] + bytes([byte]) + body[at:], encoded, *[st.integers(0, 255)] * 2)
bodies = st.one_of(encoded, encoded, encoded, encoded, twice, cut, padded, spoilt, st.binary(max_size=60))
requests = st.tuples(bodies, st.sampled_from(TYPES))


def expected(body: bytes, content_type: str) -> set[int]:
    """The statuses that are right for a body, judged without any of the services' own code."""
    if content_type not in ("application/json", "application/json; charset=utf-8"):
        return {415}
    if len(body) > 16 * 1024:
        return {413}
    return {201} if is_note(body) else {400}


def is_note(body: bytes) -> bool:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name twice")
        return dict(pairs)

    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=once)
        return (
            isinstance(value, dict)
            and set(value) == set(FIELDS)
            and all(
                isinstance(text, str) and text.strip() and len(text) <= 128 and text.encode() for text in value.values()
            )
        )
    except (ValueError, RecursionError):
        return False


async def post_all(system: System, batch: list[tuple[bytes, str]], keys: list[str]) -> list[Answer]:
    """Posts a batch on both routes in turn, a few connections at once."""
    routes = itertools.cycle(system.routes.values())
    clients = [await Client.connect(next(routes).port) for _ in range(8)]

    async def share(number: int) -> list[Answer]:
        own = list(zip(batch, keys, strict=True))[number::8]
        return [
            await clients[number].ask(post(body, f"Idempotency-Key: {key}", content_type=kind))
            for (body, kind), key in own
        ]

    shares = await asyncio.gather(*map(share, range(8)))
    for client in clients:
        client.writer.close()
    return [shares[at % 8][at // 8] for at in range(len(batch))]


async def check(system: System, databases: Databases, batch: list[tuple[bytes, str]]) -> list[Answer]:
    keys = [uuid.uuid4().hex for _ in batch]
    answers = await post_all(system, batch, keys)
    stored = await databases.stored([id_of(key).hex() for key in keys])
    for (body, kind), key, answer in zip(batch, keys, answers, strict=True):
        note_id = id_of(key).hex()
        assert answer.status in expected(body, kind), (body, kind, answer.body)
        assert (answer.status == 201) == (note_id in stored), body
        if answer.status == 201:
            document = stored[note_id]
            assert {name: document[name] for name in FIELDS} == json.loads(body)
        else:
            assert set(answer.json) == {"error", "fields"}
    return answers


def test_any_body_at_all_gets_a_proper_answer_and_only_notes_are_stored() -> None:
    seen: Counter[int] = Counter()

    async def run() -> None:
        databases = Databases()
        await databases.clear()
        loop = asyncio.get_running_loop()
        async with running() as system:

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                suppress_health_check=[
                    HealthCheck.too_slow,
                    HealthCheck.data_too_large,
                    HealthCheck.large_base_example,
                ],
            )
            @given(st.lists(requests, min_size=AT_ONCE, max_size=AT_ONCE))
            def examples(batch: list[tuple[bytes, str]]) -> None:
                answers = asyncio.run_coroutine_threadsafe(check(system, databases, batch), loop).result(60)
                seen.update(answer.status for answer in answers)

            await asyncio.to_thread(examples)
        await databases.close()

    asyncio.run(run())
    assert seen.total() >= 10_000
    assert set(seen) == {201, 400, 413, 415}
