"""What the workloads become in a cluster: rendered as site.yml does, and judged without one."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import pytest
import yaml

from helpers import pod_security
from helpers.manifests import ROUTES, SERVERS, Rendered
from helpers.network_policy import Pod, enters, leaves

CONTROLLERS = ("Deployment", "StatefulSet")
WORLD = "203.0.113.7"
# Pods of someone else, one of them with a workload's own labels.
STRANGERS = (Pod("courseload", {"app": "stranger"}), Pod("ingress", {}), Pod("default", {"app": "relay"}))
API, KUBELET, WRITE = 6443, 10250, 9091
COLLECTOR = "prometheus-agent"


class Call(NamedTuple):
    caller: str
    called: str
    port: int


@pytest.fixture(scope="session")
def controllers(rendered: Rendered) -> dict[str, Any]:
    """The Deployment or StatefulSet of each workload."""
    return {found["metadata"]["name"]: found for found in rendered.of_kind(*CONTROLLERS)}


@pytest.fixture(scope="session")
def specs(controllers: dict[str, Any]) -> dict[str, Any]:
    """The pod spec of each workload."""
    return {name: found["spec"]["template"]["spec"] for name, found in controllers.items()}


@pytest.fixture(scope="session")
def pods(controllers: dict[str, Any]) -> dict[str, Pod]:
    """A pod of each workload, as policies see it."""
    return {
        name: Pod(found["metadata"]["namespace"], found["spec"]["template"]["metadata"]["labels"])
        for name, found in controllers.items()
    }


@pytest.fixture(scope="session")
def policies(rendered: Rendered) -> list[dict[str, Any]]:
    return rendered.of_kind("NetworkPolicy")


@pytest.fixture(scope="session")
def ports(rendered: Rendered, specs: dict[str, Any]) -> set[int]:
    """Every port that something listens on, and one that nothing does."""
    told = {spec["metrics"] for spec in rendered.cluster_workloads.values() if "metrics" in spec}
    probed = {probe["port"] for container in containers(specs) for probe in probes(container)}
    return (
        probed
        | told
        | {port["containerPort"] for container in containers(specs) for port in container.get("ports", [])}
        | {22}
    )


@pytest.fixture(scope="session")
def calls(rendered: Rendered) -> set[Call]:
    """The edges of the description: all that workloads have to do with each other, and with the collector."""
    workloads = rendered.cluster_workloads
    found = {
        Call(name, other, workloads[other]["port"]) for name in workloads for other in workloads[name].get("calls", [])
    }
    told = {Call(COLLECTOR, name, spec["metrics"]) for name, spec in workloads.items() if "metrics" in spec}
    assert found
    assert {call.called for call in told} >= {"relay", "direct", "ledger", "redis", "ingress"}
    return found | told


def containers(specs: dict[str, Any]) -> list[dict[str, Any]]:
    return [container for spec in specs.values() for container in spec["containers"]]


def probes(container: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        for how, asked in container.get(kind, {}).items():
            if how in ("httpGet", "tcpSocket"):
                yield asked


def test_every_workload_has_a_controller(controllers: dict[str, Any], rendered: Rendered) -> None:
    kinds = {name: found["kind"] for name, found in controllers.items()}
    assert kinds == {
        name: "StatefulSet" if "volume" in workload else "Deployment"
        for name, workload in rendered.cluster_workloads.items()
    }


def test_every_pod_fits_the_restricted_standard(specs: dict[str, Any]) -> None:
    assert {name: found for name, spec in specs.items() if (found := pod_security.violations(spec))} == {}


def test_the_restricted_standard_is_asked_of_every_pod(rendered: Rendered, pods: dict[str, Pod]) -> None:
    enforced = {
        found["metadata"]["name"]: found["metadata"]["labels"].get("pod-security.kubernetes.io/enforce")
        for found in rendered.of_kind("Namespace")
    }
    assert {enforced.get(pod.namespace) for pod in pods.values()} == {"restricted"}


def test_every_container_is_confined_as_with_podman(rendered: Rendered, specs: dict[str, Any]) -> None:
    for name in rendered.workloads:
        pod = yaml.safe_load(rendered.pods[name].partition("\n---\n")[0])["spec"]
        there, here = (
            {container["name"]: container["securityContext"] for container in found["containers"]}
            for found in (pod, specs[name])
        )
        assert here == there, name


def passing(pods: dict[str, Pod], ports: set[int], passes: Callable[[Pod, Pod, int], bool]) -> set[Call]:
    """What of all that could be called by anybody, at any port, passes."""
    return {
        Call(name, other, port)
        for name, pod in pods.items()
        for other, target in pods.items()
        for port in ports
        if passes(pod, target, port)
    }


def test_a_workload_reaches_what_it_calls_and_no_other(
    policies: list[dict[str, Any]], pods: dict[str, Pod], ports: set[int], calls: set[Call]
) -> None:
    assert calls == passing(pods, ports, partial(leaves, policies))


def test_a_workload_is_reached_by_what_calls_it_and_no_other(
    rendered: Rendered, policies: list[dict[str, Any]], pods: dict[str, Pod], ports: set[int], calls: set[Call]
) -> None:
    # All the world may come to the ingress.
    world = ("ingress", rendered.workloads["ingress"]["port"])
    entered = passing(pods, ports, partial(enters, policies))
    assert calls == {call for call in entered if (call.called, call.port) != world}


def test_a_database_is_open_to_those_that_need_it_and_to_nobody_else(
    policies: list[dict[str, Any]], pods: dict[str, Pod], ports: set[int]
) -> None:
    # As in the README's drawing, whatever the description of the workloads says.
    need = {"mongodb": {"ledger", "direct"}, "redis": {"direct"}, "ledger": {"relay"}}
    served = {"mongodb": 27017, "redis": 6379, "ledger": 8010}
    for target, callers in need.items():
        peers: dict[str, Pod | str] = {**pods, **{str(stranger): stranger for stranger in STRANGERS}, "world": WORLD}
        reached_by = {
            (name, port) for name, peer in peers.items() for port in ports if enters(policies, peer, pods[target], port)
        }
        # The collector comes to another port, at which nothing is served but these.
        served_to = {name for name, port in reached_by if port == served[target]}
        assert served_to == callers, target
        assert {name for name, _ in reached_by} <= callers | {COLLECTOR}, target


def test_only_the_ingress_is_open_to_the_world(
    rendered: Rendered, policies: list[dict[str, Any]], pods: dict[str, Pod], ports: set[int]
) -> None:
    for peer in (WORLD, *STRANGERS):
        reached = {(name, port) for name, pod in pods.items() for port in ports if enters(policies, peer, pod, port)}
        assert reached == {("ingress", rendered.cluster_workloads["ingress"]["port"])}, peer


def test_nothing_reaches_out_but_to_the_api_and_what_collects_figures_to_the_kubelets_and_to_prometheus(
    policies: list[dict[str, Any]], pods: dict[str, Pod], ports: set[int]
) -> None:
    agent, ops, load = "192.0.2.21", "192.0.2.31", "192.0.2.41"
    reached = {
        (name, address, port)
        for name, pod in pods.items()
        for address in (WORLD, *SERVERS.values(), agent, ops, load)
        for port in ports | {API, KUBELET, WRITE, 443}
        if leaves(policies, pod, address, port)
    }
    assert reached == {
        *((COLLECTOR, address, API) for address in SERVERS.values()),
        *((COLLECTOR, address, KUBELET) for address in (*SERVERS.values(), agent)),
        (COLLECTOR, ops, WRITE),
    }


def test_only_what_calls_others_may_ask_for_their_addresses(
    rendered: Rendered, policies: list[dict[str, Any]], pods: dict[str, Pod]
) -> None:
    dns = Pod("kube-system", {"k8s-app": "kube-dns"})
    for protocol in ("UDP", "TCP"):
        may_ask = {name for name, pod in pods.items() if leaves(policies, pod, dns, 53, protocol)}
        assert may_ask == {name for name, workload in rendered.cluster_workloads.items() if workload.get("calls")}


def test_a_pod_that_no_policy_knows_reaches_nothing_and_nobody_reaches_it(
    policies: list[dict[str, Any]], pods: dict[str, Pod]
) -> None:
    for namespace in {pod.namespace for pod in pods.values()}:
        stranger = Pod(namespace, {"app": "stranger"})
        assert not leaves(policies, stranger, WORLD, 443), namespace
        assert not enters(policies, WORLD, stranger, 443), namespace


def test_the_routes_and_nothing_else_scale_from_one_to_three_at_half_of_their_cpu(rendered: Rendered) -> None:
    scaled = {found["metadata"]["name"]: found["spec"] for found in rendered.of_kind("HorizontalPodAutoscaler")}
    assert scaled.keys() == ROUTES.keys()
    for name, spec in scaled.items():
        assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 3)
        (metric,) = spec["metrics"]
        # Not a metric of the whole pod: a mesh's container would count as well.
        assert metric["containerResource"] == {
            "name": "cpu",
            "container": name,
            "target": {"type": "Utilization", "averageUtilization": 50},
        }


def test_what_scales_has_no_number_of_replicas_to_go_back_to(rendered: Rendered, controllers: dict[str, Any]) -> None:
    counted = {name for name, found in controllers.items() if "replicas" in found["spec"]}
    assert counted == {name for name, workload in rendered.cluster_workloads.items() if "scale" not in workload}


def test_every_workload_gives_up_one_pod_at_a_time_and_lets_a_node_be_drained(
    rendered: Rendered, controllers: dict[str, Any]
) -> None:
    budgets = {found["metadata"]["name"]: found for found in rendered.of_kind("PodDisruptionBudget")}
    assert budgets.keys() == controllers.keys()
    for name, found in controllers.items():
        assert budgets[name]["spec"] == {"maxUnavailable": 1, "selector": found["spec"]["selector"]}
        assert budgets[name]["metadata"]["namespace"] == found["metadata"]["namespace"]


def test_what_keeps_nothing_is_spread_over_the_hosts_and_leaves_a_lost_one_at_once(
    rendered: Rendered, specs: dict[str, Any]
) -> None:
    free = {name for name, workload in rendered.cluster_workloads.items() if "volume" not in workload}
    for field in ("topologySpreadConstraints", "tolerations"):
        assert {name for name, spec in specs.items() if field in spec} == free


def test_what_keeps_data_has_a_volume_of_its_own(rendered: Rendered, controllers: dict[str, Any]) -> None:
    volumes = {
        name: found["spec"].get("volumeClaimTemplates", [{}])[0].get("metadata", {}).get("name")
        for name, found in controllers.items()
    }
    assert volumes == {
        name: "data" if "volume" in workload else None for name, workload in rendered.cluster_workloads.items()
    }


def test_every_service_leads_to_its_workload(
    rendered: Rendered, controllers: dict[str, Any], specs: dict[str, Any]
) -> None:
    services = {found["metadata"]["name"]: found for found in rendered.of_kind("Service")}
    scaled = {f"{name}-pods": name for name, workload in rendered.cluster_workloads.items() if "scale" in workload}
    assert scaled
    assert services.keys() == controllers.keys() | scaled.keys()
    # Whoever asks for these names gets the addresses of the pods.
    headless = {found for found, service in services.items() if service["spec"].get("clusterIP") == "None"}
    assert headless == scaled.keys()
    for found, service in services.items():
        name = scaled.get(found, found)
        assert service["metadata"]["namespace"] == controllers[name]["metadata"]["namespace"]
        assert service["spec"]["selector"] == controllers[name]["spec"]["selector"]["matchLabels"]
        (port,) = service["spec"]["ports"]
        assert port["port"] == rendered.cluster_workloads[name]["port"]
        listening = {found["name"]: found["containerPort"] for found in specs[name]["containers"][0]["ports"]}
        assert listening[port["targetPort"]] == port["port"]


def test_no_service_but_the_ingress_has_a_port_on_the_nodes(rendered: Rendered) -> None:
    outside = [
        (found["metadata"]["name"], found["spec"]["type"], port.get("nodePort"))
        for found in rendered.of_kind("Service")
        if found["spec"].get("type", "ClusterIP") != "ClusterIP" or "externalIPs" in found["spec"]
        for port in found["spec"]["ports"]
    ]
    assert outside == [("ingress", "NodePort", rendered.cluster_workloads["ingress"]["node_port"])]


def test_the_ingress_finds_every_pod_of_a_route(rendered: Rendered) -> None:
    (found,) = (found for found in rendered.of_kind("ConfigMap") if found["metadata"]["name"] == "ingress-config")
    for name in ROUTES:
        workload = rendered.cluster_workloads[name]
        address = f"{name}-pods.courseload.svc.cluster.local:{workload['port']}"
        assert f"    server-template {name} {workload['scale']['max']} {address}\n" in found["data"]["haproxy.cfg"]


def test_the_images_are_those_that_are_brought_to_the_nodes(rendered: Rendered, specs: dict[str, Any]) -> None:
    assert {container["image"] for container in containers(specs)} == rendered.images_for_cluster
    # Nothing is asked of a registry, not even whether there is something newer.
    assert {container["imagePullPolicy"] for container in containers(specs)} == {"Never"}


def test_a_pod_sees_the_credentials_of_itself_and_of_what_it_calls_and_no_others(
    rendered: Rendered, specs: dict[str, Any]
) -> None:
    workloads = rendered.cluster_workloads
    for name, spec in specs.items():
        may_see = {other for other in [name, *workloads[name].get("calls", [])] if workloads[other].get("credentials")}
        seen = {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
        assert seen == {f"{other}-credentials" for other in may_see}, name


def test_what_shows_the_figures_is_not_in_the_cluster(rendered: Rendered, controllers: dict[str, Any]) -> None:
    assert rendered.ops_workloads
    assert rendered.ops_workloads.keys() & controllers.keys() == set()
    assert rendered.ops_workloads.keys() == rendered.beside.keys()


def jobs_of_the_collector(rendered: Rendered) -> dict[str, Any]:
    """What it scrapes, by the names of its jobs."""
    found = next(found for found in rendered.of_kind("ConfigMap") if found["metadata"]["name"] == f"{COLLECTOR}-config")
    return {job["job_name"]: job for job in yaml.safe_load(found["data"]["agent.yml"])["scrape_configs"]}


def test_what_collects_figures_looks_for_each_where_it_tells_them(
    rendered: Rendered, controllers: dict[str, Any]
) -> None:
    jobs = jobs_of_the_collector(rendered)
    (scraped,) = jobs["workloads"]["kubernetes_sd_configs"]
    assert set(scraped["namespaces"]["names"]) == {spec["metadata"]["namespace"] for spec in controllers.values()}
    told = {
        name: spec["spec"]["template"]["metadata"].get("annotations", {}).get("courseload/metrics")
        for name, spec in controllers.items()
    }
    assert told == {
        name: str(spec["metrics"]) if "metrics" in spec else None for name, spec in rendered.cluster_workloads.items()
    }


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        ("courseload;relay-58b9b69b9b-xk2x7", "relay"),
        ("courseload;prometheus-agent-7d9f8b6c5d-2bzqp", "prometheus-agent"),
        ("ingress;ingress-6d7c8f5d4-zz9v4", "ingress"),
        ("courseload;mongodb-0", "mongodb"),
        ("kube-system;coredns-7d9f8b6c5d-2bzqp", None),
        (";", None),
    ],
)
def test_what_a_kubelet_measures_is_known_by_its_pods_name(rendered: Rendered, pod: str, workload: str | None) -> None:
    jobs = jobs_of_the_collector(rendered)
    (rule,) = jobs["kubelet"]["metric_relabel_configs"]
    assert (rule["source_labels"], rule["replacement"]) == (["namespace", "pod"], "$1$2")
    match = re.fullmatch(rule["regex"], pod)
    assert ("".join(group or "" for group in match.groups()) if match else None) == workload


def test_what_comes_from_the_cluster_needs_the_password_and_can_do_nothing_but_write(rendered: Rendered) -> None:
    gate = rendered.cluster_workloads[COLLECTOR]["credentials"]["gate.cfg"]
    assert re.findall(r"(acl|http-request) (.*)", gate) == [
        ("acl", 'with_password req.hdr(Authorization) -m str "Bearer {password}"'),
        ("http-request", "deny deny_status 404 unless with_password { path /api/v1/write }"),
    ]
    pod = yaml.safe_load(rendered.beside["prometheus"].partition("\n---\n")[0])["spec"]
    published = {
        (container["name"], port["hostIP"], port["hostPort"])
        for container in pod["containers"]
        for port in container.get("ports", [])
    }
    assert published == {("prometheus", "127.0.0.1", 9090), ("gate", "192.0.2.31", WRITE)}
    for name, manifest in rendered.pods.items():
        assert "--web.enable-remote-write-receiver" not in manifest, name


def test_every_image_beside_the_cluster_is_one_that_is_brought_there(rendered: Rendered) -> None:
    manifests = [yaml.safe_load(text.partition("\n---\n")[0]) for text in rendered.beside.values()]
    images = {container["image"] for manifest in manifests for container in manifest["spec"]["containers"]}
    assert images - rendered.images_beside == set()


def test_no_secret_has_its_contents_in_a_manifest(rendered: Rendered) -> None:
    assert [
        found["metadata"]["name"] for found in rendered.of_kind("Secret") if {"data", "stringData"} & found.keys()
    ] == []


def test_only_what_uses_the_api_gets_a_token_for_it(rendered: Rendered, specs: dict[str, Any]) -> None:
    with_token = {name for name, spec in specs.items() if spec["automountServiceAccountToken"] is not False}
    assert with_token == {name for name, workload in rendered.cluster_workloads.items() if workload.get("uses_api")}
    assert {name: spec["serviceAccountName"] for name, spec in specs.items()} == {name: name for name in specs}


def test_no_role_may_do_more_than_look_but_to_forward_ports(rendered: Rendered) -> None:
    roles = rendered.of_kind("Role", "ClusterRole")
    may = {
        (found["metadata"]["name"], resource, verb)
        for found in roles
        for rule in found["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if verb not in ("get", "list", "watch")
    }
    assert {(name, resource) for name, resource, _ in may if not resource.endswith("/status")} == {
        ("ops", "pods/portforward")
    }
    assert "*" not in {part for found in roles for rule in found["rules"] for parts in rule.values() for part in parts}


def test_what_runs_beside_the_cluster_may_forward_to_the_databases_and_do_nothing_else(
    rendered: Rendered, controllers: dict[str, Any]
) -> None:
    # A StatefulSet numbers its pods; these have one.
    databases = {f"{name}-0" for name, found in controllers.items() if found["kind"] == "StatefulSet"}
    assert databases == {"mongodb-0", "redis-0"}
    (role,) = (found for found in rendered.of_kind("Role", "ClusterRole") if found["metadata"]["name"] == "ops")
    assert role["kind"] == "Role"
    for rule in role["rules"]:
        assert set(rule["resourceNames"]) == databases, rule
    assert {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]} == {
        ("pods", "get"),
        ("pods/portforward", "get"),
        ("pods/portforward", "create"),
    }
