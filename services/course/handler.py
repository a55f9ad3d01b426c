"""What a `POST /course` means: its checks in order, and its answer; the same for both ways a request can be read."""

import msgspec

from course.group_commit import GroupCommit
from course.ids import id_of, new_id
from course.metrics import RequestMetrics
from course.note import BadCourse, Note, parse
from course.outcome import Failure

PATH = "/course"
MAX_BODY = 16 * 1024
JSON = "application/json"

TOO_LARGE = Failure(413, f"the body must have at most {MAX_BODY} bytes")
TOO_SLOW = Failure(408, "the body did not arrive in time")
WRONG_TYPE = Failure(415, f"the Content-Type must be {JSON}, in UTF-8")


class Handler:
    """The handler of one route: turns requests into notes for its group commit."""

    def __init__(self, route: str, metrics: RequestMetrics, *, name_every_note: bool = False) -> None:
        self.route = route
        self.route_header = route.encode()
        self.metrics = metrics
        self.commit: GroupCommit[Note]  # set when the event loop runs, before the first request
        self._name_every_note = name_every_note

    def note(self, key: str | None, body: bytes) -> Note | Failure:
        """The note in a body, or what is wrong with the body or the Idempotency-Key."""
        try:
            if key is None and self._name_every_note:
                key = new_id().hex()
            note_id = new_id() if key is None else id_of(key)
        except ValueError as problem:
            return Failure(400, str(problem), {"Idempotency-Key": "is not valid"})
        try:
            return Note(note_id, parse(body), key)
        except BadCourse as problem:
            return Failure(400, problem.error, problem.fields)

    def stored_body(self, note_id: bytes) -> bytes:
        """The JSON answer for a stored note."""
        return b'{"id":"%b","route":"%b"}' % (note_id.hex().encode(), self.route_header)


def is_json(content_type: str) -> bool:
    """Whether a Content-Type header means JSON in UTF-8; parameters other than charset do not matter."""
    media_type, *parameters = content_type.split(";")
    if media_type.strip().lower() != JSON:
        return False
    pairs = (parameter.partition("=") for parameter in parameters)
    return all(
        value.strip().strip('"').lower() in ("utf-8", "utf8")
        for name, _, value in pairs
        if name.strip().lower() == "charset"
    )


def failure_body(failure: Failure) -> bytes:
    """The JSON answer for a note that was not stored."""
    return msgspec.json.encode({"error": failure.error, "fields": failure.fields})
