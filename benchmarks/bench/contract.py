"""The contract that each contestant has to keep before it is measured, so that nobody is who does less."""

import http.client
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

NOTE = {"curso": "SO1", "facultad": "ingenieria", "carrera": "sistemas", "region": "NORTE"}
OTHER = NOTE | {"region": "SUR"}
LONGEST = NOTE | {"carrera": "ñ" * 128}
BAD = {
    "a field is missing": {name: text for name, text in NOTE.items() if name != "region"},
    "a text is empty": NOTE | {"curso": ""},
    "a text is only white space": NOTE | {"curso": "  "},
    "a text has 129 characters": NOTE | {"carrera": "ñ" * 129},
    "a text is a number": NOTE | {"curso": 1},
    "a field is none of a note's": NOTE | {"semestre": "2"},
    "the body is a list": [NOTE],
    "the body is no JSON": b'{"curso": "SO1"',
}
KEY = "contract-1"
BAD_KEY = "ñ"
ID = re.compile("[0-9a-f]{24}")


@dataclass(frozen=True)
class Answer:
    """An answer: its status, its headers by their names in lower case, and the JSON in it, None if there is none."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def id(self) -> str | None:
        """The id of the note, if the answer says that it was stored."""
        found = self.body.get("id") if self.status == HTTPStatus.CREATED and isinstance(self.body, dict) else None
        return found if isinstance(found, str) and ID.fullmatch(found) else None

    def refuses(self, status: int) -> bool:
        """Whether it refuses the note with this status, and says why."""
        return self.status == status and isinstance(self.body, dict) and bool(self.body.get("error"))


# Posts a body, with an Idempotency-Key if there is one.
Post = Callable[[object, str | None], Answer]


def post(address: str, port: int, note: object, key: str | None = None) -> Answer:
    """Post one note to a contestant; raises OSError or HTTPException while it is not there."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
    try:
        body = note if isinstance(note, bytes) else json.dumps(note, ensure_ascii=False).encode()
        connection.request("POST", "/course", body, headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, _json(response.read()))
    finally:
        connection.close()


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def problems(post: Post, show: Callable[[], Mapping[str, Any]], keeps: Collection[str]) -> list[str]:
    """What a contestant does otherwise than the contract asks, as sentences. Its databases are empty before.

    `show` tells what is kept; `keeps` says of what: see Door.
    """
    return list(_problems(post, show, keeps))


def _problems(post: Post, show: Callable[[], Mapping[str, Any]], keeps: Collection[str]) -> Iterator[str]:
    stored: dict[str, dict[str, str]] = {}
    for note in (NOTE, LONGEST):
        answer = post(note, None)
        if answer.id is None or not answer.headers.get("x-route"):
            yield f"a valid note is answered {_told(answer)}, not 201 with its id and X-Route"
        stored[answer.id or ""] = note
    for what, body in BAD.items():
        if not (answer := post(body, None)).refuses(HTTPStatus.BAD_REQUEST):
            yield f"where {what}, the answer is {_told(answer)}, not 400 with an error"
    if not keeps:
        return
    if not (answer := post(NOTE, BAD_KEY)).refuses(HTTPStatus.BAD_REQUEST):
        yield f"a key that is not ASCII is answered {_told(answer)}, not 400 with an error"
    first, second = post(NOTE, KEY), post(NOTE, KEY)
    if first.id is None or first.id != second.id:
        yield f"the same note twice under one key is answered {_told(first)}, then {_told(second)}"
    stored[first.id or ""] = NOTE
    if not (answer := post(OTHER, KEY)).refuses(HTTPStatus.UNPROCESSABLE_ENTITY):
        yield f"another note under the same key is answered {_told(answer)}, not 422 with an error"
    yield from _misses(show(), stored, keeps)


def _misses(kept: Mapping[str, Any], stored: Mapping[str, Mapping[str, str]], keeps: Collection[str]) -> Iterator[str]:
    if kept["notes"] != stored or kept["dated"] != len(stored):
        yield f"MongoDB has {kept['notes']}, {kept['dated']} of them with a date, in place of {dict(stored)}"
    if "counted" not in keeps:
        return
    counters = {field: dict(Counter(note[field] for note in stored.values())) for field in NOTE}
    if (kept["counted"], kept["counters"]) != (len(stored), counters):
        yield f"Redis has counted {kept['counted']} notes, {kept['counters']}, in place of {len(stored)}, {counters}"
    if kept["latest"] != sorted(stored):
        yield f"the latest notes in Redis are {kept['latest']}, in place of {sorted(stored)}"


def without_database(answer: Answer, database: str) -> list[str]:
    """What is wrong with the answer to a valid note while a database is away, as sentences."""
    if answer.refuses(HTTPStatus.SERVICE_UNAVAILABLE) and answer.headers.get("retry-after"):
        return []
    return [f"without {database}, a note is answered {_told(answer)}, not 503 with an error and Retry-After"]


def _told(answer: Answer) -> str:
    return f"{answer.status} {answer.body}"
