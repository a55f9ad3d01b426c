"""Document ids: the same Idempotency-Key gives the same id everywhere, so a note can be sent again safely."""

import hashlib
import itertools
import os
import re
import time

_KEY = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_PROCESS = os.urandom(5)
_counter = itertools.count(int.from_bytes(os.urandom(3), "big"))


def id_of(key: str) -> bytes:
    """The 12-byte `_id` that an Idempotency-Key fixes: the first bytes of its SHA-256.

    Raises ValueError for a key that is not 1 to 128 visible ASCII characters.
    """
    if not _KEY.fullmatch(key):
        raise ValueError("Idempotency-Key must be 1 to 128 visible ASCII characters")
    return hashlib.sha256(key.encode("ascii")).digest()[:12]


def new_id() -> bytes:
    """A fresh 12-byte `_id`, laid out as MongoDB's ObjectId is: seconds, five random bytes a process, a counter.

    The driver's own ObjectId() asks for the process id at each call, to survive a fork; a system call for each note
    is an eighth of what a note costs, and the services never fork.
    """
    return int(time.time()).to_bytes(4, "big") + _PROCESS + (next(_counter) & 0xFFFFFF).to_bytes(3, "big")
