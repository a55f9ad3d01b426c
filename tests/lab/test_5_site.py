"""The cluster of the inventory: from bare hosts to serving, what stops it, and what it can be relied on for."""

from __future__ import annotations

import hashlib
import json
import shlex
import stat
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

import dashboards
from dashboards.model import Need
from helpers.load import assert_nothing_lost
from helpers.machine import REPOSITORY
from helpers.panels import SHOWN_S, assert_prometheus_answers, expression, panels
from helpers.playbook import Play
from lab import hosts
from lab.cluster import Kubectl, RemoteError, assert_rotated, eventually, key_files, run
from lab.hosts import Host
from lab.paths import INVENTORY, LAB
from lab.release import Release
from lab.system import (
    NAMESPACE,
    Workload,
    assert_no_failure_later,
    described,
    load_test,
    one_pod,
    prometheus,
    replicas,
)
from lab.system import run as playbook
from lab.traces import Traces

ROUTES = ("relay", "direct")
LARGER = LAB / "larger.yml"

# A test sets up, or upgrades, a whole cluster.
pytestmark = pytest.mark.timeout(1200)

# Enough for the routes' containers to use half of the CPU that three of them ask for.
LOAD_USERS, LOAD_RATE = 100, 6

STRANGER = """\
apiVersion: v1
kind: Pod
metadata: {{name: stranger, labels: {{app: stranger}}}}
spec:
  automountServiceAccountToken: false
  securityContext: {{runAsNonRoot: true, runAsUser: 10001, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: stranger
      image: {image}
      imagePullPolicy: Never
      command: [sleep, "600"]
      securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
"""

# What a reset may have forgotten: each line that it prints is a trace.
LEAVINGS = r"""
ps -e -o args= | grep -E 'k3s|containerd|kube|conmon|courseload|locust' | grep -v grep
cut -d ' ' -f 5 /proc/self/mountinfo | grep -E 'k3s|kubelet/|/cni-|rancher/'
ip -o link show | grep -oE ' (cni|flannel|veth|podman)[^:@]*'
iptables-save | grep -E 'KUBE|CNI-|flannel'
ip route show | grep -E '10\.4[23]\.'
nft list tables | grep courseload
ls -d /etc/rancher /etc/courseload /var/lib/courseload /usr/local/bin/k3s /run/k3s /run/flannel 2>/dev/null
ls /etc/systemd/system | grep -E 'k3s|courseload'
find /var/lib/rancher /var/lib/kubelet -mindepth 1
find /var/lib/cni -type f 2>/dev/null
true
"""


@pytest.fixture(scope="module")
def fleet(before: Traces) -> dict[str, Host]:
    """Bare hosts of the default inventory."""
    hosts.down()
    wanted = hosts.read(INVENTORY)
    hosts.up(wanted)
    return {host.name: host for host in wanted}


@pytest.fixture(scope="module")
def kubectl(fleet: dict[str, Host]) -> Kubectl:
    return Kubectl(fleet["server1"])


@pytest.fixture(scope="module")
def installed(request: pytest.FixtureRequest) -> Release:
    """The release that the hosts get: where an upgrade is tested, the one before, which takes minutes to build."""
    of_this_file = [item for item in request.session.items if item.path == request.path]
    upgraded = any(item.get_closest_marker("long") for item in of_this_file)
    release: Release = request.getfixturevalue("earlier" if upgraded else "built")
    return release


@pytest.fixture(scope="module")
def site(fleet: dict[str, Host], installed: Release) -> Play:
    """The whole system, on bare hosts."""
    done = playbook("site.yml", release=installed)
    assert done.ok, done.output[-8000:]
    return done


def stopped(done: Play, *words: str, but_for: Sequence[str] = ()) -> None:
    """A run that stopped with a sentence that has these words, and changed nothing but by these tasks."""
    assert not done.ok, done.output[-4000:]
    said = " ".join(done.reasons)
    assert all(word in said for word in words), said or done.output[-4000:]
    assert set(done.changes) <= set(but_for)


def test_a_check_on_bare_hosts_passes(fleet: dict[str, Host], installed: Release) -> None:
    done = playbook("site.yml", "--check", release=installed)
    assert done.ok, done.output[-4000:]
    assert {name: run(host, LEAVINGS).strip() for name, host in fleet.items()} == dict.fromkeys(fleet, "")


