"""One server and its agents: what the stand-in does as k3s does, and what it refuses."""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Callable
from functools import partial

import pytest
import yaml

from lab.cluster import (
    CONFIG,
    IMAGES,
    MANIFESTS,
    TOKEN,
    Kubectl,
    RemoteError,
    attempt,
    begin,
    eventually,
    install,
    run,
    write,
)
from lab.hosts import Host, wait_until_booted
from lab.podman import podman
from lab.release import PROBE, Release
from lab.system import run as playbook

STILL_S = 10
READY_S = 90  # from a start to Ready, with two cores for everything
SECRET = "a-secret-of-the-lab-0123456789"

PODS = f"""
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: probe}}
spec:
  selector: {{matchLabels: {{app: probe}}}}
  template:
    metadata: {{labels: {{app: probe}}}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations: [{{operator: Exists, effect: NoSchedule}}]
      containers:
        - name: probe
          image: {PROBE}
          imagePullPolicy: Never
          args: [serve, ":8080"]
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: probe}}
spec: {{selector: {{app: probe}}, ports: [{{port: 80, targetPort: 8080}}]}}
"""

VISITOR = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: visitor}}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 1
  containers: [{{name: probe, image: {image}, imagePullPolicy: Never, args: [serve, ":8080"]}}]
"""

POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}}}
spec: {spec}
"""
ONLY_GUESTS = """
  podSelector: {matchLabels: {app: probe}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {guest: "yes"}}}], ports: [{port: 8080}]}]
"""
NO_WAY_OUT = "{podSelector: {matchLabels: {app: visitor}}, policyTypes: [Egress]}"


VOLUMES = "/var/lib/rancher/k3s/storage"
CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: keeper}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
"""
KEEPER = f"""
apiVersion: v1
kind: Pod
metadata: {{name: keeper}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {{runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001}}
  containers:
    - name: probe
      image: {PROBE}
      imagePullPolicy: Never
      args: [serve, ":8080"]
      volumeMounts: [{{name: data, mountPath: /srv/data}}]
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: keeper}}}}]
"""


@pytest.fixture(scope="module")
def cluster(server: Host, agents: list[Host], built: Release, kubectl: Kubectl) -> list[Host]:
    """One server, with two agents; returns the hosts."""
    everyone = [server, *agents]
    for host in everyone:
        install(host, built)
    write(server, "/etc/rancher/k3s/agent-token", "the-agents-secret-of-the-lab\n")
    begin(
        server,
        "server",
        {
            "agent-token-file": "/etc/rancher/k3s/agent-token",
            "disable": ["traefik", "servicelb"],
            "node-taint": ["node-role.kubernetes.io/control-plane=true:NoSchedule"],
            "secrets-encryption": True,
            "tls-san": ["lab.example"],
            "write-kubeconfig-mode": "0640",
        },
    )
    token = run(server, "cat /var/lib/rancher/k3s/server/agent-token")
    for agent in agents:
        write(agent, "/etc/rancher/k3s/token", token)
        write(agent, f"{CONFIG}.d/10-labels.yaml", yaml.safe_dump({"node-label": ["courseload/disk=fast"]}))
        options = {"server": f"https://{server.address}:6443", "token-file": "/etc/rancher/k3s/token"}
        begin(agent, "agent", options)
    names = {host.name for host in everyone}
    eventually("every node is Ready", lambda: kubectl.ready_nodes() == names, READY_S)
    return everyone


@pytest.fixture(scope="module")
def probes(cluster: list[Host], kubectl: Kubectl) -> dict[str, str]:
    """A pod on each node, by the node's name. They stay: later tests look whether they come back."""
    kubectl("apply", "-f", "-", content=PODS)
    eventually("a pod on each node", lambda: len(kubectl.nodes_of("app=probe")) == len(cluster), READY_S)
    return {node: pod for pod, node in kubectl.nodes_of("app=probe").items()}


def test_an_unknown_option_is_refused_by_name(server: Host, built: Release) -> None:
    install(server, built)
    assert 'unknown option "no-such-option" in /etc/rancher/k3s/config.yaml' in attempt(
        server, "server", {"no-such-option": True}
    )


def test_an_option_of_servers_is_refused_by_an_agent(server: Host) -> None:
    assert 'option "cluster-init"' in attempt(server, "agent", {"cluster-init": True})


def test_the_binary_tells_its_version(server: Host, built: Release) -> None:
    assert run(server, "k3s --version").startswith(f"k3s version {built.version}")


