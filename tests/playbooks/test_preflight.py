"""What stops site.yml before it changes anything: each with one sentence that says what to do."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import machine, playbook
from helpers.machine import REPOSITORY
from helpers.playbook import Play, link_variables, write_playbook

# Images that no machine has: their tags depend on the uid, so the checks of what a build needs take place everywhere.
UNBUILT = {"container_uid": 10999}
NOT_HERE = machine.obstacle()

pytestmark = pytest.mark.skipif(
    NOT_HERE is not None, reason=f"the checks on this machine stop at the first: it {NOT_HERE}"
)


def play(*arguments: Any, **variables: Any) -> Play:
    """Runs a playbook; again where it met a volume in the making, of the system that is set up beside these tests."""
    for _ in range(5):
        done = playbook.play(*arguments, **variables)
        if not any("-scratch-" in reason for reason in done.reasons):
            break
        time.sleep(3)
    return done


def stopped(run: Play, *words: str) -> None:
    """Asserts that a run stopped early, changed nothing, and says these words in a sentence."""
    assert not run.ok, run.output
    assert run.changes == []
    said = " ".join(run.reasons)
    assert all(word in said for word in words), said
    assert "MODULE FAILURE" not in run.output
    assert "Traceback" not in run.output


def in_namespace(*options: str) -> list[str]:
    """A command that runs another in namespaces of its own; skips where the kernel has none for us."""
    command = ["unshare", *options]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        pytest.skip(f"{' '.join(command)} is not possible on this machine")
    return command


@pytest.fixture
def other_system(tmp_path: Path) -> list[str]:
    """A command that shows another distribution to what it runs."""
    (tmp_path / "os-release").write_text('NAME="Fedora Linux"\nID=fedora\nVERSION_ID=42\n')
    (tmp_path / "debian_version").write_text("")
    script = f"for file in /etc/os-release /usr/lib/os-release; do mount --bind {tmp_path}/os-release $file; done"
    hide = f'; mount --bind {tmp_path}/debian_version /etc/debian_version; exec "$@"'
    return [*in_namespace("--mount"), "sh", "-c", script + hide, "sh"]


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_all_that_the_host_lacks_stops_it_with_a_sentence_each(taken_port: int) -> None:
    lacking = {"host_memory_mb": str(10**9), "host_disk_mb": 10**9, "ingress_port": taken_port}
    run = play("site.yml", **UNBUILT, **lacking)
    stopped(run, f"MiB of memory and {10**9} are needed: use a larger host, or set host_memory_mb")
    stopped(run, "MiB are free", "free some space", str(taken_port), "ingress_port")


def test_stops_without_the_network_that_builds_need() -> None:
    stopped(play("site.yml", **UNBUILT, host_network_probes=["http://127.0.0.1:9/"]), "127.0.0.1:9/ cannot be reached")


BROUGHT = """\
- name: Check
  ansible.builtin.include_role: {name: host, tasks_from: preflight}
