"""What the role k3s decides for a host: whom it joins, what is written there, and what is said of a k3s that is off."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pytest

from helpers.plugins import load

filters: dict[str, Any] = load("filter", "courseload").FILTERS

States = Mapping[str, dict[str, Any] | None]  # what was found on hosts, by name

SERVERS = ["server1", "server2", "server3"]
VERSION = "v1.34.4+k3s1"
ETC = "/etc/rancher/k3s"
SERVER = "/var/lib/rancher/k3s/server"
UNIT = "/etc/systemd/system/k3s.service"


def found(initialized: bool = False, **more: Any) -> dict[str, Any]:
    """What k3s_here finds on a host; a bare one, but for what is said."""
    nothing: dict[str, Any] = {"version": "", "files": {}, "modes": {}, "sums": {}, "config": {}, "foreign": False}
    return nothing | {"initialized": initialized} | more


def hosts(states: States) -> dict[str, Any]:
    """hostvars of hosts by what was found there; None where nothing is known."""
    return {name: {} if state is None else {"k3s_found": state} for name, state in states.items()}


def membership(host: str, kind: str, states: States) -> dict[str, Any]:
    found: dict[str, Any] = filters["k3s_membership"](SERVERS, host, kind, hosts(states))
    return found


# The states of the servers and of an agent; then who asks, whether it joins, and whom.
@pytest.mark.parametrize(
    ("initialized", "host", "joins", "first"),
    [
        ((), "server1", False, "server1"),
        ((), "server2", True, "server1"),
        ((), "agent1", True, "server1"),
        (("server1",), "server1", False, "server1"),
        (("server1",), "server2", True, "server1"),
        (("server2",), "server1", True, "server2"),  # set up anew: no second cluster
        (("server2", "server3"), "server2", False, "server2"),
        (("server2", "server3"), "agent1", True, "server2"),
    ],
)
def test_a_host_joins_a_server_that_has_the_cluster_and_only_the_first_founds_one(
    initialized: tuple[str, ...], host: str, joins: bool, first: str
) -> None:
    states = {name: found(name in initialized) for name in [*SERVERS, "agent1"]}
    cluster = membership(host, "agent" if host == "agent1" else "server", states)
    assert (cluster["joins"], cluster["first"]) == (joins, first)
    assert cluster["members"] == list(initialized)
    assert cluster["unknown"] == []


def test_servers_of_which_nothing_is_known_are_named() -> None:
    cluster = membership("server1", "server", {"server1": found(), "server2": None, "server3": found()})
    assert cluster["unknown"] == ["server2"]


def test_a_node_stays_with_the_server_that_it_has_joined_while_that_is_one() -> None:
    url = filters["k3s_server_url"]
    joined = found(config={"server": "https://10.0.0.2:6443"})
    assert url(joined, ["10.0.0.1", "10.0.0.2"], "10.0.0.1") == "https://10.0.0.2:6443"
    assert url(joined, ["10.0.0.1", "10.0.0.3"], "10.0.0.1") == "https://10.0.0.1:6443"
    assert url(found(), ["10.0.0.1"], "10.0.0.1") == "https://10.0.0.1:6443"
    assert url(found(), ["10.0.0.1"], "") == ""
    assert url(found(config="no mapping"), [], "") == ""


def refusals(host: str, kind: str, states: States, check_mode: bool = False) -> list[str]:
    known = hosts(states)
    cluster = filters["k3s_membership"](SERVERS, host, kind, known)
    told: list[str] = filters["k3s_host_refusals"](cluster, VERSION, known, check_mode)
    return told


def test_a_host_that_is_as_the_inventory_says_is_not_refused() -> None:
    states = {name: found(True, version=VERSION, files={UNIT: 1.0}) for name in SERVERS}
    assert refusals("server1", "server", states) == []
    assert refusals("agent1", "agent", {"agent1": found()} | states) == []
    bare = {name: found() for name in SERVERS}
    assert refusals("server1", "server", bare) == []


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (found(foreign=True), "server1 runs a k3s that courseload has not set up"),
        (found(files={"/etc/systemd/system/k3s-agent.service": 1.0}), "server1 runs k3s-agent and the inventory makes"),
        (found(files={UNIT: 1.0}, version="v1.33.1+k3s1"), "server1 runs k3s v1.33.1+k3s1 and k3s_version is v1.34.4"),
    ],
)
def test_a_host_that_cannot_be_what_the_inventory_says_is_refused(state: dict[str, Any], reason: str) -> None:
    (told,) = refusals("server1", "server", {"server1": state, "server2": found(), "server3": found()})
    assert told.startswith(reason)


def test_an_agent_needs_a_cluster_except_in_check_mode() -> None:
    bare = {name: found() for name in [*SERVERS, "agent1"]}
    assert refusals("agent1", "agent", bare) == [
        "No server has a cluster that agent1 could join: run playbooks/cluster.yml for the servers too."
    ]
    assert refusals("agent1", "agent", bare, check_mode=True) == []


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        ({"node-name": "server2"}, True),
        ({"node-name": "server2", "cluster-init": True}, False),
        ({"server": "https://10.0.0.3:6443"}, False),
        ({}, False),
    ],
)
def test_no_server_joins_one_without_etcd_that_is_listed_after_it(config: dict[str, Any], refused: bool) -> None:
    states = {"server1": found(), "server2": found(True, config=config), "server3": found()}
    told = refusals("server1", "server", states)
    assert bool(told) == refused
    assert all(sentence.startswith("server2 keeps its data where no other") for sentence in told)
    # One that is listed before has been given its new configuration by then.
    assert refusals("server3", "server", states) == []


def test_the_interface_is_named_only_where_it_is_not_that_of_the_default_route() -> None:
    interface = filters["k3s_interface"]
    facts = {
        "default_ipv4": {"address": "10.0.0.1", "interface": "eth0"},
        "interfaces": ["lo", "eth0", "eth1"],
        "lo": {"device": "lo"},
        "eth0": {"device": "eth0", "ipv4": {"address": "10.0.0.1"}},
        "eth1": {"device": "eth1", "ipv4": {"address": "192.168.7.1"}},
    }
    assert interface(facts, "192.168.7.1") == "eth1"
    assert interface(facts, "10.0.0.1") == ""
    assert interface(facts, "203.0.113.1") == ""


def test_options_that_are_false_or_empty_are_left_out() -> None:
    assert filters["k3s_without_unset"]({"a": "", "b": [], "c": False, "d": True, "e": "x"}) == {"d": True, "e": "x"}


def test_no_proxy_has_what_was_asked_for_the_networks_and_the_hosts_once_each() -> None:
    default = {"network": "10.0.0.0", "prefix": "24"}
    known = {"server1": {"ansible_host": "10.0.0.1"}, "agent1": {}}
    asked = filters["k3s_no_proxy"](" a.example, ,localhost", ["10.42.0.0/16"], default, ["server1", "agent1"], known)
    assert asked == "a.example,localhost,127.0.0.0/8,10.42.0.0/16,.svc,.cluster.local,10.0.0.0/24,10.0.0.1"


def test_a_file_is_written_where_its_content_or_its_mode_differs() -> None:
    files = {name: {"mode": "0600", "content": "text"} for name in ("same", "mode", "content", "absent")}
    checksum = sha256(b"text").hexdigest()
    here = found(
        modes={"same": "0600", "mode": "0644", "content": "0600"},
        sums={"same": checksum, "mode": checksum, "content": "another"},
    )
    assert filters["k3s_files_to_write"](files, here) == ["mode", "content", "absent"]


def tokens(kind: str, joins: bool, here: dict[str, Any], giver: dict[str, Any]) -> list[tuple[str, str]]:
    return [(token["from"], token["to"]) for token in filters["k3s_tokens_to_take"](kind, joins, here, giver)]


def test_a_host_takes_the_tokens_that_it_has_not_as_the_server_has_them() -> None:
    giver = found(True, sums={f"{SERVER}/token": "t", f"{SERVER}/agent-token": "a"})
    both = [("token", "token"), ("agent-token", "agent-token")]
    assert tokens("agent", True, found(), giver) == [("agent-token", "token")]
    assert tokens("server", True, found(), giver) == both
    assert tokens("server", False, found(), giver) == []  # it founds the cluster, and creates them
    has = found(True, modes={f"{ETC}/token": "0600"}, sums={f"{ETC}/token": "t"}, files={f"{ETC}/token": 1.0})
    assert tokens("server", True, has, giver) == both[1:]
    assert tokens("server", False, has, giver) == both[1:]  # its own that was lost
    assert tokens("agent", True, has, giver) == [("agent-token", "token")]  # that of servers is not for it
    assert tokens("server", True, has | {"modes": {f"{ETC}/token": "0644"}}, giver) == both
    assert tokens("server", True, has, {}) == both


def test_what_is_newer_than_the_start_of_k3s_was_not_read_yet() -> None:
    link = "/run/systemd/units/invocation:k3s.service"
    read = [f"{ETC}/config.yaml", f"{ETC}/registries.yaml", f"{ETC}/config.yaml.d/9.yml", UNIT, f"{UNIT}.env"]
    others = [f"{ETC}/config.yaml.d", f"{ETC}/token", "/usr/local/bin/k3s"]
    newer = found(files={link: 100.0} | dict.fromkeys([*read, *others], 100.5))
    assert filters["k3s_not_read_yet"](newer, "k3s") == read
    older = found(files={link: 100.0} | dict.fromkeys(read, 99.5))
    assert filters["k3s_not_read_yet"](older, "k3s") == []
    assert filters["k3s_not_read_yet"](newer, "k3s-agent") == [], "it does not run"


FAILURES = [{"said": "token|secret", "do": "Correct the token"}, {"said": "refused", "do": "Look at the server"}]


def explanation(journal: str) -> str:
    told: str = filters["k3s_explanation"]("k3s is refused", journal, FAILURES)
    return told


def test_the_first_known_failure_says_what_to_do_and_the_last_lines_follow() -> None:
    assert explanation("connection refused\na wrong TOKEN\n") == (
        "k3s is refused. Correct the token; then run this again. Its last lines: connection refused | a wrong TOKEN"
    )
    assert explanation("modprobe: no token\nodd") == "k3s is refused. Its last lines: odd"
    assert explanation("\n".join("abcdefghij")).endswith("Its last lines: c | d | e | f | g | h | i | j")
    assert explanation("") == "k3s is refused. Its last lines: "


def test_where_k3s_is_started_again_the_lines_before_its_last_end_are_read() -> None:
    journal = "first\nunit: Main process exited, status=1\nthe reason\nunit: Main process exited, status=1\na new start"
    assert explanation(journal).endswith("Its last lines: first | unit: Main process exited, status=1 | the reason")


def test_the_server_that_a_kubeconfig_names_is_asked_if_it_answers() -> None:
    ask = filters["k3s_server_to_ask"]
    known = {"server1": {"ansible_host": "10.0.0.1"}, "server2": {"ansible_host": "10.0.0.2"}, "server3": {}}
    text = "server: https://10.0.0.2:6443\n"
    assert ask(["server1", "server2"], SERVERS, known, text) == "server2"
    assert ask(["server1"], SERVERS, known, text) == "server1"
    assert ask(["server3"], SERVERS, known, "server: https://server3:6443\n") == "server3"
    assert ask([], SERVERS, known, text) == "server1"
