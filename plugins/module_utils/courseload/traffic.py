"""What the proxies of the mesh have counted, as the module mesh_counts returns it: in a time, and in words."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

Counted = Mapping[str, Any]  # `split` by backend, `calls` and `unsecured` by caller and called, `silent` by pod
Call = Mapping[str, Any]

KINDS = ("secured", "plain")


def since(before: Counted, after: Counted, workloads: Container[str]) -> dict[str, Any]:
    """`split`, `calls` and `silent` of the time between two results of the module; either may be one that failed.

    Only calls of these workloads count. A proxy that was restarted meanwhile began anew.
    """
    split, calls = before.get("split", {}), {_key(call): call for call in before.get("calls", [])}
    if "split" not in after:
        return {"split": {}, "calls": [], "silent": {"the mesh": after.get("msg", "it did not answer")}}
    return {
        "split": {route: _grown(split.get(route, 0), count) for route, count in after["split"].items()},
        "calls": [
            {**call, **{kind: _grown(calls.get(_key(call), {}).get(kind, 0), call[kind]) for kind in KINDS}}
            for call in _of(after["calls"], workloads)
        ],
        "silent": dict(after["silent"]),
    }


def _key(call: Call) -> tuple[str, str, str]:
    return call["caller"], call["called"], call["of"]


def _grown(before: int, after: int) -> int:
    return after - before if after >= before else after


def _of(calls: Iterable[Call], workloads: Container[str]) -> list[Call]:
    return [call for call in calls if call["called"] in workloads]


def of_run(traffic: Counted) -> str:
    """How the mesh has shared the traffic of a load test, from what `since` returns."""
    if not traffic["split"]:
        return f"What the mesh counted is not known: {'; '.join(silent(traffic))}"
    plain = sum(call["plain"] for call in traffic["calls"])
    return (
        f"Shared by the mesh, as its proxies counted: {_shares(traffic)}; "
        f"{plain or 'none'} of what the workloads sent each other was without mutual TLS."
    )


def so_far(counted: Counted, workloads: Container[str]) -> str:
    """How the mesh shares the traffic, since its proxies started."""
    calls = _of(counted.get("calls", []), workloads)
    secured = ", ".join(f"{_pair(call)} {call['secured']} {call['of']}" for call in calls)
    # Of a moment when one of them had no proxy yet.
    bare = [f"{_pair(call)} {call['plain']} {call['of']}, none of them now" for call in calls if call["plain"]]
    return f"{_shares(counted)} requests so far. With mutual TLS: {secured}; without: {', '.join(bare) or 'none'}."


def without_tls(counted: Counted, workloads: Container[str]) -> list[str]:
    """The pairs of workloads that are connected without mutual TLS at this moment."""
    return [_pair(call) for call in _of(counted["unsecured"], workloads)]


def silent(counted: Counted) -> list[str]:
    """The pods that did not answer, each with the reason."""
    return [f"{pod}: {why}" for pod, why in counted["silent"].items()]


def _shares(counted: Counted) -> str:
    return ", ".join(f"{route} {count}" for route, count in counted.get("split", {}).items())


def _pair(call: Call) -> str:
    return f"{call['caller']} to {call['called']}"