"""


@pytest.mark.parametrize(("images", "words"), [(1, []), (10**5, ["MiB are free", f"{500 * (10**5 + 1)} are needed"])])
def test_images_that_are_brought_need_space_and_no_network(tmp_path: Path, images: int, words: list[str]) -> None:
    variables = {
        "host_ports": [],
        "host_images": ["localhost/courseload/brought:1"] * images,
        "host_builds": False,
        "host_network_probes": ["http://127.0.0.1:9/"],
    }
    run = play(write_playbook(tmp_path, BROUGHT), inventory=str(REPOSITORY / "inventory/local.yml"), **variables)
    if words:
        stopped(run, *words)
    else:
        assert run.ok, run.output


def test_stops_without_root() -> None:
    stopped(play("site.yml", within=in_namespace("--user")), "root", "sudo")


def test_stops_on_another_distribution(other_system: list[str]) -> None:
    stopped(play("site.yml", within=other_system), "Debian 12", "Ubuntu 24.04")


@pytest.mark.parametrize(
    "settings",
    [
        {
            "routes": "relay",
            "ingress_port": "65536",
            "ingress_address": "256.1.1.1",
            "prometheus_port": "0",
            "prometheus_retention": "15",
            "prometheus_retention_size": "1GiB",
            "prometheus_memory": "512MB",
        },
        {"routes": {"relay": 0, "direct": 0}, "ingress_port": "abc", "ingress_address": "1.2.3"},
        {"routes": {"relay": -5, "direct": 10}},
        {"routes": {"relay": 0.5}},
        {"routes": {"redis": 50, "direct": 50}},
    ],
    ids=str,
)
def test_stops_on_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    stopped(play("site.yml", **settings), *(f"{name} must be" for name in settings))


def test_a_load_test_stops_on_routes_that_cannot_be() -> None:
    stopped(play("loadtest.yml", routes={"relay": 0.5}), "routes must be", "relay: 90")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {
                "users": 1,
                "duration": "8s",
                "rate": 0.05,
                "shape": "wave",
                "objectives": [{"of": "total", "what": "p99"}],
            },
            [
                "rate must be high enough for a request to fall due",
                "not '0.05'",
                "shape must be one of constant, ramp, steps, spike, soak",
                "not 'wave'",
                "objectives, number 1: its keys must be of, what and, for p99, at_most, not 'of, what'",
            ],
        ),
        (
            {"duration": "soon", "objectives": [{"of": "total", "what": "throughput", "at_least": 201}]},
            ["duration must be at least 5 seconds, written like 60s", "up to the 200 that are asked"],
        ),
        ({"baseline": "/nowhere"}, ["baseline must be a directory with the reports of 3 runs", "which has 0"]),
    ],
    ids=str,
)
def test_a_load_test_that_cannot_be_is_refused(settings: dict[str, Any], words: list[str]) -> None:
    stopped(play("loadtest.yml", **settings), *words)


def test_a_search_for_the_capacity_that_cannot_be_is_refused() -> None:
    settings: dict[str, Any] = {"capacity_step": "2s", "capacity_precision": 0, "capacity_limit": "10s"}
    run = play("capacity.yml", **settings)
    stopped(run, *(f"{name} must be" for name in settings))


def test_a_comparison_that_cannot_be_is_refused() -> None:
    run = play("capacity.yml", a={"rute_cpu": "1"}, b={"routes": {"relay": -1}}, ab_rounds=1)
    stopped(run, "routes must be weights")
    run = play("capacity.yml", a={"rute_cpu": "1"}, b={"routes": {"relay": 1}}, ab_rounds=1)
    stopped(run, "rute_cpu is no setting", "ab_rounds must be")


def cluster(directory: Path, **groups: dict[str, dict[str, Any]]) -> str:
    """The inventory of a cluster with these groups of hosts."""
    path = directory / "cluster.yml"
    inventory = {"vars": {"platform": "k3s"}, "children": {name: {"hosts": hosts} for name, hosts in groups.items()}}
    path.write_text(yaml.safe_dump({"all": inventory}))
    return str(path)


def test_a_cluster_needs_its_groups(tmp_path: Path) -> None:
    agents: dict[str, Any] = {"two": {}, "three": {"ansible_host": "one"}}
    groups: dict[str, dict[str, Any]] = {
        "servers": {"one": {}, "two": {}},
        "agents": agents,
        "ops": {"four": {}, "five": {}},
    }
    run = play("playbooks/hosts.yml", inventory=cluster(tmp_path, **groups))
    stopped(run, "has 2 servers", "has 2 hosts in its group ops", "no host to send load", "two cannot be both")
    stopped(run, "one and three (one) have the same address")


def test_a_clusters_settings_are_checked_before_any_host_is_asked(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {
        "cluster_name": "a/b",
        "k3s_version": "1.34",
        "ingress_node_port": 80,
        "cluster_pod_network": "10.42.0.0",
        "cluster_service_network": "10.43.0.1/16",
        "bundle_dir": str(tmp_path),
        "registry_mirror": "10.0.0.5:5000",
        "http_proxy": "proxy",
        "firewall_allowed": ["10.0.0.0/8", "everyone"],
    }
    inventory = cluster(tmp_path, servers={"one": {}}, ops={"two": {}}, load={"three": {}})
    stopped(play("playbooks/hosts.yml", inventory=inventory, **wrong), *(f"{name} must be" for name in wrong))


HERE = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}


def test_a_node_needs_a_name_that_kubernetes_takes(tmp_path: Path) -> None:
    renamed = [*in_namespace("--uts"), "sh", "-c", 'echo Server_1 > /proc/sys/kernel/hostname; exec "$@"', "sh"]
    inventory = cluster(tmp_path, servers={"one": HERE}, ops={"two": HERE}, load={"three": HERE})
    stopped(
        play("playbooks/hosts.yml", inventory=inventory, within=renamed), "one's host name is Server_1", "hostnamectl"
    )


@pytest.fixture
def guarded(tmp_path: Path) -> list[str]:
    """A command that shows a machine with an active ufw to what it runs."""
    (tmp_path / "etc/ufw").mkdir(parents=True)
    (tmp_path / "etc/ufw/ufw.conf").write_text("ENABLED=yes\n")
    (tmp_path / "sbin").mkdir()
    (tmp_path / "sbin/ufw").write_text("#!/bin/sh\n")
    (tmp_path / "sbin/ufw").chmod(0o755)
    over = "mount -t overlay over -o lowerdir={}:{} {}"
    script = "; ".join(
        over.format(tmp_path / name, path, path) for name, path in (("etc", "/etc"), ("sbin", "/usr/sbin"))
    )
    return [*in_namespace("--mount"), "sh", "-c", f'{script}; exec "$@"', "sh"]


def test_a_firewall_of_somebody_else_is_named_with_what_to_open(tmp_path: Path, guarded: list[str]) -> None:
    inventory = cluster(tmp_path, servers={"one": HERE}, ops={"two": HERE}, load={"three": HERE})
    run = play("playbooks/hosts.yml", inventory=inventory, within=guarded)
    stopped(run, "one's ufw would block", "6443/tcp, 2379:2380/tcp, 10250/tcp, 8472/udp", "30080/tcp", "10.42.0.0/16")
    stopped(run, "two's ufw would block", "5557/tcp, 9091/tcp", "host_other_firewalls=true", "ufw disable")
    assert "three's ufw" not in " ".join(run.reasons), "nothing comes in there"
    told = play("playbooks/hosts.yml", inventory=inventory, within=guarded, host_other_firewalls=True)
    stopped(told, "two")
    assert "ufw" not in " ".join(told.reasons)


# Checks hosts that nobody reaches, by what was learned of them.
CHECK = """\
- name: Check
  hosts: servers
  gather_facts: false
  vars: {{repository_root: {repository}}}
  roles: [settings]
  tasks:
    - name: Learn
      ansible.builtin.set_fact:
        cacheable: true
        hostname: "{{{{ inventory_hostname }}}}"
        architecture: x86_64
        service_mgr: systemd
        all_ipv4_addresses: ["{{{{ host_address }}}}"]
        default_ipv4: {{address: "{{{{ host_address }}}}"}}
        __host_clock_s: 0
        __host_other_firewalls: []
    - name: Check
      ansible.builtin.include_role: {{name: "{repository}/roles/{role}", tasks_from: {tasks}}}
