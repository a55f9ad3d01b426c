"""Loads one or several addresses with wrk, which runs on the host."""

import json
import os
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).parent / "notes.lua"


@dataclass(frozen=True)
class Load:
    """How long wrk runs, how long before that to warm up, and whether each request has an Idempotency-Key.

    `rate` is how many requests come a second, at random times; 0 is as many as are answered.
    """

    seconds: int
    warm_up: int
    keys: bool
    rate: int = 0


def command(base: str, threads: int, connections: int, seconds: int, load: Load) -> list[str]:
    """What posts notes to a base URL for so long; it prints the figures of notes.lua."""
    options = [f"--threads={threads}", f"--connections={connections}", f"--duration={seconds}s", "--timeout=10s"]
    arguments = [f"rate={load.rate / threads}"] if load.rate else []
    if load.keys:
        arguments.append("keys")
    return ["wrk", *options, f"--script={SCRIPT}", f"{base}/course", "--", *arguments]


def run(addresses: Sequence[str], threads: int, connections: int, seconds: int, load: Load) -> dict[str, float]:
    """The figures that notes.lua prints. Each address gets as many of the threads, and so of the connections."""
    posting = command(f"http://{addresses[0]}", threads, connections, seconds, load)
    # A setting, because wrk tells its threads the arguments, and gives them their addresses before.
    environment = {**os.environ, "ADDRESSES": " ".join(addresses)}
    printed = subprocess.run(posting, capture_output=True, text=True, check=True, env=environment).stdout
    result: dict[str, float] = json.loads(printed.splitlines()[-1])
    return result


def cpu_seconds() -> float:
    """CPU seconds of the processes we started and waited for: what is new since a call before `run` is wrk's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