@contextmanager
def temporarily(host: Host, change: str, undo: str) -> Iterator[None]:
    run(host, change)
    try:
        yield
    finally:
        run(host, undo)


def test_two_hosts_of_one_name_are_refused(fleet: dict[str, Host], installed: Release) -> None:
    # With its address, or sudo asks the network for it, and may wait longer than Ansible does.
    renamed = "cp /etc/hosts /root/hosts && echo 127.0.1.1 agent1 >> /etc/hosts && hostname agent1"
    with temporarily(fleet["agent2"], renamed, "hostname agent2 && cat /root/hosts > /etc/hosts && rm /root/hosts"):
        stopped(playbook("playbooks/hosts.yml", release=installed), "agent1", "agent2", "name")


def test_a_clock_that_is_off_by_minutes_is_refused(fleet: dict[str, Host], installed: Release) -> None:
    # The hosts have the machine's clock; what tells it there is another one for a while.
    wrapper = '#!/bin/sh\nexec faketime -f +5m /usr/bin/date "$@"\n'
    run(fleet["agent2"], f"printf %s {shlex.quote(wrapper)} > /usr/local/bin/date; chmod 755 /usr/local/bin/date")
    try:
        done = playbook("playbooks/hosts.yml", release=installed)
    finally:
        run(fleet["agent2"], "rm /usr/local/bin/date")
    stopped(done, "agent2", "clock")


def test_a_host_that_is_off_is_named(fleet: dict[str, Host], installed: Release) -> None:
    hosts.power_off(fleet["load2"])
    try:
        stopped(playbook("playbooks/hosts.yml", release=installed), "load2", fleet["load2"].address)
    finally:
        hosts.power_on(fleet["load2"])


def test_a_download_with_another_checksum_is_refused(
    fleet: dict[str, Host], installed: Release, tmp_path: Path
) -> None:
    for file in (installed.binary, installed.images):
        (tmp_path / file.name).symlink_to(file)
    sums = installed.checksums.read_text()
    (tmp_path / installed.checksums.name).write_text(sums.replace(sums[:8], "0" * 8))
    done = playbook("playbooks/cluster.yml", release=Release(tmp_path, "v1.35.99+k3s1"))
    stopped(done, "k3s", "0" * 8, but_for=["Fetch the publishers' checksums", "Download"])


def test_a_mesh_whose_charts_are_out_of_reach_stops_before_anything_changes(
    fleet: dict[str, Host], installed: Release, tmp_path: Path
) -> None:
    done = playbook("playbooks/hosts.yml", release=installed, mesh="linkerd", linkerd_dir=str(tmp_path))
    stopped(done, "linkerd-crds-2026.10.1.tgz", "linkerd_dir", "mesh=none", but_for=["Download"])


def test_bare_hosts_become_a_system_that_serves(site: Play, fleet: dict[str, Host], kubectl: Kubectl) -> None:
    assert kubectl.ready_nodes() == {name for name, host in fleet.items() if {"servers", "agents"} & set(host.groups)}


def test_a_second_run_changes_nothing(site: Play, installed: Release) -> None:
    again = playbook("site.yml", release=installed)
    assert again.ok, again.output[-4000:]
    assert again.changes == []


def test_a_check_of_what_is_there_changes_nothing(site: Play, installed: Release) -> None:
    done = playbook("site.yml", "--check", release=installed)
    assert done.ok, done.output[-4000:]
    assert done.changes == []


def reaches(kubectl: Kubectl, pod: str, namespace: str, host: str, port: int) -> bool:
    program = f"import socket; socket.create_connection(({host!r}, {port}), 2)"
    try:
        kubectl("exec", f"--namespace={namespace}", pod, "--", "python3", "-c", program, seconds=30)
    except RemoteError:
        return False
    return True


@pytest.fixture(scope="module")
def workloads(site: Play) -> dict[str, Workload]:
    """The workloads by name, as group_vars describes them."""
    return described()


