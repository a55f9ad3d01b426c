"""What a workload becomes in a cluster: all of its objects but its credentials."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

import yaml

from .pod_spec import Files, Manifest, Platform, configs, pod_spec
from .policies import Network, mesh_policies, network_policy
from .workloads import Workload, form_of_credentials, labels_of


@dataclass(frozen=True)
class Cluster(Platform):
    """A cluster of k3s."""

    storage_class: str
    network: Network

    @property
    def pull_policy(self) -> str:
        return "Never"

    def resources(self, asked: Mapping[str, Any]) -> Manifest:
        # Of storage, what its log and its scratch directories may take: volumes of the databases lie on the same disks.
        return {
            "requests": {**asked, "ephemeral-storage": "64Mi"},
            "limits": {"memory": asked["memory"], "ephemeral-storage": "512Mi"},
        }

    def reached(self, spec: Workload) -> Manifest:
        if "port" not in spec:
            return {}
        readiness = spec["readiness"]
        return {
            "ports": [{"name": "main", "containerPort": int(spec["port"])}],
            "startupProbe": self._probe(readiness, 1, 120),
            # It begins to serve when it has its databases. When they are unavailable later it still answers, with a 503
            # that says when to come back; without anybody to send requests to, the ingress's own would not.
            "readinessProbe": self._probe(spec.get("liveness", readiness), 2, 2),
            # It says whether the process is there, not its databases: restarting what waits for another helps nobody.
            "livenessProbe": self._probe(spec.get("liveness", {"port": readiness["port"]}), 10, 6),
            # It goes on serving for as long as the others take to learn that it goes, and the ingress to end its
            # clients' connections.
            "lifecycle": {"preStop": {"sleep": {"seconds": 1 if "volume" in spec else 8}}},
        }

    def _probe(self, asked: Mapping[str, Any], seconds: int, failures: int) -> Manifest:
        port = int(asked["port"])
        how: Manifest = {"tcpSocket": {"port": port}}
        if "path" in asked:
            how = {"httpGet": {"path": asked["path"], "port": port}}
        elif self.network.mesh:
            # A proxy takes every connection from outside the pod, whether anybody is behind it or not.
            how = {"exec": {"command": ["bash", "-c", f": < /dev/tcp/127.0.0.1/{port}"]}}
        return {**how, "periodSeconds": seconds, "timeoutSeconds": 3, "failureThreshold": failures}

    def pod(self, name: str, spec: Workload) -> Manifest:
        found: Manifest = {
            "serviceAccountName": name,
            "automountServiceAccountToken": bool(spec.get("uses_api", False)),
            # The variables that Kubernetes makes from Services have the names of ours.
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                # The owner of the credentials and of the volume.
                "fsGroup": self.uid,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }
        if "volume" in spec:
            return found
        spread = {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": name}},
            "matchLabelKeys": ["pod-template-hash"],
        }
        # Off a node that is gone within seconds, not minutes: it has no data there.
        tolerations = [
            {
                "key": f"node.kubernetes.io/{condition}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 5,
            }
            for condition in ("not-ready", "unreachable")
        ]
        return {**found, "topologySpreadConstraints": [spread], "tolerations": tolerations}

    def volumes(self, name: str, spec: Workload, credentials: Sequence[str]) -> list[Manifest]:
        return [
            {"name": f"credentials-{seen}", "secret": {"secretName": f"{seen}-credentials", "defaultMode": 0o440}}
            for seen in credentials
        ]

    def artifacts(self, name: str, spec: Workload) -> list[Manifest]:
        return []


def controller_of(spec: Workload) -> str:
    """The kind of object that keeps a workload's pods running."""
    return "StatefulSet" if "volume" in spec else "Deployment"


def _metadata(name: str, namespace: str) -> Manifest:
    """What all objects of a workload carry, but for those with a name of their own."""
    return {"name": name, "namespace": namespace, "labels": labels_of(name)}


def _made(
    usual: Manifest, api: str, kind: str, called: str = "", annotations: Manifest | None = None, **content: Any
) -> Manifest:
    metadata = usual | ({"name": called} if called else {}) | ({"annotations": annotations} if annotations else {})
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


