"""Looks at what the contestants stored, and clears it, through a helper container beside the databases."""

import json
import time
from typing import Any

from .podman import podman

HELPER = "benchmark-store"


def ask(operation: str) -> dict[str, Any]:
    """Run inside/store.py in the helper: `count` returns {"stored": n, "counted": n}, `show` all of a few notes."""
    answer: dict[str, Any] = json.loads(podman("exec", HELPER, "python3", "/bench/store.py", operation))
    return answer


def clear() -> None:
    """Empty the benchmark's own databases."""
    ask("clear")


def show() -> dict[str, Any]:
    """What is kept of a few notes: see inside/store.py."""
    return ask("show")


def settled() -> dict[str, int]:
    """The counts once two in a row agree: what was in flight when wrk hung up has arrived."""
    before = ask("count")
    while (now := ask("count")) != before:
        before = now
        time.sleep(0.2)
    return now
