"""Who may reach whom in a cluster: NetworkPolicies, and the policies of the mesh, from the `calls` of the workloads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from .cluster import API_PORT
from .workloads import Described, Workload, callers_of, collectors, namespace_of

Manifest = dict[str, Any]
Policy = tuple[str, str, str, Manifest]  # its API, kind, name and spec

KUBELET = 10250
LINKERD = "policy.linkerd.io"
PROTOCOLS = {"opaque": "opaque", "grpc": "gRPC", "http": "HTTP/1"}


@dataclass(frozen=True)
class Mesh:
    """Linkerd: its version, whom its proxies trust, and its ports."""

    version: str
    trusted: str
    inbound_port: int
    admin_port: int
    metrics_ports: Sequence[int]

    def annotations(self, spec: Workload) -> dict[str, str]:
        """What Linkerd is to know of a pod."""
        found = {
            "linkerd.io/inject": "enabled",
            # Nobody comes in unless a policy says so; the probes of the node may.
            "config.linkerd.io/default-inbound-policy": "deny",
            "config.linkerd.io/shutdown-grace-period": "15s",
        }
        if spec.get("speaks") == "opaque":
            found["config.linkerd.io/opaque-ports"] = str(spec["port"])
        if "node_port" in spec:
            # Clients outside the cluster have no certificate: they are let in beside the proxy.
            found["config.linkerd.io/skip-inbound-ports"] = str(spec["port"])
        if spec.get("uses_api"):
            found["config.linkerd.io/skip-outbound-ports"] = f"443,{API_PORT},{KUBELET}"
        # Another release of the proxy is a new pod. Other trust anchors are too, but for databases: while they restart,
        # notes are refused, and the anchors overlap for as long as that may wait.
        anchors = "" if "volume" in spec else f"-{sha256(self.trusted.encode()).hexdigest()[:12]}"
        return found | {"courseload/mesh": f"{self.version}{anchors}"}


@dataclass(frozen=True)
class Network:
    """Where the workloads are, and what else policies let them reach."""

    namespace: str  # of the workloads that name none
    servers: Sequence[str]  # addresses
    nodes: Sequence[str]  # of all nodes
    ops: Sequence[str]  # of the hosts of Prometheus
    write_port: int  # where Prometheus takes what a collector sends
    mesh: Mesh | None

    def namespace_of(self, spec: Workload) -> str:
        return namespace_of(spec, self.namespace)


def network_policy(name: str, described: Described, network: Network) -> Manifest:
    """The spec of a NetworkPolicy: only its callers come in, and it reaches only what it calls."""
    spec, mesh = described[name], network.mesh
    # What others send to a pod with a proxy arrives at the proxy's port.
    proxy = [mesh.inbound_port] if mesh else []

    def pods(of: str) -> list[Manifest]:
        return [_pods(network.namespace_of(described[of]), {"app": of})]

    def metrics_of(scraped: Workload) -> list[Manifest]:
        own = [scraped["metrics"]] if "metrics" in scraped else []
        return _tcp(*own, *proxy, *([mesh.admin_port] if mesh else []))

    enters: list[Manifest] = [{"ports": _tcp(spec["port"])}] if "node_port" in spec else []
    enters += [{"from": pods(caller), "ports": _tcp(spec["port"], *proxy)} for caller in callers_of(name, described)]
    if _is_scraped(spec, mesh):
        enters += [{"from": pods(collector), "ports": metrics_of(spec)} for collector in collectors(described)]

    leaves = [{"to": pods(of), "ports": _tcp(described[of]["port"], *proxy)} for of in spec.get("calls", [])]
    if "calls" in spec:
        dns = [_pods("kube-system", {"k8s-app": "kube-dns"})]
        leaves.append({"to": dns, "ports": [{"protocol": "UDP", "port": 53}, *_tcp(53)]})
    if spec.get("scrapes"):
        leaves += [{"to": pods(of), "ports": metrics_of(it)} for of, it in described.items() if _is_scraped(it, mesh)]
        if mesh:
            leaves.append({"to": [_namespace("linkerd")], "ports": _tcp(*mesh.metrics_ports)})
        leaves.append({"to": _hosts(network.nodes), "ports": _tcp(KUBELET)})
        leaves.append({"to": _hosts(network.ops), "ports": _tcp(network.write_port)})
    if spec.get("uses_api"):
        # The API's Service leads to the servers' own addresses.
        leaves.append({"to": _hosts(network.servers), "ports": _tcp(API_PORT)})
    return {
        "podSelector": {"matchLabels": {"app": name}},
        "policyTypes": ["Ingress", "Egress"],
        **({"ingress": enters} if enters else {}),
        **({"egress": leaves} if leaves else {}),
    }


def _is_scraped(spec: Workload, mesh: Mesh | None) -> bool:
    """Whether a collector asks it, or the proxy beside it."""
    return not spec.get("scrapes") and ("metrics" in spec or mesh is not None)


def _tcp(*ports: int | str) -> list[Manifest]:
    return [{"protocol": "TCP", "port": int(port)} for port in ports]


def _namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _pods(namespace: str, labels: Mapping[str, str]) -> Manifest:
    return {**_namespace(namespace), "podSelector": {"matchLabels": dict(labels)}}


def _hosts(addresses: Iterable[str]) -> list[Manifest]:
    return [{"ipBlock": {"cidr": f"{address}/32"}} for address in addresses]


def mesh_policies(name: str, described: Described, network: Network) -> list[Policy]:
    """Who may come in, proved by the certificates of their proxies: a Server for each port that somebody may call."""
    spec = described[name]

    def admit(called: str, port: int | str, protocol: str, callers: Iterable[str]) -> list[Policy]:
        server = {"podSelector": {"matchLabels": {"app": name}}, "port": port, "proxyProtocol": protocol}
        accounts = [
            {"kind": "ServiceAccount", "name": caller, "namespace": network.namespace_of(described[caller])}
            for caller in callers
        ]
        authorization = {
            "targetRef": {"group": LINKERD, "kind": "Server", "name": called},
            "requiredAuthenticationRefs": [
                {"group": LINKERD, "kind": "MeshTLSAuthentication", "name": f"{called}-callers"}
            ],
        }
        return [
            (f"{LINKERD}/v1beta3", "Server", called, server),
            (f"{LINKERD}/v1alpha1", "MeshTLSAuthentication", f"{called}-callers", {"identityRefs": accounts}),
            (f"{LINKERD}/v1alpha1", "AuthorizationPolicy", called, authorization),
        ]

    callers = callers_of(name, described)
    collecting = [] if spec.get("scrapes") else collectors(described)
    # A workload whose metrics are on the port of its work lets the collector in there.
    apart = "metrics" in spec and spec["metrics"] != spec["port"]
    found: list[Policy] = []
    if callers:
        also = collecting if "metrics" in spec and not apart else []
        found += admit(name, "main", PROTOCOLS[spec.get("speaks", "http")], [*callers, *also])
    if collecting and apart:
        found += admit(f"{name}-metrics", int(spec["metrics"]), "HTTP/1", collecting)
    if collecting:
        # What its proxy tells.
        found += admit(f"{name}-proxy", "linkerd-admin", "HTTP/1", collecting)
    return found
