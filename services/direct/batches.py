"""What a batch is called: every attempt to store one gets a name of its own, which its documents and Redis remember."""

import itertools
import os
import time

_PROCESS_DIGITS = 16


class Batches:
    """Names for the batches of this process: when it started and four random bytes, then a number from 1, as digits."""

    def __init__(self) -> None:
        # Beginning with the time, so that what sorts first is oldest, and is forgotten first.
        self._process = f"{int(time.time()):08x}{os.urandom(4).hex()}"
        self._numbers = itertools.count(1)

    def next(self) -> str:
        """A name that no other batch has."""
        return f"{self._process}{next(self._numbers):010x}"


def parts(batch: str) -> tuple[str, int]:
    """The process and the number in a batch's name."""
    return batch[:_PROCESS_DIGITS], int(batch[_PROCESS_DIGITS:], 16)
