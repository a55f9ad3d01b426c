"""What a real API server lets in: pods that break the standard "restricted", and the account of what runs outside."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from helpers.manifests import Rendered, render
from lab import hosts
from lab.cluster import Kubectl, RemoteError, begin, eventually, install, run, write
from lab.paths import INVENTORY
from lab.release import PROBE, Release
from lab.traces import Traces

NAMESPACE = "courseload"
JUDGE = "restricted"  # the namespace in which Kubernetes itself asks for the standard

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def kubectl(before: Traces, built: Release) -> Kubectl:
    """A cluster of one server."""
    hosts.down()
    (server,) = (host for host in hosts.read(INVENTORY) if "servers" in host.groups)
    hosts.up([server])
    install(server, built)
    begin(server, "server", {})
    found = Kubectl(server)
    eventually("the node is Ready", lambda: found.ready_nodes() == {server.name}, 120)
    return found


def container(name: str = "main") -> dict[str, Any]:
    return {
        "name": name,
        "image": PROBE,
        "imagePullPolicy": "Never",
        "args": ["serve", ":8080"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def pod(name: str, change: Change | None = None) -> dict[str, Any]:
    """A pod that the standard lets in, and what a change makes of it; nothing ever runs it."""
    spec = {
        "nodeSelector": {"nowhere": "at-all"},
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container()],
        "initContainers": [container("first")],
    }
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {}},
        "spec": spec,
    }
    if change:
        change(made)
    return made


def of_pod(**fields: Any) -> Change:
    return lambda made: made["spec"].update(fields)


def of_security(**fields: Any) -> Change:
    return lambda made: made["spec"]["securityContext"].update(fields)


def of_container(kind: str = "containers", **fields: Any) -> Change:
    return lambda made: made["spec"][kind][0].update(fields)


def of_context(kind: str = "containers", **fields: Any) -> Change:
    return lambda made: made["spec"][kind][0]["securityContext"].update(fields)


def volume(**source: Any) -> Change:
    return of_pod(volumes=[{"name": "data", **source}])


def windows(made: dict[str, Any]) -> None:
    # One alone without the node's network is no pod at all.
    made["spec"]["hostNetwork"] = True
    made["spec"]["securityContext"]["windowsOptions"] = {"hostProcess": True}


def unmasked(made: dict[str, Any]) -> None:
    made["spec"]["hostUsers"] = False
    made["spec"]["containers"][0]["securityContext"]["procMount"] = "Unmasked"


def annotated(made: dict[str, Any]) -> None:
    made["metadata"]["annotations"]["container.apparmor.security.beta.kubernetes.io/main"] = "unconfined"


ELSEWHERE = {"httpGet": {"host": "192.0.2.1", "path": "/", "port": 80}}
FORBIDDEN: dict[str, Change] = {
    "host-network": of_pod(hostNetwork=True),
    "host-pid": of_pod(hostPID=True),
    "host-ipc": of_pod(hostIPC=True),
    "windows-host-process": windows,
    "privileged": of_context(privileged=True, allowPrivilegeEscalation=True),
    "escalation": of_context(allowPrivilegeEscalation=True),
    "escalation-of-the-first": of_context("initContainers", allowPrivilegeEscalation=True),
    "capability": of_context(capabilities={"drop": ["ALL"], "add": ["NET_RAW"]}),
    "capabilities-kept": of_context(capabilities={}),
    "host-path": volume(hostPath={"path": "/etc"}),
    "volume-nfs": volume(nfs={"server": "192.0.2.1", "path": "/"}),
    "volume-iscsi": volume(iscsi={"targetPortal": "192.0.2.1:3260", "iqn": "iqn.2001-04.com.example:disk", "lun": 0}),
    "host-port": of_container(ports=[{"containerPort": 80, "hostPort": 80}]),
    "host-port-of-the-first": of_container("initContainers", ports=[{"containerPort": 80, "hostPort": 80}]),
    "probe-elsewhere": of_container(livenessProbe=ELSEWHERE),
    "probe-elsewhere-by-tcp": of_container(readinessProbe={"tcpSocket": {"host": "192.0.2.1", "port": 80}}),
    "hook-elsewhere": of_container(lifecycle={"preStop": ELSEWHERE}),
    "apparmor-of-the-pod": of_security(appArmorProfile={"type": "Unconfined"}),
    "apparmor": of_context(appArmorProfile={"type": "Unconfined"}),
    "apparmor-by-annotation": annotated,
    "selinux-type": of_context(seLinuxOptions={"type": "spc_t"}),
    "selinux-of-the-pod": of_security(seLinuxOptions={"user": "system_u"}),
    "proc-unmasked": unmasked,
    "seccomp-of-the-pod": of_security(seccompProfile={"type": "Unconfined"}),
    "seccomp": of_context(seccompProfile={"type": "Unconfined"}),
    "sysctl": of_security(sysctls=[{"name": "net.core.somaxconn", "value": "1024"}]),
    "root": of_context(runAsUser=0, runAsNonRoot=False),
    "root-of-the-pod": of_security(runAsUser=0),
    "maybe-root": of_context(runAsNonRoot=False),
}


@pytest.fixture(scope="module")
def policy(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """The namespaces of a mesh and the policy that holds their pods, in force; and the namespace of the judge."""
    meshed = render(tmp_path_factory.mktemp("meshed"), "packages", mesh="linkerd")
    kinds = ("Namespace", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    judge = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": JUDGE, "labels": labels}}
    kubectl("apply", "--filename=-", content=yaml.safe_dump_all([*meshed.of_kind(*kinds), judge]))
    bad = pod("host-pid", FORBIDDEN["host-pid"])
    eventually("it is in force", lambda: "pods.courseload" in attempt(kubectl, NAMESPACE, bad), 60)
    return meshed


def attempt(kubectl: Kubectl, namespace: str, *pods: dict[str, Any]) -> str:
    """What is said when pods are made there, all but for good: a line for each."""
    command = f"k3s kubectl create --namespace={namespace} --dry-run=server --filename=- 2>&1 || true"
    return run(kubectl.server, command, content=yaml.safe_dump_all(pods).encode())


def admitted(kubectl: Kubectl, namespace: str, *pods: dict[str, Any]) -> set[str]:
    """The names of the pods that would be let in there."""
    said = attempt(kubectl, namespace, *pods)
    return {made["metadata"]["name"] for made in pods if f"pod/{made['metadata']['name']} created" in said}


def test_the_policy_lets_in_what_the_standard_does(kubectl: Kubectl, policy: Rendered) -> None:
    good = [
        pod("plain"),
        pod("volumes", of_pod(volumes=[{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "s"}}])),
        pod("probed", of_container(livenessProbe={"httpGet": {"path": "/", "port": 80}})),
        pod("confined", of_context(appArmorProfile={"type": "RuntimeDefault"}, seLinuxOptions={"type": "container_t"})),
    ]
    names = {made["metadata"]["name"] for made in good}
    assert admitted(kubectl, JUDGE, *good) == names, attempt(kubectl, JUDGE, *good)
    assert admitted(kubectl, NAMESPACE, *good) == names, attempt(kubectl, NAMESPACE, *good)


def test_the_policy_refuses_a_pod_for_each_control_of_the_standard(kubectl: Kubectl, policy: Rendered) -> None:
    bad = [pod(name, change) for name, change in FORBIDDEN.items()]
    # Kubernetes itself says that each breaks the standard.
    assert admitted(kubectl, JUDGE, *bad) == set()
    assert attempt(kubectl, JUDGE, *bad).count('violates PodSecurity "restricted') == len(bad)
    assert admitted(kubectl, NAMESPACE, *bad) == set()
    assert attempt(kubectl, NAMESPACE, *bad).count("ValidatingAdmissionPolicy 'pods.courseload'") == len(bad)


def test_the_policy_holds_what_is_added_to_a_pod_that_runs(kubectl: Kubectl, policy: Rendered) -> None:
    kubectl("create", f"--namespace={NAMESPACE}", "--filename=-", content=json.dumps(pod("runs")))
    made = kubectl.get("pod", "runs", f"--namespace={NAMESPACE}")

    def add(change: Change | None) -> str:
        extended = copy.deepcopy(made)
        extended["spec"]["ephemeralContainers"] = [container("debugger")]
        if change:
            change(extended)
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/runs/ephemeralcontainers?dryRun=All"
        try:
            return kubectl("replace", f"--raw={path}", "--filename=-", content=json.dumps(extended))
        except RemoteError as error:
            return str(error)

    assert "debugger" in add(None)
    for change in (
        of_context("ephemeralContainers", allowPrivilegeEscalation=True, privileged=True),
        of_context("ephemeralContainers", runAsUser=0, runAsNonRoot=False),
        of_context("ephemeralContainers", capabilities={"drop": ["ALL"], "add": ["SYS_PTRACE"]}),
        of_context("ephemeralContainers", seccompProfile={"type": "Unconfined"}),
        of_context("ephemeralContainers", seLinuxOptions={"type": "spc_t"}),
    ):
        assert "ValidatingAdmissionPolicy 'pods.courseload'" in add(change)


STAND_IN = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}, namespace: courseload}}
spec:
  serviceName: {name}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      securityContext: {{runAsNonRoot: true, runAsUser: 10001, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
        - name: probe
          image: {image}
          imagePullPolicy: Never
          args: [serve, ":8080"]
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
          securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
"""


