"""A load test: whether its options are possible, which workers it has, and its result in a few lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import objectives, shapes, traffic
from .autoscalers import BOUNDS, CHOICES, SCALING
from .objectives import number
from .settings import is_truth

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
WORKER = "locust-worker-{}"
SIDES = ("a", "b")
LEAST_ROUNDS = 2


def seconds(duration: object) -> int:
    """Of a duration like 60s, 5m or 1h; 0 where it is none."""
    match = re.fullmatch(r"([0-9]{1,6})([smh]?)", str(duration))
    return int(match[1]) * UNITS[match[2]] if match else 0


ARRIVALS = ("closed", "open")


def refusals(
    options: Mapping[str, Any], hosts: Sequence[str], routes: Sequence[str], known_shapes: Mapping[str, Any]
) -> list[str]:
    """A sentence for each option of a load test that is not possible; hosts are those that send the load."""
    told = sentences(_checks(options, hosts), {"the group load": ", ".join(hosts), **options})
    asked = (_whole(options["users"], 6) or 0) * (number(options["rate"]) or 0)
    return [
        *told,
        *shapes.refusals(options["shape"], known_shapes),
        *objectives.refusals(options["objectives"], routes, asked or None),
    ]


def _checks(options: Mapping[str, Any], hosts: Sequence[str]) -> list[tuple[str, bool, str]]:
    """Options, whether they are possible, and what they must be."""
    users, duration = _whole(options["users"], 6), seconds(options["duration"])
    rate, spawn_rate = number(options["rate"]), number(options["spawn_rate"])
    ratio = number(options["slo_failure_ratio"])
    enough = not rate or round((users or 0) * rate * duration, 6) >= 1
    return [
        ("the group load", bool(hosts), "hosts of the inventory that send the load"),
        ("users", bool(users) and str(options["users"])[0] != "0", "a whole number from 1 to 999999"),
        ("rate", rate is not None, "a number of requests per second and user, or 0 for as fast as answers come"),
        ("arrivals", options["arrivals"] in ARRIVALS, f"{' or '.join(ARRIVALS)}"),
        ("rate", bool(rate) or options["arrivals"] != "open", "above 0 with open arrivals"),
        ("spawn_rate", bool(spawn_rate), "a number of users per second, above 0"),
        ("duration", duration >= 5, "at least 5 seconds, written like 60s, 5m or 1h"),
        (
            "duration",
            (users or 0) < (spawn_rate or 0) * duration,
            "longer than the users take to start (users divided by spawn_rate)",
        ),
        (
            "rate",
            enough,
            "high enough for a request to fall due (users times rate times the seconds of duration at least 1), "
            "or 0 for as fast as answers come",
        ),
        *_of_notes(options),
        ("slo_p99_ms", bool(number(options["slo_p99_ms"])), "a number of milliseconds above 0"),
        ("slo_failure_ratio", ratio is not None and ratio <= 1, "a number from 0 to 1"),
        ("abort", is_truth(options["abort"]), "true or false"),
        ("ui", is_truth(options["ui"]), "true or false"),
    ]


def capacity_refusals(options: Mapping[str, Any], hosts: Sequence[str], routes: Sequence[str]) -> list[str]:
    """A sentence for each option of a search for the capacity that is not possible."""
    step, hold, limit = (seconds(options[f"capacity_{name}"]) for name in ("step", "hold", "limit"))
    start_rate, precision = number(options["capacity_start_rate"]), number(options["capacity_precision"])
    checks = [
        ("the group load", bool(hosts), "hosts of the inventory that send the load"),
        ("capacity_start_rate", (start_rate or 0) >= 1, "a number of requests per second, at least 1"),
        ("capacity_step", step >= 5, "at least 5 seconds, written like 10s or 1m"),
        ("capacity_hold", hold >= step, "at least as long as capacity_step, written like 60s or 5m"),
        ("capacity_precision", 0.01 <= (precision or 0) <= 1, "a number from 0.01 to 1"),
        *_of_notes(options),
        ("capacity_limit", limit >= hold + 4 * step, "long enough for capacity_hold and four times capacity_step"),
        *_of_replicas(options),
    ]
    told = sentences(checks, {"the group load": ", ".join(hosts), **options})
    wrong = list(objectives.refusals(options["objectives"], routes, None))
    if not wrong and any(objective["what"] == "throughput" for objective in options["objectives"]):
        wrong = ["objectives must be without a throughput: a search for the capacity asks for another rate each time."]
    return [*told, *wrong]


def ab_refusals(options: Mapping[str, Any], hosts: Sequence[str], undefined: Sequence[str]) -> list[str]:
    """A sentence for each option of an A/B comparison that is not possible; `undefined` are settings of its sides."""
    rounds, users = _whole(options["ab_rounds"], 3), _whole(options["ab_users"], 6)
    checks = [
        ("the group load", bool(hosts), "hosts of the inventory that send the load"),
        ("ab_rounds", (rounds or 0) >= LEAST_ROUNDS, f"a whole number from {LEAST_ROUNDS} to 999"),
        ("ab_sample", seconds(options["ab_sample"]) >= 5, "at least 5 seconds, written like 35s or 1m"),
        ("ab_rate", number(options["ab_rate"]) is not None, "requests per second, or 0 for as fast as answers come"),
        ("ab_users", bool(users), "a whole number from 1 to 999999"),
        *_of_notes(options),
        *_of_replicas(options),
    ]
    told = sentences(checks, {"the group load": ", ".join(hosts), **options})
    sides = [
        f"{side} must be a dictionary of settings, such as {{'route_cpu': '500m'}}, not '{options[side]}'."
        for side in SIDES
        if not isinstance(options[side], Mapping)
    ]
    unknown = [f"{name} is no setting: nothing by that name is known." for name in undefined]
    same = ["a and b are the same, so there is nothing to compare."] if options["a"] == options["b"] else []
    return [*told, *(sides or [*unknown, *same])]


def ab_samples(rounds: object) -> list[dict[str, Any]]:
    """The load tests of an A/B comparison in their order: each round begins with the side that the last one ended with.

    So a machine that gets slower all the time is as slow for one side as for the other.
    """
    return [
        {"round": number, "side": side}
        for number in range(1, int(str(rounds)) + 1)
        for side in (SIDES if number % 2 else SIDES[::-1])
    ]


def _of_notes(options: Mapping[str, Any]) -> list[tuple[str, bool, str]]:
    """What the notes are made from."""
    pool = _whole(options["pool"], 6)
    return [
        ("pool", pool is not None and 1 <= pool <= 100000, "a whole number from 1 to 100000"),
        ("seed", _whole(options["seed"], 9) is not None, "a whole number"),
    ]


def _of_replicas(options: Mapping[str, Any]) -> list[tuple[str, bool, str]]:
    """Whether the replicas are held still, which only a cluster can do."""
    at = options["capacity_replicas"]
    return [
        ("capacity_replicas", at in CHOICES, f"{', '.join(BOUNDS)} or {SCALING}"),
        ("capacity_replicas", options["clustered"] or at not in BOUNDS, f"{SCALING} where there is no cluster"),
    ]


def sentences(checks: Iterable[tuple[str, bool, str]], values: Mapping[str, Any]) -> list[str]:
    return [f"{name} must be {must}, not '{values[name]}'." for name, good, must in checks if not good]


def _whole(value: object, digits: int) -> int | None:
    return int(str(value)) if re.fullmatch(rf"[0-9]{{1,{digits}}}", str(value)) else None


def target(addresses: Iterable[str], scheme: str, port: object) -> str:
    """Where the notes are posted, as `loadgen` takes it: the URLs of these addresses, with commas between them."""
    return ",".join(f"{scheme}://{address}:{port}" for address in addresses)


def workers(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """`host` and `name` of each: one for every core, since a worker is one process and keeps one core busy at most."""
    places = [host for host in hosts for _ in range(hostvars[host]["ansible_facts"]["processor_vcpus"])]
    return [{"host": host, "name": WORKER.format(number)} for number, host in enumerate(places, 1)]


def pods_on(host: str, placed: Iterable[Mapping[str, str]], master: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The pods of a load test on a host, by name; `master` has those of the master where that is the host."""
    return {**master, **{worker["name"]: {} for worker in placed if worker["host"] == host}}


