"""The faults that chaos.yml makes: what there is one of (group_vars/all/faults.yml), and which are wanted."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from shlex import quote
from typing import Any

from .load_test import seconds, sentences
from .objectives import number
from .podman import claim_name
from .workloads import Described

ALL = "all"
MOST_AT_ONCE = 3  # of a drawn schedule
WITHIN_S = 6.0  # in which those begin that overlap
ALONE = "{name}: a host that restarts takes every other fault with it, so this comes alone."
HERE = "it is the machine that runs the play"
LOADED = "it sends the load"

FIELDS = ("inject", "undo", "probe", "proof", "needs", "seconds", "recovery", "restarts", "elsewhere")

Groups = Mapping[str, Sequence[str]]
Fault = dict[str, Any]
Trial = dict[str, Any]


def known(
    kinds: Mapping[str, Mapping[str, Any]],
    workloads: Described,
    platform: str,
    groups: Groups,
    here: Sequence[str] = (),
) -> list[Fault]:
    """Every fault that there is, as the module `inject_faults` takes it, and with what it says.

    `here` are the hosts that are the control machine.
    """
    servers = groups.get("servers", [])
    targets = {
        **{of: list(named(workloads)) for of, named in TARGETS.items()},
        "server": _hosts(servers),
        "host": _hosts([*servers, *groups.get("agents", [])] or groups.get("ops", [])),
    }
    loading = [*groups.get("ops", []), *groups.get("load", [])]
    return [
        _fault(f"{kind}/{name}", spec, target) | _needed(spec, name, here, loading)
        for kind, spec in kinds.items()
        for name, target in targets[spec["of"]]
        if name in spec.get("only", [name]) and platform in spec.get("platforms", [platform])
    ]


def _needed(spec: Mapping[str, Any], host: str, here: Sequence[str], loading: Sequence[str]) -> Fault:
    """What a fault needs that does more to a host than to the system on it."""
    if spec.get("elsewhere") and host in here:
        return _impossible(HERE)
    return _impossible(LOADED) if spec.get("restarts") and host in loading else {}


def located(faults: Sequence[Fault], cluster: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Which `faults` are made on each `host` of a cluster, with the names that things have there.

    `cluster` has its `pods` and `services` as Kubernetes describes them, the inventory's hosts by their addresses as
    `hosts`, the `pod_network`, and whether there is a `mesh`. What has several pods fails in the first one of them.
    """
    places: dict[str, list[Fault]] = {}
    for fault in faults:
        host, located_fault = _located(fault, cluster)
        places.setdefault(host, []).append(located_fault)
    return [{"host": host, "faults": found} for host, found in places.items()]


def _located(fault: Fault, cluster: Mapping[str, Any]) -> tuple[str, Fault]:
    target = fault["environment"]
    if "HOST" in target:
        others = [address for address, host in cluster["hosts"].items() if host != target["HOST"]]
        variables = {"OTHERS": ",".join(others), "POD_NETWORK": cluster["pod_network"]}
        missing = "" if others or "$OTHERS" not in fault["inject"] else "there is no other node"
        return _made_on(target["HOST"], fault, {**target, **variables}, missing)
    name = target.get("CALLER", target["WORKLOAD"])
    pod = next((pod for pod in cluster["pods"] if _runs(pod) and _app(pod) == name), None)
    if pod is None:
        return _made_on(next(iter(cluster["hosts"].values())), fault, target, f"no pod of {name} runs")
    missing = "the proxies of the mesh have its connections" if cluster["mesh"] and "CALLER" in target else ""
    containers = {state["name"]: _log(pod, state["name"]) for state in pod["status"]["containerStatuses"]}
    environment = {**target, **_in_pod(target, name, containers, cluster)}
    return _made_on(cluster["hosts"][pod["status"]["hostIP"]], fault, environment, missing)


def _log(pod: Mapping[str, Any], container: str) -> str:
    """How the kubelet begins the name of a container's log; it ends with the id, which is new after each end."""
    return f"{pod['metadata']['name']}_{pod['metadata']['namespace']}_{container}"


def _in_pod(
    target: Mapping[str, str], name: str, containers: Mapping[str, str], cluster: Mapping[str, Any]
) -> dict[str, str]:
    """The names of things in a pod of the workload `name`, which has these containers."""
    if "CONTAINER" in target:
        return {"CONTAINER": containers[target["CONTAINER"].removeprefix(f"{name}-")]}
    if "CONTAINERS" in target:
        return {"CONTAINERS": " ".join(containers.values())}
    called = target["CALLED" if "CALLED" in target else "WORKLOAD"]
    services = [found for found in cluster["services"] if found["spec"].get("selector", {}).get("app") == called]
    if "CALLED" in target:
        return {
            "WORKLOAD": containers[name],
            "CALLED": f"{called}.{services[0]['metadata']['namespace']}.svc.cluster.local.",
        }
    addresses = [found["spec"]["clusterIP"] for found in services if found["spec"]["clusterIP"] != "None"]
    addresses += [pod["status"]["podIP"] for pod in cluster["pods"] if _runs(pod) and _app(pod) == called]
    return {"CALLER": containers[name], "ADDRESSES": ",".join(addresses)}