"""


def check(directory: Path, role: str, tasks: str, **hosts: dict[str, Any]) -> Path:
    """A playbook that runs these tasks of a role for these servers; beside it is their inventory, cluster.yml."""
    playbook = directory / "check.yml"
    playbook.write_text(CHECK.format(repository=machine.REPOSITORY, role=role, tasks=tasks))
    link_variables(directory)
    servers = {
        name: {"host_address": f"192.0.2.{number}"} | more for number, (name, more) in enumerate(hosts.items(), 1)
    }
    cluster(directory, servers=servers)
    return playbook


def test_a_way_in_that_says_nothing_of_this_machines_address_is_named(tmp_path: Path) -> None:
    here = "198.51.100.7"
    jump = {"host_control_address": here, "ansible_ssh_common_args": "-o ProxyJump=bastion.example"}
    playbook = check(
        tmp_path,
        "host",
        "preflight_cluster",
        silent={"host_control_address": ""},
        newer={"host_control_address": "2001:db8::7"},
        jump=jump,
        plain={"host_control_address": here},
        mine={"host_control_address": "", "ansible_connection": "local"},
    )
    inventory = str(tmp_path / "cluster.yml")
    run = play(playbook, inventory=inventory)
    said = " ".join(run.reasons)
    assert "silent's firewall would shut this machine out of the Kubernetes API, since SSH does not say" in said
    assert (
        "newer's firewall would shut this machine out of the Kubernetes API, since SSH comes from 2001:db8::7" in said
    )
    assert "by way of another host (proxyjump bastion.example)" in said
    assert "firewall_allowed" in said
    assert "plain's" not in said
    assert "mine's" not in said
    told = play(playbook, inventory=inventory, firewall_allowed=[here])
    assert "shut this machine out" not in " ".join(told.reasons)
    assert told.ok, told.output


def with_k3s_that_says(tmp_path: Path, answer: str) -> list[str]:
    """A command that shows a k3s, which answers to everything alike, to what it runs."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/k3s"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
    program.chmod(0o755)
    script = f'mount -t overlay over -o lowerdir={tmp_path}/bin:/usr/local/bin /usr/local/bin; exec "$@"'
    return [*in_namespace("--mount"), "sh", "-c", script, "sh"]