def test_every_workload_is_reached_by_its_callers_and_by_nobody_else(
    workloads: dict[str, Workload], kubectl: Kubectl
) -> None:
    pods = {name: one_pod(kubectl, name, workload.namespace) for name, workload in workloads.items()}
    python = [name for name in workloads if workloads[name].image == "services"]
    found = {
        (caller, callee)
        for caller in python
        for callee, workload in workloads.items()
        if caller != callee
        and reaches(kubectl, pods[caller], NAMESPACE, f"{callee}.{workload.namespace}", workload.port)
    }
    assert found == {(caller, callee) for caller in python for callee in workloads[caller].calls}


@pytest.mark.parametrize("namespace", [NAMESPACE, "default"])
def test_a_pod_that_nobody_knows_reaches_no_workload(
    namespace: str, workloads: dict[str, Workload], kubectl: Kubectl
) -> None:
    image = kubectl.get("deployment", "relay", f"--namespace={NAMESPACE}")["spec"]["template"]["spec"]["containers"][0][
        "image"
    ]
    kubectl("apply", f"--namespace={namespace}", "-f", "-", content=STRANGER.format(image=image))
    try:
        kubectl(
            "wait", f"--namespace={namespace}", "--for=condition=Ready", "pod/stranger", "--timeout=60s", seconds=90
        )
        reached = {
            name
            for name, workload in workloads.items()
            if reaches(kubectl, "stranger", namespace, f"{name}.{workload.namespace}", workload.port)
        }
    finally:
        kubectl("delete", f"--namespace={namespace}", "pod/stranger", "--now", seconds=90)
    assert reached <= {"ingress"}, "the ingress alone is open to everyone"


def test_a_load_test_scales_the_routes_out_and_they_come_back(site: Play, installed: Release, kubectl: Kubectl) -> None:
    most: dict[str, int] = dict.fromkeys(ROUTES, 0)
    with load_test(installed, users=LOAD_USERS, rate=LOAD_RATE, duration="100s", slo_p99_ms=10_000) as test:
        while test.process.poll() is None:
            for route in ROUTES:
                most[route] = max(most[route], replicas(kubectl, route))
            time.sleep(2)
        summary, data = test.summary(), test.data()
    assert most == dict.fromkeys(ROUTES, 3)
    assert_nothing_lost(summary)
    for route in ROUTES:
        assert summary["routes"][route]["share"] == pytest.approx(0.5, abs=0.02)
        assert max(row["replicas"] or 0 for row in data["workloads"][route]) == 3, "the report shows it"
    eventually("one replica of each route", lambda: {replicas(kubectl, route) for route in ROUTES} == {1}, 300)


def stored(ops: Host) -> tuple[dict[str, int], int]:
    """How many notes of each course the reader finds, and how many Redis has counted too few; once both answer."""
    answer = run(ops, "curl --silent --fail --max-time 20 'http://127.0.0.1:8030/notes/counts?by=curso'")
    found = json.loads(answer)
    return {row["text"]: row["notes"] for row in found["counts"]}, found["direct"]["difference"]


@pytest.mark.long
def test_a_lost_cluster_database_comes_back_from_a_backup(
    site: Play, installed: Release, fleet: dict[str, Host], kubectl: Kubectl, tmp_path: Path
) -> None:
    folder, ops = tmp_path / "backup", fleet["ops1"]
    notes, _ = stored(ops)
    assert sum(notes.values()) > 1000
    saved = playbook("playbooks/backup.yml", release=installed, backup_dir=str(folder))
    assert saved.ok, saved.output[-6000:]
    keys = ("datastore", "k3s-server.tar.gz", "control-machine.tar.gz")
    files = {"SHA256SUMS", "manifest.json", "counters.json", "notes.bson.gz", *keys}
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == dict.fromkeys(files, 0o600)
    with tarfile.open(folder / "k3s-server.tar.gz") as archive:
        assert {"token", "cred", "tls"} <= {name.split("/")[0] for name in archive.getnames()}
    # Etcd ends its snapshots with their sum.
    assert (folder / "datastore").stat().st_size % 512 == hashlib.sha256().digest_size

    lost = ("mongodb", "redis")
    claims = kubectl.get("pvc", f"--namespace={NAMESPACE}")["items"]
    names = [name for claim in claims if (name := claim["metadata"]["name"]).endswith(tuple(f"{of}-0" for of in lost))]
    kubectl("delete", f"--namespace={NAMESPACE}", "--wait=false", "pvc", *names)
    kubectl("delete", f"--namespace={NAMESPACE}", "pod", *(f"{name}-0" for name in lost), seconds=120)
    for name in lost:
        kubectl("rollout", "status", f"--namespace={NAMESPACE}", f"statefulset/{name}", "--timeout=150s", seconds=180)
    restored = playbook("playbooks/restore.yml", release=installed, backup_dir=str(folder))
    assert restored.ok, restored.output[-6000:]
    # The reader's way to the new pods is made anew.
    eventually("every note is back and counted", lambda: stored(ops) == (notes, 0), 60)
    assert {replicas(kubectl, name) for name in (*ROUTES, "ledger")} == {1}