def test_every_node_runs_the_version_of_the_binary(cluster: list[Host], kubectl: Kubectl, built: Release) -> None:
    nodes = kubectl.get("nodes")["items"]
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes} == {built.version}
    assert {node["metadata"]["name"] for node in nodes} == {host.name for host in cluster}


def test_the_images_directory_is_imported(cluster: list[Host]) -> None:
    for host in cluster:
        listed = run(host, "k3s ctr images ls -q")
        assert PROBE in listed
        assert "docker.io/rancher/mirrored-coredns-coredns" in listed


def test_an_archive_that_comes_later_is_imported_without_a_restart(cluster: list[Host], built: Release) -> None:
    agent = cluster[-1]
    run(agent, f"k3s ctr images rm {PROBE}")
    assert PROBE not in run(agent, "k3s ctr images ls -q")
    write(agent, f"{IMAGES}/again.tar.zst", built.probe.read_bytes())
    eventually("the image is back", lambda: PROBE in run(agent, "k3s ctr images ls -q"), 30)


def test_a_pod_runs_on_each_node(cluster: list[Host], probes: dict[str, str]) -> None:
    assert probes.keys() == {host.name for host in cluster}


def test_pods_reach_each_other_across_nodes(probes: dict[str, str], kubectl: Kubectl) -> None:
    addresses = {pod: kubectl.get("pod", pod)["status"]["podIP"] for pod in probes.values()}
    for pod in probes.values():
        for other, address in addresses.items():
            assert kubectl.execute(pod, "/probe", "get", f"http://{address}:8080") == other


def test_the_clusters_names_resolve_in_every_pod(probes: dict[str, str], kubectl: Kubectl) -> None:
    address = kubectl.get("service", "probe")["spec"]["clusterIP"]
    eventually("CoreDNS is ready", lambda: bool(kubectl.nodes_of("k8s-app=kube-dns", "kube-system")), READY_S)
    for pod in probes.values():
        assert kubectl.execute(pod, "/probe", "lookup", "probe.default.svc.cluster.local") == address


def test_a_service_leads_to_the_pods_of_all_nodes(probes: dict[str, str], kubectl: Kubectl) -> None:
    pod = next(iter(probes.values()))
    answers = {kubectl.execute(pod, "/probe", "get", "http://probe") for _ in range(30)}
    assert answers == set(probes.values())


def test_metrics_come_from_every_node(cluster: list[Host], kubectl: Kubectl) -> None:
    path = "/apis/metrics.k8s.io/v1beta1/nodes"
    eventually("metrics", lambda: kubectl("get", "--raw", path).count('"usage"') == len(cluster), 120)
    assert all(host.name in kubectl("top", "nodes") for host in cluster)


def test_labels_and_taints_are_on_the_nodes(cluster: list[Host], kubectl: Kubectl) -> None:
    nodes = {node["metadata"]["name"]: node for node in kubectl.get("nodes")["items"]}
    labels = {name: node["metadata"]["labels"] for name, node in nodes.items()}
    server, *agents = (host.name for host in cluster)
    assert [labels[agent].get("courseload/disk") for agent in agents] == ["fast"] * len(agents)
    assert "courseload/disk" not in labels[server]
    assert labels[server]["node-role.kubernetes.io/control-plane"] == "true"
    assert {taint["key"] for taint in nodes[server]["spec"]["taints"]} == {"node-role.kubernetes.io/control-plane"}
    assert not any("taints" in nodes[agent]["spec"] for agent in agents)


def test_a_manifest_in_the_directory_is_applied_and_kept_up_to_date(cluster: list[Host], kubectl: Kubectl) -> None:
    for data in ({"value": "one"}, {"value": "two"}):
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "by-file"}, "data": data}
        write(cluster[0], f"{MANIFESTS}/by-file.yaml", yaml.safe_dump(manifest))
        eventually(f"{data} is there", partial(holds, kubectl, "by-file", data), 30)


def holds(kubectl: Kubectl, name: str, data: dict[str, str]) -> bool:
    return bool(kubectl.get("configmap", name)["data"] == data)


def test_the_kubeconfig_has_the_mode_that_was_asked_for(cluster: list[Host]) -> None:
    assert stat.filemode(stat.S_IFREG | int(run(cluster[0], "stat -c %a /etc/rancher/k3s/k3s.yaml"), 8)) == "-rw-r-----"


