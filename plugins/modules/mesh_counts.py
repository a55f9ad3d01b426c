#!/usr/bin/python
"""The module `mesh_counts`: what the proxies of the mesh have counted, asked from each through the Kubernetes API."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule

Api = Any  # kubernetes.client.CoreV1Api, whose types do not know what is always there

DOCUMENTATION = """
module: mesh_counts
short_description: Read what the proxies of the mesh have counted
description:
  - Asks the proxy of every pod that has one for its metrics, through a forwarded port, so that no network policy
    has to let anybody in.
  - The counts are of the proxies that run now, since each of them started.
options:
  kubeconfig:
    description: Whoever it is for may forward ports of pods in these namespaces.
    type: path
    required: true
  namespaces: {description: Where the pods are., type: list, elements: str, required: true}
  parent: {description: The Service whose traffic is split., type: str, required: true}
"""

RETURN = """
split:
  description: The requests that proxies have sent to each backend of the parent, by the route that is attached to it.
  type: dict
  returned: always
calls:
  description: >-
    Who has called whom: requests, or connections where a proxy does not look into them; how many of them with mutual
    TLS, and how many without.
  type: list
  elements: dict
  returned: always
unsecured:
  description: Who is connected to whom without mutual TLS at this moment.
  type: list
  elements: dict
  returned: always
proxies:
  description: C(split) and C(calls) of each proxy, by its pod.
  type: dict
  returned: always
silent:
  description: The pods whose proxy did not answer, with the reason; those that have none, too.
  type: dict
  returned: always
"""

PORT = 4191  # of a proxy's metrics
PATIENCE_S = 10
SPLIT = "outbound_http_route_backend_requests"
REQUESTS = "request"
CONNECTIONS = "tcp_open"
OPEN = "tcp_open_connections"  # no counter: those at this moment


@dataclass
class Counts:
    """What was counted: requests by backend, and (caller, called) pairs, with TLS or without."""

    split: Counter[str] = field(default_factory=Counter)
    secured: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    plain: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    open: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, caller: str, page: str, parent: str) -> None:
        """Adds what one proxy tells."""
        for name, labels, value in samples(page):
            if name == SPLIT and labels.get("parent_name") == parent:
                self.split[labels["backend_name"]] += int(value)
            elif labels.get("direction") == "outbound" and labels.get("dst_service"):
                called = labels["dst_service"]
                opaque = name == CONNECTIONS and labels.get("peer") == "dst"
                if name == REQUESTS or opaque:
                    kind = "requests" if name == REQUESTS else "connections"
                    (self.secured if labels.get("tls") == "true" else self.plain)[caller, called, kind] += int(value)
                elif name == OPEN and labels.get("peer") == "dst" and labels.get("tls") != "true":
                    self.open[caller, called] += int(value)

    def update(self, other: Counts) -> None:
        """Adds what another proxy counted."""
        self.split.update(other.split)
        self.secured.update(other.secured)
        self.plain.update(other.plain)
        self.open.update(other.open)

    def unsecured(self) -> list[dict[str, Any]]:
        """A line for each pair that is connected without TLS at this moment."""
        found = sorted(pair for pair, connections in self.open.items() if connections)
        return [{"caller": pair[0], "called": pair[1], "connections": self.open[pair]} for pair in found]

    def calls(self) -> list[dict[str, Any]]:
        """A line for each pair. Of those that sent requests, the connections say nothing more."""
        pairs = sorted(self.secured.keys() | self.plain.keys())
        asked = {(caller, called) for caller, called, kind in pairs if kind == "requests"}
        return [
            {"caller": key[0], "called": key[1], "of": key[2], "secured": self.secured[key], "plain": self.plain[key]}
            for key in pairs
            if (self.secured[key] or self.plain[key]) and (key[2] == "requests" or key[:2] not in asked)
        ]


def samples(page: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """(name without `_total`, labels, value) of everything on a page of metrics that is counted here."""
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415

    wanted = (*(f"{name}_total" for name in (SPLIT, REQUESTS, CONNECTIONS)), OPEN + "{")
    # A page has thousands of lines, and some in a form that the parser does not know: only those that count are read.
    lines = [line for line in page.splitlines() if line.startswith(wanted)]
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            yield sample.name.removesuffix("_total"), sample.labels, sample.value


def ask(api: Api, namespace: str, pod: str) -> str:
    """A proxy's page of metrics; raises OSError or an error of the API's client."""
    from kubernetes.stream import portforward  # noqa: PLC0415

    forwarded = portforward(api.connect_get_namespaced_pod_portforward, pod, namespace, ports=str(PORT))
    connection = forwarded.socket(PORT)
    connection.settimeout(PATIENCE_S)
    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    if answer.status != http.HTTPStatus.OK:
        raise OSError(f"{answer.status} {answer.reason}")
    return answer.read().decode()


def running(api: Api, namespaces: Iterable[str]) -> Iterator[tuple[str, str, str, bool]]:
    """(namespace, name, workload, whether it has a proxy) of every pod of the workloads that runs."""
    for namespace in namespaces:
        for pod in api.list_namespaced_pod(namespace, label_selector="part-of=courseload").items:
            if pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None:
                labels = pod.metadata.labels
                yield namespace, pod.metadata.name, labels["app"], "linkerd.io/control-plane-ns" in labels


def count(api: Api, namespaces: Iterable[str], parent: str) -> tuple[dict[str, Counts], dict[str, str]]:
    """What the proxy of each pod has counted, and those that did not answer."""
    proxies, silent = {}, {}
    for namespace, pod, workload, meshed in running(api, namespaces):
        if not meshed:
            silent[pod] = "it has no proxy"
            continue
        try:
            counts = Counts()
            counts.add(workload, ask(api, namespace, pod), parent)
            proxies[pod] = counts
        except (
            Exception
        ) as problem:  # the client has errors of several libraries; each only means that there is no answer
            silent[pod] = f"{type(problem).__name__}: {problem}"
    return proxies, silent


def result(proxies: Mapping[str, Counts], silent: Mapping[str, str]) -> dict[str, Any]:
    """What the module returns: of all proxies together, and of each."""
    total = Counts()
    for counts in proxies.values():
        total.update(counts)
    return {
        "split": dict(total.split),
        "calls": total.calls(),
        "unsecured": total.unsecured(),
        "proxies": {pod: {"split": dict(counts.split), "calls": counts.calls()} for pod, counts in proxies.items()},
        "silent": dict(silent),
    }


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "namespaces": {"type": "list", "elements": "str", "required": True},
            "parent": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    from kubernetes import client  # noqa: PLC0415
    from kubernetes.config import new_client_from_config  # noqa: PLC0415

    try:
        api = client.CoreV1Api(new_client_from_config(module.params["kubeconfig"]))
        proxies, silent = count(api, module.params["namespaces"], module.params["parent"])
    except Exception as problem:  # as above
        module.fail_json(msg=f"The Kubernetes API does not tell which pods have a proxy: {problem}")
    module.exit_json(changed=False, **result(proxies, silent))


if __name__ == "__main__":
    main()
