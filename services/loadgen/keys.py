"""Idempotency keys: a user's notes are numbered, so which keys a run has used follows from how far each user came."""


def user_name(worker: int, number: int) -> str:
    """A user's name within its run: the worker's index and the user's number on it."""
    return f"{worker}-{number}"


def key_of(run: str, user: str, sequence: int) -> str:
    """The Idempotency-Key of a user's note; no two notes of any runs share one."""
    return f"{run}-{user}-{sequence}"