def test_the_api_answers_at_the_servers_address_with_a_certificate_for_its_names(cluster: list[Host]) -> None:
    names = run(
        cluster[1],
        f"openssl s_client -connect {cluster[0].address}:6443 </dev/null 2>/dev/null | openssl x509 -noout -text",
    )
    assert "DNS:lab.example" in names
    assert f"IP Address:{cluster[0].address}" in names


def test_tokens_have_the_form_of_k3s_and_are_readable_by_nobody_else(cluster: list[Host]) -> None:
    server = cluster[0]
    assert re.fullmatch(r"K10[0-9a-f]{64}::server:[0-9a-f]{32}\n", run(server, f"cat {TOKEN}"))
    assert re.fullmatch(
        r"K10[0-9a-f]{64}::node:the-agents-secret-of-the-lab\n",
        run(server, "cat /var/lib/rancher/k3s/server/agent-token"),
    )
    assert run(server, f"stat -c %a {TOKEN} $(dirname {TOKEN})/agent-token").split() == ["600", "600"]


def test_no_process_shows_a_token(cluster: list[Host]) -> None:
    secret = run(cluster[0], f"cat {TOKEN}").strip().rpartition(":")[2]
    for host in cluster:
        shown = run(host, "ps -e -o args; systemctl cat 'k3s*'; journalctl --no-pager")
        assert secret not in shown
        assert "the-agents-secret-of-the-lab" not in shown


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda token: token[:-1] + "x", "refuses the token"),
        (lambda token: "K10" + "0" * 64 + token[67:], "token CA hash does not match"),
        (lambda token: "K10" + token[3:20], "not of the form"),
    ],
    ids=["another secret", "the hash of another CA", "cut off"],
)
def test_a_wrong_token_is_refused_with_its_reason(
    lab: dict[str, Host], cluster: list[Host], built: Release, change: Callable[[str], str], reason: str
) -> None:
    newcomer = lab["ops1"]
    install(newcomer, built)
    token = run(cluster[0], "cat /var/lib/rancher/k3s/server/agent-token").strip()
    options = {"server": f"https://{cluster[0].address}:6443", "token": change(token)}
    assert reason in attempt(newcomer, "agent", options)


def test_a_server_cannot_join_one_that_was_set_up_alone(
    lab: dict[str, Host], cluster: list[Host], built: Release
) -> None:
    token = run(cluster[0], f"cat {TOKEN}").strip()
    options = {"server": f"https://{cluster[0].address}:6443", "token": token, "secrets-encryption": True}
    assert "set up without cluster-init" in attempt(lab["ops1"], "server", options)


def test_network_policies_let_pass_whom_they_name_and_nobody_else(
    cluster: list[Host], probes: dict[str, str], kubectl: Kubectl
) -> None:
    _, near, far = cluster
    target = f"http://{kubectl.get('pod', probes[near.name])['status']['podIP']}:8080"
    visitors = {"near": near.name, "far": far.name}
    for name, node in visitors.items():
        kubectl("apply", "-f", "-", content=VISITOR.format(name=name, node=node, image=PROBE))
    kubectl("wait", "--for=condition=Ready", "pod", *visitors, "--timeout=60s", seconds=90)

    def reach() -> set[str]:
        return {name for name in visitors if reaches(kubectl, name, target)}

    assert reach() == {"near", "far"}
    kubectl("apply", "-f", "-", content=POLICY.format(name="only-guests", spec=ONLY_GUESTS))
    eventually("strangers are kept out, on the same node and from another", lambda: reach() == set(), 30)
    kubectl("label", "pod", "far", "guest=yes")
    eventually("the guest comes in, and nobody else", lambda: reach() == {"far"}, 30)
    kubectl("apply", "-f", "-", content=POLICY.format(name="no-way-out", spec=NO_WAY_OUT))
    eventually("the guest cannot leave its own pod", lambda: reach() == set(), 30)
    kubectl("delete", "networkpolicy", "only-guests", "no-way-out")
    eventually("without policies everyone passes", lambda: reach() == {"near", "far"}, 30)
    kubectl("delete", "pod", *visitors, seconds=90)


def reaches(kubectl: Kubectl, pod: str, url: str) -> bool:
    try:
        return kubectl.execute(pod, "/probe", "get", url).startswith("probe-")
    except RemoteError:
        return False


