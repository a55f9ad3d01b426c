"""Idempotency keys: a user's notes are numbered, so which keys a run has used follows from how far each user came."""


def user_name(worker: int, number: int) -> str:
    """A user's name within its run: the worker's index and the user's number on it."""
    return f"{worker}-{number}"


def poster_name(user: str, number: int) -> str:
    """The name of one who posts for a user whose notes come whether or not others were answered."""
    return f"{user}-{number}"


def user_and_number(poster: str) -> tuple[str, int]:
    """For whom one posts, and its number."""
    user, _, number = poster.rpartition("-")
    return user, int(number)


def key_of(run: str, user: str, sequence: int) -> str:
    """The Idempotency-Key of a user's note; no two notes of any runs share one."""
    return f"{run}-{user}-{sequence}"
