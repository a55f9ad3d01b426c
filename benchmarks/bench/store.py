"""Counts and clears what the contestants stored, through a helper container beside the databases."""

import json
import time

from .podman import podman

HELPER = "benchmark-store"


def ask(operation: str) -> dict[str, int]:
    """Run inside/store.py in the helper: `clear` returns {}, `count` {"stored": n, "counted": n}."""
    answer: dict[str, int] = json.loads(podman("exec", HELPER, "python3", "/bench/store.py", operation))
    return answer


def clear() -> None:
    """Empty the benchmark's own databases."""
    ask("clear")


def settled() -> dict[str, int]:
    """The counts once two in a row agree: what was in flight when wrk hung up has arrived."""
    before = ask("count")
    while (now := ask("count")) != before:
        before = now
        time.sleep(0.2)
    return now
