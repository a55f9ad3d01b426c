"""What may become of a note other than being stored, and how that is told over HTTP."""

from collections.abc import Mapping

import msgspec

RETRY_AFTER_S = 1


class Failure(msgspec.Struct, frozen=True):
    """Why a note was not stored: an HTTP status, a sentence, and for bad input what is wrong with each field."""

    status: int
    error: str
    fields: Mapping[str, str] = {}

    def headers(self) -> dict[str, str]:
        """The HTTP headers that go with the status."""
        return {"Retry-After": str(RETRY_AFTER_S)} if self.status == 503 else {}


class Unavailable(Exception):
    """A write whose outcome is unknown, or that found no database: it may be tried again with the same ids."""


OVERLOADED = Failure(503, "too many notes are waiting for the database")
DATABASE_DOWN = Failure(503, "the database does not answer")
STOPPING = Failure(503, "the service is stopping")
