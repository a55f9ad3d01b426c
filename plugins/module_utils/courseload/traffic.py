"""What the proxies of the mesh have counted, as the module mesh_counts returns it: in a time, and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from typing import Any

# `split` by backend, `calls` and `unsecured` by caller and called; `proxies` (each with these) and `silent` by pod.
Counted = Mapping[str, Any]
Call = Mapping[str, Any]

KINDS = ("secured", "plain")
ENDED = "it ended during the run"


def since(before: Counted, after: Counted, workloads: Container[str]) -> dict[str, Any]:
    """`split`, `calls` and `silent` of the time between two results of the module; either may be one that failed.

    Only calls of these workloads count. Proxies come and go meanwhile: one that is new began with nothing, as did one
    that was restarted, and what one counted that has ended is not known, so it is `silent` then.
    """
    if "split" not in after:
        return {"split": {}, "calls": [], "silent": {"the mesh": after.get("msg", "it did not answer")}}
    earlier, split, calls = before.get("proxies", {}), Counter[str](), dict[tuple[str, str, str], dict[str, Any]]()
    for pod, now in after["proxies"].items():
        was = earlier.get(pod, {"split": {}, "calls": []})
        for route, count in now["split"].items():
            split[route] += _grown(was["split"].get(route, 0), count)
        counted = {_key(call): call for call in was["calls"]}
        for call in _of(now["calls"], workloads):
            total = calls.setdefault(_key(call), {**call, **dict.fromkeys(KINDS, 0)})
            for kind in KINDS:
                total[kind] += _grown(counted.get(_key(call), {}).get(kind, 0), call[kind])
    ended = dict.fromkeys(earlier.keys() - after["proxies"].keys() - after["silent"].keys(), ENDED)
    return {
        "split": dict(split),
        "calls": _of_most(calls),
        "silent": {**after["silent"], **dict(sorted(ended.items()))},
    }


def _key(call: Call) -> tuple[str, str, str]:
    return call["caller"], call["called"], call["of"]


def _of_most(calls: Mapping[tuple[str, str, str], Call]) -> list[Call]:
    """Without the connections of those that sent requests through another proxy."""
    return [call for (*pair, of), call in calls.items() if of == "requests" or (*pair, "requests") not in calls]


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
        f"{''.join(f' Not counted: {why}.' for why in silent(traffic))}"
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
    """The pods that did not answer, by the reason."""
    pods = counted["silent"]
    return [
        f"{', '.join(pod for pod in pods if pods[pod] == reason)}: {reason}" for reason in dict.fromkeys(pods.values())
    ]


def _shares(counted: Counted) -> str:
    return ", ".join(f"{route} {count}" for route, count in counted.get("split", {}).items())


def _pair(call: Call) -> str:
    return f"{call['caller']} to {call['called']}"