def test_the_ops_account_forwards_to_the_databases_pods_and_can_do_nothing_else(
    kubectl: Kubectl, policy: Rendered
) -> None:
    # Pods with the names of the databases', and one of a service.
    objects = [found for found in policy.objects if found["metadata"]["name"] in ("ops", "ops-token")]
    assert {found["kind"] for found in objects} == {"ServiceAccount", "Secret", "Role", "RoleBinding"}
    kubectl("apply", "--filename=-", content=yaml.safe_dump_all(objects))
    for name in ("mongodb", "redis", "relay"):
        kubectl("apply", "--filename=-", content=STAND_IN.format(name=name, image=PROBE))
    eventually("they run", lambda: len(kubectl.nodes_of("app", NAMESPACE)) == 3, 120)

    token = kubectl("create", "token", "ops", f"--namespace={NAMESPACE}").strip()
    server = kubectl.server
    write(server, "/tmp/ops/token", token)  # noqa: S108 (on a host that nobody shares)
    admins = yaml.safe_load(run(server, "cat /etc/rancher/k3s/k3s.yaml"))
    admins["users"][0]["user"] = {"tokenFile": "/tmp/ops/token"}  # noqa: S108 (as above)
    write(server, "/tmp/ops/kubeconfig", yaml.safe_dump(admins))  # noqa: S108 (as above)
    ops = "k3s kubectl --kubeconfig=/tmp/ops/kubeconfig --namespace=courseload"
    for at, name in enumerate(("mongodb", "redis")):
        port = 18081 + at
        answer = run(
            server,
            f"timeout 20 {ops} port-forward pod/{name}-0 {port}:8080 >/dev/null & "
            f"for _ in $(seq 50); do curl --silent --fail http://127.0.0.1:{port}/ && exit 0; sleep 0.2; done; exit 1",
        )
        assert answer
    for refused in (
        "port-forward pod/relay-0 18090:8080",
        "port-forward service/mongodb 18091:8080",
        "get pods",
        "get pod relay-0",
        "get services",
        "get secrets",
        "exec mongodb-0 -- /probe",
        "logs mongodb-0",
        "delete pod mongodb-0",
    ):
        with pytest.raises(RemoteError, match=r"(?i)forbidden"):
            run(server, f"timeout 20 {ops} {refused}")
