"""What workloads become, as pods and in a cluster: made from descriptions of the tests' own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from courseload.policies import Mesh, Network, mesh_policies, network_policy
from helpers.plugins import load

filters: dict[str, Any] = load("filter", "manifests").FilterModule().filters()

RESOURCES = {"cpu": "100m", "memory": "64Mi"}
WORKLOADS: dict[str, Any] = {
    "store": {
        "image": "store",
        "command": ["store"],
        "port": 5000,
        "speaks": "opaque",
        "readiness": {"port": 5000},
        "volume": "/srv/store",
        "storage": "1Gi",
        "publish": {"address": "127.0.0.1", "port": 5000},
        "credentials": {"uri": "store://{password}"},
        "offers": {"STORE": "/run/credentials/store/uri"},
        "metrics": 5001,
        "scratch": ["/run/store"],
        "sidecars": {"exporter": {"image": "exporter", "command": ["export"], "resources": RESOURCES}},
        "resources": RESOURCES,
    },
    "shop": {
        "image": "shop",
        "command": ["shop", "--port=8000"],
        "env": {"COLOUR": "green"},
        "port": 8000,
        "readiness": {"port": 8000, "path": "/readyz"},
        "liveness": {"port": 8000, "path": "/healthz"},
        "metrics": 8000,
        "calls": ["store"],
        "scale": {"min": 1, "max": 3, "cpu_percent": 50},
        "resources": RESOURCES,
    },
    "door": {
        "image": "door",
        "command": ["door"],
        "port": 8080,
        "node_port": "30080",
        "namespace": "outside",
        "readiness": {"port": 8081, "path": "/ping"},
        "calls": ["shop"],
        "uses_api": True,
        "config": {"role": "door", "directory": "/etc/door", "files": ["door.yml"]},
        "objects": ["access.yml"],
        "resources": RESOURCES,
    },
    "watcher": {
        "image": "watcher",
        "command": ["watch"],
        "port": 9090,
        "readiness": {"port": 9090, "path": "/ready"},
        "scrapes": True,
        "resources": RESOURCES,
    },
}
RENDERED = {"door": {"door.yml": "open: true\n\n", "access.yml": "kind: Role\n---\n---\nkind: RoleBinding\n"}}
IMAGES = {name: f"localhost/{name}:1" for name in ("store", "shop", "door", "watcher", "exporter")}
MESH = {"version": "edge-1", "trusted": "anchor", "inbound_port": 4143, "admin_port": 4191, "metrics_ports": [9990]}
NETWORK: dict[str, Any] = {
    "namespace": "inside",
    "servers": ["192.0.2.1"],
    "nodes": ["192.0.2.1", "192.0.2.2"],
    "ops": ["192.0.2.3"],
    "write_port": "9091",
    "mesh": None,
}
HOST = {"images": IMAGES, "uid": "10001", "artifacts_known": {}, "config_dir": "/etc/c", "state_dir": "/var/c"}


def cluster(
    mesh: dict[str, Any] | None = None, rendered: Any = RENDERED, described: Any = WORKLOADS
) -> dict[tuple[str, str], Any]:
    """The objects of all workloads by kind and name."""
    settings = {"images": IMAGES, "uid": "10001", "storage_class": "local", "network": NETWORK | {"mesh": mesh}}
    made = filters["cluster_manifests"](described, described, rendered, settings)
    return {(found["kind"], found.get("metadata", {}).get("name")): found for found in made}


def pods(name: str, spec: dict[str, Any], rendered: Any = RENDERED, **host: Any) -> list[dict[str, Any]]:
    """What Podman gets for a workload of this description."""
    made = filters["pod_manifests"]([name], WORKLOADS | {name: spec}, rendered, HOST | host)
    return list(yaml.safe_load_all(made[name]))


def network(mesh: dict[str, Any] | None = None) -> Network:
    return Network(**NETWORK | {"mesh": Mesh(**mesh) if mesh else None})


def policy(name: str, mesh: dict[str, Any] | None = None, **described: Any) -> dict[str, Any]:
    return network_policy(name, WORKLOADS | described, network(mesh))


def peers(rules: list[dict[str, Any]], side: str) -> dict[Any, list[int]]:
    """The ports that rules let through, by the names of the pods or by the addresses."""
    found: dict[Any, list[int]] = {}
    for rule in rules:
        for peer in rule.get(side, [{}]):
            labels = peer.get("podSelector", {}).get("matchLabels", {})
            who = labels.get("app") or labels.get("k8s-app") or peer.get("ipBlock", {}).get("cidr") or str(peer)
            found.setdefault(who, []).extend(port["port"] for port in rule["ports"])
    return found


# Where configuration comes from


def test_templates_are_named_by_role_and_those_of_objects_only_where_they_are_wanted() -> None:
    wanted = filters["templates_of"]
    assert wanted(["door", "shop"], WORKLOADS, objects=False) == {"door": ["door.yml"]}
    assert wanted(["door", "shop"], WORKLOADS, objects=True) == {"door": ["door.yml", "access.yml"]}


def test_several_directories_are_a_config_map_each_whether_rendered_or_from_the_repository() -> None:
    places = [
        {"role": "door", "directory": "/etc/door", "files": ["door.yml"]},
        {"source": "requirements", "directory": "/etc/other", "files": ["uv.in"]},
    ]
    pod, first, second = pods("door", WORKLOADS["door"] | {"config": places})
    assert first["data"] == {"door.yml": "open: true\n"}
    assert second["data"] == {"uv.in": (Path(__file__).parents[3] / "requirements/uv.in").read_text()}
    mounted = {mount["name"]: mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
    assert (mounted["config"], mounted["config-2"]) == ("/etc/door", "/etc/other")
    maps = {v["name"]: v["configMap"]["name"] for v in pod["spec"]["volumes"] if "configMap" in v}
    assert maps == {"config": "door-config", "config-2": "door-config-2"}
    assert [first["metadata"]["name"], second["metadata"]["name"]] == ["door-config", "door-config-2"]


# As pods


def test_a_file_stands_in_the_yaml_as_it_is() -> None:
    text = filters["pod_manifests"](["door"], WORKLOADS, RENDERED, HOST)["door"]
    assert text.startswith("# Ansible managed\napiVersion: v1\nkind: Pod\n")
    assert "  door.yml: |\n    open: true\n" in text


def test_only_the_contents_of_its_files_can_be_told_to_a_pod_that_runs() -> None:
    differs = filters["differs_only_in_configuration"]
    door = pods("door", WORKLOADS["door"])
    (role,) = RENDERED
    other = pods("door", WORKLOADS["door"], {role: dict.fromkeys(RENDERED[role], "open: false")})
    assert differs(door, other)
    assert not differs(door, door)
    assert not differs(door, pods("door", WORKLOADS["door"] | {"command": ["other"]}))
    more = [
        document | {"data": document["data"] | {"more": ""}} if "data" in document else document for document in door
    ]
    assert not differs(door, more)
    assert not differs([], door)


def test_each_container_has_its_own_ports_and_all_share_credentials_data_and_scratch() -> None:
    (pod,) = pods("store", WORKLOADS["store"])
    own, exporter = pod["spec"]["containers"]
    assert own["ports"] == [{"containerPort": 5000, "hostPort": 5000, "hostIP": "127.0.0.1"}]
    assert "ports" not in exporter
    assert own["volumeMounts"] == exporter["volumeMounts"]
    assert [mount["mountPath"] for mount in own["volumeMounts"]] == [
        "/tmp",  # noqa: S108 (of the container)
        "/run/store",
        "/srv/store",
        "/run/credentials/store",
    ]


def test_a_volume_has_the_name_that_is_declared_or_the_workloads() -> None:
    def claimed(spec: dict[str, Any]) -> list[str]:
        (pod,) = pods("store", spec)
        claims = [volume.get("persistentVolumeClaim") for volume in pod["spec"]["volumes"]]
        return [claim["claimName"] for claim in claims if claim]

    assert claimed(WORKLOADS["store"]) == ["courseload-store"]
    assert claimed(WORKLOADS["store"] | {"volume_name": "old"}) == ["courseload-old"]


def test_a_sidecar_without_a_port_is_published_at_that_of_the_host() -> None:
    sidecars = {"gate": WORKLOADS["store"]["sidecars"]["exporter"] | {"publish": [{"address": "a", "port": "9091"}]}}
    (pod,) = pods("store", WORKLOADS["store"] | {"sidecars": sidecars})
    assert pod["spec"]["containers"][1]["ports"] == [{"containerPort": 9091, "hostPort": 9091, "hostIP": "a"}]


def test_what_listens_on_all_addresses_is_published_without_one() -> None:
    """Podman 4.3 would wait for connections to the address 0.0.0.0 itself."""
    publish = {"address": "0.0.0.0", "port": 80}
    (pod,) = pods("store", WORKLOADS["store"] | {"publish": publish})
    assert pod["spec"]["containers"][0]["ports"] == [{"containerPort": 5000, "hostPort": 80}]


def test_another_form_of_a_credential_is_another_pod_of_its_callers() -> None:
    def annotated(credentials: dict[str, str]) -> Any:
        described = WORKLOADS | {"store": WORKLOADS["store"] | {"credentials": credentials}}
        return yaml.safe_load(filters["pod_manifests"](["shop"], described, {}, HOST)["shop"])["metadata"]

    assert annotated({"uri": "{password}"}) == annotated({"uri": "{password}"})
    assert annotated({"uri": "{password}"}) != annotated({"uri": "x{password}"})
    assert len(annotated({"uri": "{password}"})["annotations"]["courseload/credentials"]) < 64


def test_a_pod_that_ends_by_itself_is_not_restarted() -> None:
    assert pods("shop", WORKLOADS["shop"])[0]["spec"]["restartPolicy"] == "Always"
    assert pods("shop", WORKLOADS["shop"], once=True)[0]["spec"]["restartPolicy"] == "Never"


def test_artifacts_are_directories_of_the_host_under_their_version() -> None:
    spec = WORKLOADS["shop"] | {"artifacts": {"directory": "/srv/plugins", "names": ["plugin"]}}
    (pod,) = pods("shop", spec, artifacts_known={"plugin": {"file": "plugin-2.zip"}})
    assert pod["spec"]["volumes"][-1] == {
        "name": "artifact-plugin",
        "hostPath": {"path": "/var/c/artifacts/shop/plugin-2", "type": "Directory"},
    }
    assert pod["spec"]["containers"][0]["volumeMounts"][-1]["mountPath"] == "/srv/plugins/plugin"


def test_names_with_an_address_of_their_own_are_aliases() -> None:
    (pod,) = pods("shop", WORKLOADS["shop"] | {"hosts": {"127.0.0.1": ["store"]}})
    assert pod["spec"]["hostAliases"] == [{"ip": "127.0.0.1", "hostnames": ["store"]}]


def test_a_caller_is_told_where_to_find_what_it_calls_and_its_own_variables_win() -> None:
    def environment(**env: str) -> dict[str, str]:
        (pod,) = pods("shop", WORKLOADS["shop"] | {"env": env})
        return {variable["name"]: variable["value"] for variable in pod["spec"]["containers"][0]["env"]}

    assert environment(COLOUR="red") == {"STORE": "/run/credentials/store/uri", "COLOUR": "red"}
    assert environment(STORE="elsewhere") == {"STORE": "elsewhere"}


# In a cluster


def test_a_workload_with_a_volume_is_a_stateful_set_that_may_stay_on_a_lost_node() -> None:
    found = cluster()
    stateful, deployment = found["StatefulSet", "store"]["spec"], found["Deployment", "shop"]["spec"]
    assert stateful["volumeClaimTemplates"][0]["spec"]["resources"] == {"requests": {"storage": "1Gi"}}
    assert "tolerations" not in stateful["template"]["spec"]
    assert "tolerations" in deployment["template"]["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_what_is_scaled_has_no_number_of_replicas() -> None:
    found = cluster()
    assert "replicas" not in found["Deployment", "shop"]["spec"]
    assert found["HorizontalPodAutoscaler", "shop"]["spec"]["maxReplicas"] == 3
    assert found["Deployment", "door"]["spec"]["replicas"] == 1
    assert ("HorizontalPodAutoscaler", "door") not in found


def test_an_autoscaler_by_itself_is_the_one_among_all_objects() -> None:
    assert filters["autoscalers"](WORKLOADS, NETWORK["namespace"]) == [cluster()["HorizontalPodAutoscaler", "shop"]]


@pytest.mark.parametrize(
    ("mesh", "how"),
    [
        (None, {"tcpSocket": {"port": 5000}}),
        (MESH, {"exec": {"command": ["bash", "-c", ": < /dev/tcp/127.0.0.1/5000"]}}),
    ],
)
def test_a_port_is_probed_past_the_proxy(mesh: dict[str, Any] | None, how: dict[str, Any]) -> None:
    container = cluster(mesh)["StatefulSet", "store"]["spec"]["template"]["spec"]["containers"][0]
    assert how.items() <= container["startupProbe"].items()
    assert how.items() <= container["livenessProbe"].items()


def test_a_workload_that_waits_for_its_database_is_neither_restarted_nor_taken_off_the_service() -> None:
    container = cluster()["Deployment", "shop"]["spec"]["template"]["spec"]["containers"][0]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/readyz", "readiness": "/healthz", "liveness": "/healthz"}


def test_another_form_of_a_credential_is_another_pod_in_a_cluster_as_well() -> None:
    def annotated(credentials: dict[str, str]) -> Any:
        found = cluster(described=WORKLOADS | {"store": WORKLOADS["store"] | {"credentials": credentials}})
        templates = [found[which]["spec"]["template"] for which in (("StatefulSet", "store"), ("Deployment", "shop"))]
        return [template["metadata"]["annotations"]["courseload/credentials"] for template in templates]

    assert annotated({"uri": "{password}"}) == annotated({"uri": "{password}"})
    assert not set(annotated({"uri": "{password}"})) & set(annotated({"uri": "x{password}"}))


def test_another_configuration_is_another_pod() -> None:
    def annotated(text: str) -> str:
        template = cluster(rendered={"door": RENDERED["door"] | {"door.yml": text}})["Deployment", "door"]["spec"][
            "template"
        ]
        return str(template["metadata"]["annotations"]["courseload/config"])

    assert annotated("open: true\n") == annotated("open: true\n")
    assert annotated("open: true\n") != annotated("open: false\n")


def test_further_objects_come_from_the_role_of_the_configuration() -> None:
    assert {("Role", None), ("RoleBinding", None)} <= cluster().keys()


def test_a_port_of_the_nodes_is_a_number_even_where_it_was_given_as_text() -> None:
    assert cluster()["Service", "door"]["spec"]["ports"][0]["nodePort"] == 30080


def test_trust_anchors_restart_everything_but_the_databases() -> None:
    def annotated(trusted: str) -> dict[str, str]:
        found = cluster(MESH | {"trusted": trusted})
        templates = [found["StatefulSet", "store"], found["Deployment", "shop"]]
        return {
            t["metadata"]["name"]: t["spec"]["template"]["metadata"]["annotations"]["courseload/mesh"]
            for t in templates
        }

    before, after = annotated("one"), annotated("two")
    assert before["store"] == after["store"] == "edge-1"
    assert before["shop"] != after["shop"]


# Policies


def test_only_callers_and_the_collector_come_in() -> None:
    assert peers(policy("store")["ingress"], "from") == {"shop": [5000], "watcher": [5001]}
    assert peers(policy("shop")["ingress"], "from") == {"door": [8000], "watcher": [8000]}
    # From everywhere, at the port of the nodes; without a mesh it has nothing to tell the collector.
    assert policy("door")["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8080}]}]
    assert "ingress" not in policy("watcher")


def test_a_workload_reaches_what_it_calls_and_the_names_of_the_cluster() -> None:
    assert peers(policy("shop")["egress"], "to") == {"store": [5000], "kube-dns": [53, 53]}
    assert peers(policy("door")["egress"], "to") == {"shop": [8000], "kube-dns": [53, 53], "192.0.2.1/32": [6443]}
    assert "egress" not in policy("store")


def test_the_collector_reaches_all_that_have_metrics_the_kubelets_and_prometheus() -> None:
    assert peers(policy("watcher")["egress"], "to") == {
        "store": [5001],
        "shop": [8000],
        "192.0.2.1/32": [10250],
        "192.0.2.2/32": [10250],
        "192.0.2.3/32": [9091],
    }


def test_in_a_mesh_calls_and_metrics_arrive_at_the_proxys_ports() -> None:
    found = policy("store", MESH)
    assert peers(found["ingress"], "from") == {"shop": [5000, 4143], "watcher": [5001, 4143, 4191]}
    # A proxy has metrics even where the workload has none.
    assert peers(policy("door", MESH)["ingress"], "from")["watcher"] == [4143, 4191]
    assert peers(policy("watcher", MESH)["egress"], "to")["door"] == [4143, 4191]


def test_who_scrapes_is_a_matter_of_the_description_and_of_no_name() -> None:
    other = {key: value for key, value in WORKLOADS["watcher"].items() if key != "scrapes"}
    assert peers(policy("store", watcher=other)["ingress"], "from") == {"shop": [5000]}
    both = policy("store", second=WORKLOADS["watcher"])["ingress"]
    assert peers(both, "from") == {"shop": [5000], "watcher": [5001], "second": [5001]}


def test_a_workload_is_reached_in_its_own_namespace() -> None:
    (rule,) = (rule for rule in policy("shop")["ingress"] if "door" in json.dumps(rule))
    assert rule["from"][0]["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "outside"}}


def admitted(name: str) -> dict[str, set[str]]:
    """Who may come in at which Server of a workload, by their ServiceAccounts."""
    policies = mesh_policies(name, WORKLOADS, network(MESH))
    return {
        called.removesuffix("-callers"): {account["name"] for account in content["identityRefs"]}
        for _, kind, called, content in policies
        if kind == "MeshTLSAuthentication"
    }


def test_the_mesh_admits_callers_and_lets_the_collector_in_where_there_are_metrics() -> None:
    assert admitted("store") == {"store": {"shop"}, "store-metrics": {"watcher"}, "store-proxy": {"watcher"}}
    assert admitted("shop") == {"shop": {"door", "watcher"}, "shop-proxy": {"watcher"}}
    assert admitted("door") == {"door-proxy": {"watcher"}}
    assert admitted("watcher") == {}


def test_a_server_speaks_what_the_workload_speaks() -> None:
    servers = {
        called: (content["port"], content["proxyProtocol"])
        for name in WORKLOADS
        for _, kind, called, content in mesh_policies(name, WORKLOADS, network(MESH))
        if kind == "Server"
    }
    assert servers["store"] == ("main", "opaque")
    assert servers["shop"] == ("main", "HTTP/1")
    assert servers["store-metrics"] == (5001, "HTTP/1")
    assert servers["door-proxy"] == ("linkerd-admin", "HTTP/1")