def sum_up(summary: Mapping[str, Any], mesh: Mapping[str, Any] | None, report: str) -> list[str]:
    """The lines that people read first, of summary.json, what the mesh counted if there is one, and the report."""
    routes, latency, stored = summary["routes"], summary["latency_ms"], summary["reconciliation"] or {}
    shares = ", ".join(f"{route} {round(100 * figures['share'], 1)} %" for route, figures in routes.items())
    replicas = ", ".join(
        f"{route} {'-'.join(map(str, dict.fromkeys(figures['replicas'])))}"
        for route, figures in routes.items()
        if figures["replicas"]
    )
    return [
        f"{summary['verdict'].upper()}: {summary['requests']} requests, {summary['rps']} a second, "
        f"p50 {latency['p50']} ms, p99 {latency['p99']} ms, {summary['failures']} failed",
        f"Split: {shares}{f'; replicas: {replicas}' if replicas else ''}",
        traffic.of_run(mesh) if mesh else "Shared by the ingress: there is no mesh.",
        f"MongoDB: {_counts(stored.get('mongodb'))}",
        f"Redis: {_counts(stored.get('redis'))}",
        _generator(summary["generator"]),
        *(f"Warning: {warning}" for warning in summary["warnings"]),
        f"Report: {report}",
    ]


def _generator(found: Mapping[str, Any] | None) -> str:
    """How near its limit the load generator was."""
    if not found:
        return "Load generator: not known"
    workers = f"{found['workers']} worker{'s' if found['workers'] != 1 else ''}"
    used = f"{100 * found['cpu']:.0f} % of a core each, the busiest up to {100 * found['busiest_cpu']:.0f} %"
    return f"Load generator: {workers}, {used}; waited for a core {100 * found['waited']:.0f} % of the time"


def _counts(found: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {count}" for name, count in (found or {}).items()) or "not known"