def objects(name: str, files: Files, further: Sequence[str], cluster: Cluster) -> list[Manifest]:
    """The objects of a workload, with the files of its configuration; `further` are texts of its own ones."""
    spec = cluster.described[name]
    namespace = cluster.network.namespace_of(spec)
    made = partial(_made, _metadata(name, namespace))
    selector = {"matchLabels": {"app": name}}
    found = [
        made("v1", "ServiceAccount", automountServiceAccountToken=False),
        *(
            made("v1", "ConfigMap", f"{name}-{volume}", data=dict(content))
            for (volume, _), content in zip(configs(spec), files, strict=True)
        ),
        made("v1", "Service", annotations=_service_annotations(spec, cluster), spec=_service(name, spec)),
        *([made("v1", "Service", f"{name}-pods", spec=_service_of_pods(name, spec))] if "scale" in spec else []),
        made("apps/v1", controller_of(spec), spec=_controller(name, spec, files, cluster)),
        # Not minAvailable: 1, which would let no node be drained while there is one pod.
        made("policy/v1", "PodDisruptionBudget", spec={"maxUnavailable": 1, "selector": selector}),
    ]
    if "scale" in spec:
        found.append(autoscaler(name, spec, namespace))
    policy = network_policy(name, cluster.described, cluster.network)
    found.append(made("networking.k8s.io/v1", "NetworkPolicy", spec=policy))
    if cluster.network.mesh:
        for api, kind, called, content in mesh_policies(name, cluster.described, cluster.network):
            found.append(made(api, kind, called, spec=content))
    return [*found, *(document for text in further for document in yaml.safe_load_all(text) if document)]


def _service_annotations(spec: Workload, cluster: Cluster) -> Manifest:
    opaque = cluster.network.mesh and spec.get("speaks") == "opaque"
    return {"config.linkerd.io/opaque-ports": str(spec["port"])} if opaque else {}


def _service(name: str, spec: Workload) -> Manifest:
    port: Manifest = {"name": "main", "port": int(spec["port"]), "targetPort": "main"}
    if "node_port" not in spec:
        return {"selector": {"app": name}, "ports": [port]}
    return {"selector": {"app": name}, "type": "NodePort", "ports": [port | {"nodePort": int(spec["node_port"])}]}


def _service_of_pods(name: str, spec: Workload) -> Manifest:
    """A Service whose name gives the address of each pod, for those who choose among them."""
    return {"clusterIP": "None", **_service(name, spec)}


def _controller(name: str, spec: Workload, files: Files, cluster: Cluster) -> Manifest:
    metadata: Manifest = {"labels": labels_of(name)}
    if annotations := _pod_annotations(name, spec, files, cluster):
        metadata["annotations"] = annotations
    return {
        **({} if "scale" in spec else {"replicas": int(spec.get("replicas", 1))}),
        "selector": {"matchLabels": {"app": name}},
        "revisionHistoryLimit": 2,
        **(_data(name, spec, cluster.storage_class) if "volume" in spec else _ROLLING),
        "template": {"metadata": metadata, "spec": pod_spec(name, spec, cluster)},
    }


# A new pod serves before an old one goes.
_ROLLING: Manifest = {
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
}


def _data(name: str, spec: Workload, storage_class: str) -> Manifest:
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": spec["storage"]}},
    }
    return {"serviceName": name, "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}]}


def _pod_annotations(name: str, spec: Workload, files: Files, cluster: Cluster) -> Manifest:
    found: Manifest = {}
    if "metrics" in spec:
        found["courseload/metrics"] = str(spec["metrics"])
    if files:
        # A new configuration is a new pod.
        found["courseload/config"] = sha256(json.dumps(list(files)).encode()).hexdigest()
    if form := form_of_credentials(name, spec, cluster.described):
        found["courseload/credentials"] = form
    return found | (cluster.network.mesh.annotations(spec) if cluster.network.mesh else {})


def autoscaler(name: str, spec: Workload, namespace: str) -> Manifest:
    """The HorizontalPodAutoscaler of a workload that scales."""
    scale = spec["scale"]
    target = {"type": "Utilization", "averageUtilization": int(scale["cpu_percent"])}
    # Of the container, not of the pod: what a mesh adds to the pod is not the workload.
    metric = {"name": "cpu", "container": name, "target": target}
    scaling = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": controller_of(spec), "name": name},
        "minReplicas": int(scale["min"]),
        "maxReplicas": int(scale["max"]),
        "metrics": [{"type": "ContainerResource", "containerResource": metric}],
        "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 0},
            "scaleDown": {"stabilizationWindowSeconds": 60},
        },
    }
    return _made(_metadata(name, namespace), "autoscaling/v2", "HorizontalPodAutoscaler", spec=scaling)