def test_a_mesh_whose_keys_are_on_another_machine_is_named_with_what_is_missing(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "anchor.crt").touch()
    within = with_k3s_that_says(tmp_path, "the anchors")
    playbook = check(tmp_path, "linkerd", "preflight", one=HERE)
    inventory = str(tmp_path / "cluster.yml")
    wanted = {"mesh": "linkerd", "linkerd_certificates_dir": str(keys)}
    stopped(
        play(playbook, inventory=inventory, within=within, **wanted), "anchor.key, next.crt", "issuer.key", str(keys)
    )
    # Where there is no cluster yet, they are about to be made.
    assert play(playbook, inventory=inventory, **wanted).ok


def test_a_mesh_that_does_not_trust_the_anchor_that_is_here_is_another_ones(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    for name in ("anchor", "next", "issuer"):
        for kind in ("crt", "key"):
            (keys / f"{name}.{kind}").write_text(f"{name}.{kind} of this machine\n")
    within = with_k3s_that_says(tmp_path, "anchor.crt of another\nnext.crt of another")
    playbook = check(tmp_path, "linkerd", "preflight", one=HERE)
    inventory = str(tmp_path / "cluster.yml")
    wanted = {"mesh": "linkerd", "linkerd_certificates_dir": str(keys)}
    stopped(
        play(playbook, inventory=inventory, within=within, **wanted),
        f"does not trust {keys}/anchor.crt",
        "cluster_name",
    )
    # After a rotation the anchor is the one that was trusted as the next.
    (keys / "anchor.crt").write_text("next.crt of another\n")
    done = play(playbook, inventory=inventory, within=within, **wanted)
    assert done.ok, done.output


def test_names_each_host_that_does_not_answer(tmp_path: Path) -> None:
    unreachable = {"ansible_host": "127.0.0.1", "ansible_user": "nobody"}
    ports = {"servers": 1, "ops": 2, "load": 3}
    groups = {group: {f"{group}1": {**unreachable, "ansible_port": port}} for group, port in ports.items()}
    run = play("playbooks/hosts.yml", inventory=cluster(tmp_path, **groups))
    stopped(run, *(f"{group}1 cannot be reached as nobody@127.0.0.1 port {port}" for group, port in ports.items()))
    stopped(run, "refused", "check that it is on")