def test_a_volume_outlives_its_pod_and_goes_with_its_claim(cluster: list[Host], kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", content=CLAIM)
    make_keeper(kubectl)
    kubectl.execute("keeper", "/probe", "write", "/srv/data/note", "kept")
    kubectl("delete", "pod/keeper", seconds=90)
    make_keeper(kubectl)
    assert kubectl.execute("keeper", "/probe", "read", "/srv/data/note") == "kept"
    name = kubectl.get("pod", "keeper")["spec"]["nodeName"]
    node = next(host for host in cluster if host.name == name)
    volume = kubectl.get("persistentvolumeclaim", "keeper")["spec"]["volumeName"]
    assert run(node, f"ls {VOLUMES}").split() == [f"{volume}_default_keeper"]
    kubectl("delete", "pod/keeper", "persistentvolumeclaim/keeper", seconds=90)
    eventually("its directory is gone", lambda: run(node, f"ls {VOLUMES}") == "", 30)
    eventually("the volume is gone", lambda: kubectl.get("persistentvolumes")["items"] == [], 30)


def make_keeper(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", content=KEEPER)
    kubectl("wait", "--for=condition=Ready", "pod/keeper", "--timeout=60s", seconds=90)


def test_a_pod_is_reached_through_the_api(cluster: list[Host], probes: dict[str, str], kubectl: Kubectl) -> None:
    pod = probes[cluster[1].name]
    forward = f"timeout 20 k3s kubectl port-forward pod/{pod} 18080:8080 >/dev/null"
    ask = "curl --silent --show-error --fail --retry 10 --retry-delay 1 --retry-connrefused http://127.0.0.1:18080"
    assert run(cluster[0], f"{forward} & {ask}; kill %1").strip() == pod
    assert kubectl("logs", pod) == ""


def test_secrets_are_encrypted_in_the_datastore(cluster: list[Host], kubectl: Kubectl) -> None:
    server = cluster[0]
    kubectl("create", "secret", "generic", "hidden", f"--from-literal=value={SECRET}")
    kubectl("create", "configmap", "plain", f"--from-literal=value={SECRET[::-1]}")
    count = (
        "grep --recursive --text --count {} /var/lib/rancher/k3s/server/db | awk -F: '{{sum += $2}} END {{print sum}}'"
    )
    assert int(run(server, count.format(SECRET[::-1]))) > 0, "what is not secret would be found: the search works"
    assert int(run(server, count.format(SECRET))) == 0
    assert int(run(server, count.format("k8s:enc:aescbc:v1:aescbckey"))) > 0


def test_what_is_disabled_leaves_the_cluster(cluster: list[Host], kubectl: Kubectl) -> None:
    server = cluster[0]
    assert kubectl.get("deployments", "--namespace=kube-system", "metrics-server")
    write(server, f"{CONFIG}.d/20-disable.yaml", yaml.safe_dump({"disable+": ["metrics-server"]}))
    run(server, "systemctl restart k3s", seconds=120)
    present = ["get", "deployments", "--namespace=kube-system", "--output=name"]
    eventually("metrics-server is gone", lambda: "metrics-server" not in kubectl(*present), READY_S)
    assert "coredns" in kubectl(*present)
    run(server, f"test ! -e {MANIFESTS}/metrics-server.yaml && test -e {MANIFESTS}/coredns.yaml")


def test_pods_outlive_a_restart_of_their_nodes_service(
    cluster: list[Host], probes: dict[str, str], kubectl: Kubectl
) -> None:
    agent = cluster[1]
    before = kubectl.get("pod", probes[agent.name])["status"]["containerStatuses"][0]
    run(agent, "systemctl restart k3s-agent", seconds=120)
    names = {host.name for host in cluster}
    eventually("every node is Ready", lambda: kubectl.ready_nodes() == names, READY_S)
    after = kubectl.get("pod", probes[agent.name])["status"]["containerStatuses"][0]
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], before["restartCount"])


@pytest.mark.long
def test_another_binary_and_a_restart_change_a_nodes_version_and_no_pod(
    cluster: list[Host], probes: dict[str, str], kubectl: Kubectl, built: Release, earlier: Release
) -> None:
    agent = cluster[1]
    before = kubectl.get("pod", probes[agent.name])["status"]["containerStatuses"][0]
    for release in (earlier, built):
        install(agent, release)
        run(agent, "systemctl restart k3s-agent", seconds=120)
        eventually(f"it is Ready with {release.version}", partial(runs, kubectl, agent.name, release.version), READY_S)
    after = kubectl.get("pod", probes[agent.name])["status"]["containerStatuses"][0]
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], before["restartCount"])


def runs(kubectl: Kubectl, node: str, version: str) -> bool:
    found = kubectl.get("node", node)["status"]["nodeInfo"]["kubeletVersion"]
    return bool(found == version) and node in kubectl.ready_nodes()


