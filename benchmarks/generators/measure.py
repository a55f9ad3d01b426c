"""One measurement: what a generator's processes use of the CPU while the target counts what it answers."""

import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from bench import usage

from .contestants import Start, Task, running, target

START_S = 60
END_S = 15  # a generator is measured before it begins to end


class NoLoad(RuntimeError):
    """A generator did not post; the message has what it said."""


@dataclass(frozen=True)
class Measurement:
    """Requests that the target answered in some seconds, and the CPU seconds of the generator's processes."""

    requests: int
    seconds: float
    cpu_s: float

    @property
    def per_core(self) -> float:
        """Requests a second that a core makes which does nothing else."""
        return self.requests / self.cpu_s

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def measure(start: Start, programs: Path, connections: int, seconds: int, warm_up: int) -> Measurement:
    """Measures a generator once, from a fresh start; raises NoLoad when it does not post."""
    with target(programs) as url, tempfile.TemporaryDirectory() as directory:
        task = Task(url, connections, seconds + warm_up + END_S, Path(directory))
        log = Path(directory) / "log"
        with running(start(task), log) as processes:
            deadline = time.monotonic() + START_S
            while not answered(url):
                if time.monotonic() > deadline:
                    raise NoLoad(f"no request within {START_S} s:\n{log.read_text()}")
                time.sleep(0.1)
            time.sleep(warm_up)
            before = (answered(url), time.monotonic(), cpu_seconds(processes))
            time.sleep(seconds)
            after = (answered(url), time.monotonic(), cpu_seconds(processes))
    return Measurement(after[0] - before[0], after[1] - before[1], after[2] - before[2])


def answered(url: str) -> int:
    """How many notes the target has answered."""
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - it is ours
        return int(answer.read())


def cpu_seconds(processes: list[int]) -> float:
    """What processes have used so far."""
    return sum(usage.cpu_seconds(process)[1] for process in processes)