def test_prometheus_sees_everything_in_the_cluster(site: Play, fleet: dict[str, Host]) -> None:
    ops = fleet["ops1"]
    nodes = {name for name, host in fleet.items() if {"servers", "agents"} & set(host.groups)}

    def unseen() -> list[dict[str, str]]:
        rows = prometheus(ops, "query", query='up{workload!="loadtest"} == 0')["result"]
        return [row["metric"] for row in rows]

    # What is told of certificates is asked for every two minutes.
    eventually("every target is up", lambda: unseen() == [], 150)
    seen = [row["metric"] for row in prometheus(ops, "query", query="up == 1")["result"]]
    assert {row["workload"] for row in seen} >= {*described(), "prometheus-agent", "kubelet", "host", "prometheus"}
    assert {row["host"] for row in seen if row["workload"] == "kubelet"} == nodes
    good = 'k3s_certificate_expiration_seconds{usages!="CertSign"} > 360 * 86400'
    assert {row["metric"]["host"] for row in prometheus(ops, "query", query=good)["result"]} == nodes
    for name in ("cpu_used:ratio30s", "memory_used:ratio", "disk_used:ratio"):
        rows = prometheus(ops, "query", query=f"host:{name} > 0 and host:{name} <= 1")["result"]
        assert {row["metric"]["host"] for row in rows} == nodes | {"ops1"}, name