def test_a_host_that_was_off_comes_back_with_its_pods(
    cluster: list[Host], probes: dict[str, str], kubectl: Kubectl
) -> None:
    agent = cluster[2]
    podman("stop", "--time=5", agent.container)
    eventually("the node is missed", lambda: agent.name not in kubectl.ready_nodes(), 90)
    podman("start", agent.container)
    wait_until_booted(agent)
    eventually("the node is Ready", lambda: agent.name in kubectl.ready_nodes(), READY_S)
    eventually("its pod is back", lambda: agent.name in kubectl.nodes_of("app=probe").values(), READY_S)
    pod = next(name for name, node in kubectl.nodes_of("app=probe").items() if node == agent.name)
    assert kubectl.execute(pod, "/probe", "get", "http://probe").startswith("probe-")


def test_a_server_that_was_off_comes_back_with_its_cluster(cluster: list[Host], kubectl: Kubectl) -> None:
    podman("stop", "--time=5", cluster[0].container)
    podman("start", cluster[0].container)
    wait_until_booted(cluster[0])
    names = {host.name for host in cluster}
    eventually("every node is Ready", lambda: kubectl.ready_nodes() == names, READY_S)
    assert kubectl.get("configmap", "by-file")["data"] == {"value": "two"}


# --- To courseload's playbooks this is another's cluster.

# What a host has that a reset would take away, were it ours; a Podman's chain beside the cluster's, and a file.
THEIRS = r"""
ls -d /etc/rancher/k3s/config.yaml /var/lib/rancher/k3s/agent /usr/local/bin/k3s /run/k3s /etc/courseload/theirs
systemctl list-units --plain --no-legend --state=running 'k3s*' | cut -d ' ' -f 1
cut -d ' ' -f 5 /proc/self/mountinfo | grep -E '^/(run/k3s|var/lib/kubelet)/' | sort
ip -o link show cni0 | grep -o cni0
iptables-save -t nat | grep -oE '^:(KUBE-SERVICES|CNI-theirs)'
"""
PLANT = r"""
mkdir -p /etc/courseload && touch /etc/courseload/theirs
iptables -t nat -N CNI-theirs
iptables -t nat -A POSTROUTING -s 192.0.2.1 -m comment --comment 'name: "podman" id: "x"' -j CNI-theirs
"""


@pytest.fixture(scope="module")
def theirs(cluster: list[Host], probes: dict[str, str], kubectl: Kubectl) -> dict[str, str]:
    """The cluster's hosts as somebody else runs them; returns what is on each."""
    for host in cluster:
        run(host, PLANT)
    seen: list[dict[str, str]] = []

    def settled() -> bool:
        """Whether nothing has changed for a while: a server that was just off still starts its pods anew."""
        seen.append({host.name: run(host, THEIRS) for host in cluster})
        time.sleep(STILL_S)
        return {host.name: run(host, THEIRS) for host in cluster} == seen[-1]

    names = {host.name for host in cluster}
    eventually("a pod on each node", lambda: set(kubectl.nodes_of("app=probe").values()) == names, READY_S)
    eventually("the hosts stay as they are", settled, READY_S)
    return seen[-1]


def containers_of(kubectl: Kubectl) -> set[tuple[str, int]]:
    """The containers of the probes, and how often they were restarted."""
    pods = kubectl.get("pods", "--selector=app=probe")["items"]
    return {(one["containerID"], one["restartCount"]) for pod in pods for one in pod["status"]["containerStatuses"]}


def test_a_node_of_anothers_cluster_is_not_removed(
    theirs: dict[str, str], cluster: list[Host], kubectl: Kubectl, built: Release
) -> None:
    done = playbook("playbooks/remove_node.yml", release=built, node=cluster[1].name)
    assert not done.ok
    assert "courseload has not set up" in " ".join(done.reasons)
    assert kubectl.ready_nodes() == {host.name for host in cluster}
    assert {host.name: run(host, THEIRS) for host in cluster} == theirs


def test_a_reset_leaves_a_cluster_that_courseload_has_not_made(
    theirs: dict[str, str], cluster: list[Host], kubectl: Kubectl, built: Release
) -> None:
    before = containers_of(kubectl)
    done = playbook("playbooks/reset.yml", release=built, confirm="yes")
    assert done.ok, done.output[-4000:]
    assert done.output.count("has a k3s that courseload has not set up") == len(cluster)
    assert {host.name: run(host, THEIRS) for host in cluster} == theirs
    assert kubectl.ready_nodes() == {host.name for host in cluster}
    assert containers_of(kubectl) == before
