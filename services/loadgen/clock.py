"""The clock of a load test: seconds since the epoch that go on evenly, whatever becomes of the host's own clock."""

from time import monotonic
from time import time as host_time

_BEFORE_MONOTONIC = host_time() - monotonic()


def time() -> float:
    """Seconds since the epoch, by the host's clock when this process began and by what has passed since."""
    return _BEFORE_MONOTONIC + monotonic()