def test_every_rule_has_rows_and_no_alert_fires(site: Play, fleet: dict[str, Host]) -> None:
    ops = fleet["ops1"]
    rules = [rule for group in prometheus(ops, "rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    recorded = {rule["name"] for rule in rules if rule["type"] == "recording"}
    empty = {name for name in recorded if not prometheus(ops, "query", query=f"last_over_time({name}[10m])")["result"]}
    assert empty == set()
    # What the load test did to the latency is over.
    eventually("no alert", lambda: not prometheus(ops, "query", query='ALERTS{alertstate="firing"}')["result"], 120)


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_what_grafanas_panels_ask_of_prometheus_has_answers(site: Play, fleet: dict[str, Host], name: str) -> None:
    end = time.time()
    faults = {}
    # Those that need a mesh, which the lab has not, are the only ones left out.
    needs = {panel.needs for panel in dashboards.DASHBOARDS[name].panels().values()} - {Need.MESH}
    for panel in (panel for need in needs for panel in panels(name, need)):
        for target in (target for target in panel["targets"] if "expr" in target):
            asked = {"query": expression(target), "start": end - SHOWN_S, "end": end, "step": 5}
            try:
                assert_prometheus_answers(panel, target, prometheus(fleet["ops1"], "query_range", **asked)["result"])
            except AssertionError as fault:
                faults[f"{panel['title']} ({panel['id']}{target['refId']})"] = str(fault)
    assert faults == {}


def test_only_what_collects_figures_may_write_to_prometheus(site: Play, fleet: dict[str, Host]) -> None:
    address = fleet["ops1"].address
    ask = f"curl --silent --max-time 5 --output /dev/null --write-out '%{{http_code}}' http://{address}"
    # A node comes as far as the gate, and without the password no further; nobody else comes so far.
    assert run(fleet["agent1"], f"{ask}:9091/api/v1/write --request POST || true") == "404"
    assert run(fleet["agent1"], f"{ask}:9091/api/v1/query?query=up || true") == "404"
    assert run(fleet["load1"], f"{ask}:9091/api/v1/write --request POST || true") == "000"
    for host in ("agent1", "load1"):
        assert run(fleet[host], f"{ask}:9090/api/v1/query?query=up || true") == "000"


def test_a_node_that_routes_the_ops_hosts_pods_to_it_reaches_none_of_them(site: Play, fleet: dict[str, Host]) -> None:
    ops, node = fleet["ops1"], fleet["agent1"]
    look = (
        "podman inspect prometheus-prometheus --format '{{(index .NetworkSettings.Networks \"courseload\").IPAddress}}'"
    )
    pod = run(ops, look).strip()
    ask = (
        f"curl --silent --max-time 3 --output /dev/null --write-out '%{{http_code}}' http://{pod}:9090/-/ready || true"
    )
    with temporarily(node, f"ip route add {pod} via {ops.address}", f"ip route del {pod} via {ops.address}"):
        with temporarily(ops, "nft delete table inet courseload", "systemctl restart courseload-firewall"):
            assert run(node, ask) == "200", "else it would prove nothing that nobody answers"
        assert run(node, ask) == "000"


def test_a_wrong_token_stops_with_its_reason(site: Play, fleet: dict[str, Host], installed: Release) -> None:
    drop_in = "/etc/rancher/k3s/config.yaml.d/99-wrong.yaml"
    run(
        fleet["agent2"],
        f"mkdir -p $(dirname {drop_in}) && echo 'token: nonsense' > {drop_in} && systemctl stop k3s-agent",
    )
    try:
        done = playbook("playbooks/cluster.yml", release=installed)
        assert not done.ok
        assert "token" in " ".join(done.reasons)
    finally:
        run(fleet["agent2"], f"rm {drop_in}; systemctl start --no-block k3s-agent")


def test_a_host_added_to_the_inventory_joins(
    site: Play, fleet: dict[str, Host], installed: Release, kubectl: Kubectl
) -> None:
    added = [host for host in hosts.read(LARGER) if host.name not in fleet]
    hosts.up(hosts.read(LARGER))
    done = playbook("site.yml", release=installed, inventory=LARGER)
    assert done.ok, done.output[-8000:]
    eventually("it is Ready", lambda: {host.name for host in added} <= kubectl.ready_nodes(), 60)


def test_the_routes_are_back_within_a_minute_after_a_node_was_powered_off(
    site: Play, fleet: dict[str, Host], installed: Release, kubectl: Kubectl
) -> None:
    # The node that came last keeps no database; now it gets its share of everything else.
    victim = next(host for host in hosts.read(LARGER) if host.name == "agent3")
    for namespace in (NAMESPACE, "ingress"):
        kubectl("rollout", "restart", f"--namespace={namespace}", "deployment")
    for namespace, name in ((NAMESPACE, "ledger"), (NAMESPACE, "relay"), (NAMESPACE, "direct"), ("ingress", "ingress")):
        kubectl("rollout", "status", f"--namespace={namespace}", f"deployment/{name}", "--timeout=120s", seconds=150)
    with load_test(
        installed, inventory=LARGER, users=40, duration="120s", slo_failure_ratio=1, slo_p99_ms=60_000
    ) as test:
        hosts.power_off(victim)
        off = time.time()
        try:
            test.assert_under_way()
            summary, data = test.summary(), test.data()
        finally:
            hosts.power_on(victim)
    assert_nothing_lost(summary)
    assert_no_failure_later(data, off, 60)
    eventually("the node is back", lambda: victim.name in kubectl.ready_nodes(), 120)


def test_a_node_is_removed_under_load_and_nothing_is_lost(
    site: Play, fleet: dict[str, Host], installed: Release, kubectl: Kubectl
) -> None:
    with load_test(
        installed, inventory=LARGER, users=40, duration="120s", slo_failure_ratio=1, slo_p99_ms=60_000
    ) as test:
        done = playbook("playbooks/remove_node.yml", release=installed, inventory=LARGER, node="agent3")
        assert done.ok, done.output[-8000:]
        test.assert_under_way()
        summary, data = test.summary(), test.data()
    assert "agent3" not in {node["metadata"]["name"] for node in kubectl.get("nodes")["items"]}
    assert_nothing_lost(summary)
    # Users whose way in was that node find another one.
    assert summary["failure_ratio"] < 0.05, summary
    assert not any(row["failures"] for row in data["load"]["series"][-10:]), "it serves without a failure again"
    hosts.remove("agent3")


@pytest.mark.long
def test_faults_are_made_on_their_nodes_and_cost_no_note(
    site: Play, fleet: dict[str, Host], installed: Release, tmp_path: Path
) -> None:
    """One of each kind of place: a container, a call, a caller, and nodes; on different nodes at once; and restarts."""
    wanted = (
        *("out-of-memory/ledger", "cut-off/agent1", "server-stopped/server1", "rebooted/agent1", "power-cut/agent2"),
        "killed/redis+refused/direct-redis@1+nameless/relay@2+starved/mongodb@3",
    )
    with hosts.restarting():
        done = playbook(
            "chaos.yml",
            release=installed,
            faults=",".join((*wanted, "clock-ahead/agent1")),
            chaos_rate=40,
            locust_reports_dir=str(tmp_path),
        )
    (found,) = tmp_path.glob("*-chaos/chaos.json")
    chaos = json.loads(found.read_text())
    trials = {trial["name"]: trial for trial in chaos["trials"]}
    assert {name: trial["verdict"] for name, trial in trials.items()} == dict.fromkeys(wanted, "survived")
    (impossible,) = chaos["impossible"]
    assert impossible["why"] == "this host is a container, which has the clock of its machine"
    assert done.ok, done.output[-4000:]
    for host in fleet.values():
        run(host, "! nft list tables | grep fault && ! ls -d /var/lib/courseload/faults")


@pytest.mark.long
def test_an_upgrade_under_load_fails_no_request_but_for_those_that_may_come_back(
    site: Play, fleet: dict[str, Host], built: Release, kubectl: Kubectl
) -> None:
    for name in kubectl.ready_nodes():
        # As it was before there was a Kubernetes that needed it.
        run(fleet[name], "sed -i /fail-cgroupv1/d /etc/rancher/k3s/config.yaml")
    with load_test(built, users=40, duration="300s", slo_failure_ratio=1, slo_p99_ms=60_000) as test:
        done = playbook("playbooks/upgrade.yml", release=built)
        assert done.ok, done.output[-8000:]
        test.assert_under_way()
        summary, data = test.summary(400), test.data()
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in kubectl.get("nodes")["items"]} == {built.version}
    assert_nothing_lost(summary)
    kinds = {kind for kinds in data["load"]["errors"].values() for kind in kinds}
    assert kinds <= {"HTTP 503, with Retry-After"}, kinds


@pytest.mark.long
def test_certificates_are_rotated_under_load_and_fail_no_request_but_for_those_that_may_come_back(
    site: Play, fleet: dict[str, Host], built: Release, kubectl: Kubectl
) -> None:
    before = {name: key_files(fleet[name]) for name in kubectl.ready_nodes()}
    with load_test(built, users=40, duration="240s", slo_failure_ratio=1, slo_p99_ms=60_000) as test:
        done = playbook("playbooks/rotate_k3s_certificates.yml", release=built, k3s_rotate_days=366)
        assert done.ok, done.output[-8000:]
        test.assert_under_way()
        summary, data = test.summary(400), test.data()
    for name, files in before.items():
        assert_rotated(files, key_files(fleet[name]))
    assert_nothing_lost(summary)
    kinds = {kind for kinds in data["load"]["errors"].values() for kind in kinds}
    assert kinds <= {"HTTP 503, with Retry-After"}, kinds
    own = yaml.safe_load((REPOSITORY / "secrets/lab.kubeconfig").read_text())["users"][0]["user"]
    admin = run(fleet["server1"], "base64 --wrap=0 /var/lib/rancher/k3s/server/tls/client-admin.crt")
    assert own["client-certificate-data"] == admin
    again = playbook("playbooks/rotate_k3s_certificates.yml", release=built)
    assert again.ok, again.output[-4000:]
    assert again.changes == []


def test_reset_leaves_nothing_on_the_hosts(site: Play, fleet: dict[str, Host], built: Release) -> None:
    done = playbook("playbooks/reset.yml", release=built, confirm="yes")
    assert done.ok, done.output[-8000:]
    assert {name: run(host, LEAVINGS).strip() for name, host in fleet.items()} == dict.fromkeys(fleet, "")