def _made_on(host: str, fault: Fault, environment: Mapping[str, str], missing: str = "") -> tuple[str, Fault]:
    needs = _impossible(missing) if missing else {}
    return host, {**fault, "environment": dict(environment), **needs}


def _impossible(why: str) -> Fault:
    return {"needs": f"echo {quote(why)}; false"}


def _app(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"].get("labels", {}).get("app", ""))


def _runs(pod: Mapping[str, Any]) -> bool:
    states = pod["status"].get("containerStatuses", [])
    return bool(states) and all(state["ready"] for state in states) and "deletionTimestamp" not in pod["metadata"]


def trials(faults: Sequence[Fault], wanted: object, seed: object) -> list[Trial]:
    """The load tests of a run, in their order, each with the faults that are made in it.

    `wanted` is `all`; a number of faults, which are drawn with the seed, and overlap; or names with commas between
    them, each of a fault, of a kind of faults, or of several faults that come together: `killed/redis+full/redis@2.5`,
    where the second one begins 2.5 seconds after the first.
    """
    by_name = {fault["name"]: fault for fault in faults}
    together = {name: fault for name, fault in by_name.items() if "restarts" not in fault}
    asked = list(_drawn(together, wanted, seed)) if _is_number(wanted) else _groups(wanted)
    return [
        trial
        for group in asked
        for trial in (
            [_trial([fault]) for fault in faults if group in (ALL, fault["kind"])]
            or [_trial([by_name[name] | {"at": at} for name, at in _together(group)])]
        )
    ]


def once(faults: Iterable[Fault]) -> list[Fault]:
    """Each fault once, by its name."""
    return list({fault["name"]: fault for fault in faults}.values())


def impossible(trials: Iterable[Trial], seen: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The trials of which nothing is possible: their `name`, what they would have done (`says`), and `why` not.

    `seen` is what the module `inject_faults` says of their faults.
    """
    why = {fault["name"]: fault["skipped"] for fault in seen if fault["skipped"]}
    return [
        {"name": trial["name"], "says": trial["says"], "why": "; ".join(dict.fromkeys(why[name] for name in names))}
        for trial in trials
        if set(names := [fault["name"] for fault in trial["faults"]]) <= set(why)
    ]


def smaller(tried: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is still to be tried to find the fewest faults that fail: each failed trial without one of its faults.

    `tried` are trials with a `name`, and `why` they failed, empty where they did not.
    """
    failed = [trial["name"].split("+") for trial in tried if trial["why"]]
    wanted = [
        "+".join(name for name in names if name != left_out)
        for names in failed
        for left_out in names[1:] + names[:1]
        if len(names) > 1
    ]
    return [name for name in dict.fromkeys(wanted) if name not in {trial["name"] for trial in tried}]


def refusals(options: Mapping[str, Any], hosts: Sequence[str], faults: Sequence[Fault]) -> list[str]:
    """A sentence for each option that is not possible; `hosts` are those that send the load."""
    rate, wanted = number(options["chaos_rate"]), options["faults"]
    checks = [
        ("the group load", bool(hosts), "hosts of the inventory that send the load"),
        ("chaos_rate", (rate or 0) >= 1, "a number of requests per second, at least 1"),
        ("chaos_recovery", seconds(options["chaos_recovery"]) >= 1, "at least 1 second, written like 30s or 1m"),
        ("seed", bool(re.fullmatch(r"[0-9]{1,9}", str(options["seed"]))), "a whole number"),
    ]
    names = {fault["name"] for fault in faults}
    kinds = {fault["kind"] for fault in faults}
    asked = [] if _is_number(wanted) else _groups(wanted)
    unknown = [
        f"{name} is no fault. There are: {', '.join(sorted(names if '/' in name else kinds))}."
        for group in asked
        for name, _ in _together(group)
        if name not in names and group not in {ALL, *kinds}
    ]
    nothing = [] if str(wanted) not in ("", "0", "[]") else ["faults must be all, a number, or names of faults."]
    restarts = {fault["name"] for fault in faults if "restarts" in fault}
    alone = [
        ALONE.format(name=name) for group in asked for name, _ in _together(group) if name in restarts and name != group
    ]
    return [*sentences(checks, {"the group load": ", ".join(hosts), **options}), *unknown, *nothing, *alone]


def _fault(name: str, spec: Mapping[str, Any], target: Mapping[str, str]) -> Fault:
    shown = {variable.lower(): value for variable, value in target.items()}
    return {
        "name": name,
        "kind": name.partition("/")[0],
        "says": spec["says"].format(**shown),
        "environment": dict(target),
        **{key: spec[key] for key in FIELDS if key in spec},
    }


def _trial(faults: Sequence[Fault]) -> Trial:
    return {
        "name": "+".join(_spelled(fault["name"], fault.get("at", 0)) for fault in faults),
        "says": ", and ".join(fault["says"] for fault in faults),
        "seconds": max(fault.get("at", 0) + fault.get("seconds", 0) for fault in faults),
        "recovery": max(fault.get("recovery", 0) for fault in faults),
        "faults": list(faults),
    }


def _drawn(faults: Mapping[str, Fault], wanted: object, seed: object) -> Iterator[str]:
    """So many faults as are wanted, some of which come together: those that do not hide each other."""
    chance = random.Random(int(str(seed)))  # noqa: S311 (no secret)
    pool, left = sorted(faults), int(str(wanted))
    while left > 0:
        group: list[str] = []
        for name in chance.sample(pool, min(left, len(pool), chance.randint(1, MOST_AT_ONCE))):
            if all(_apart(faults[name], faults[other]) for other in group):
                group.append(name)
        later = [round(chance.uniform(0, WITHIN_S), 1) for _ in group[1:]]
        yield "+".join(map(_spelled, group, [0, *later]))
        left -= len(group)


def _apart(one: Fault, other: Fault) -> bool:
    """Whether each of two faults can be seen while the other one is there.

    They have no workload in common, and none is of a host while the other one is of a connection.
    """
    environments = one["environment"], other["environment"]
    touched = [{env[key] for key in ("WORKLOAD", "CALLER", "CALLED", "HOST") if key in env} for env in environments]
    hosts = ["HOST" in env for env in environments]
    connections = ["CALLER" in env or "CALLED" in env for env in environments]
    return all(touched) and not touched[0] & touched[1] and not (any(hosts) and any(connections))


def _spelled(name: str, at: float) -> str:
    return f"{name}@{at:g}" if at else name


def _together(group: str) -> list[tuple[str, float]]:
    """The names of faults that come together, and when each begins, in seconds; a time that is none is of no fault."""
    pairs = (part.partition("@") for part in group.split("+"))
    return [
        (name, float(at)) if re.fullmatch(r"[0-9]{1,3}(\.[0-9])?", at) else (name + way + at, 0)
        for name, way, at in pairs
    ]


def _is_number(wanted: object) -> bool:
    return bool(re.fullmatch(r"[1-9][0-9]{0,3}", str(wanted)))


def _groups(wanted: object) -> list[str]:
    asked = wanted if isinstance(wanted, list) else str(wanted).split(",")
    return [str(group).strip() for group in asked]


def _containers(workloads: Described) -> Iterator[tuple[str, dict[str, str]]]:
    for workload, spec in workloads.items():
        for container in (workload, *spec.get("sidecars", {})):
            name = workload if container == workload else f"{workload}-{container}"
            yield name, {"WORKLOAD": workload, "CONTAINER": f"{workload}-{container}"}


def _pods(workloads: Described) -> Iterator[tuple[str, dict[str, str]]]:
    for workload in workloads:
        own = [target["CONTAINER"] for _, target in _containers({workload: workloads[workload]})]
        yield workload, {"WORKLOAD": workload, "CONTAINERS": " ".join(own)}


def _hosts(names: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    return [(name, {"HOST": name}) for name in names]


def _volumes(workloads: Described) -> Iterator[tuple[str, dict[str, str]]]:
    for workload, spec in workloads.items():
        if "volume" in spec:
            yield workload, {"WORKLOAD": workload, "VOLUME": claim_name(workload, spec)}


def _system(workloads: Described) -> Iterator[tuple[str, dict[str, str]]]:
    yield "system", {"CONTAINERS": " ".join(target["CONTAINER"] for _, target in _containers(workloads))}


def _calls(workloads: Described) -> Iterator[tuple[str, dict[str, str]]]:
    for caller, spec in workloads.items():
        for called in spec.get("calls", []):
            port = str(workloads[called]["port"])
            yield f"{caller}-{called}", {"CALLER": caller, "WORKLOAD": called, "PORT": port}


def _callers(workloads: Described) -> Iterator[tuple[str, dict[str, str]]]:
    for caller, spec in workloads.items():
        if spec.get("calls"):
            yield caller, {"WORKLOAD": caller, "CALLED": spec["calls"][0]}


TARGETS = {
    "container": _containers,
    "pod": _pods,
    "volume": _volumes,
    "system": _system,
    "call": _calls,
    "caller": _callers,
}
"""What a kind may be of, each with its name and the variables of its commands."""
