"""Under which addresses hosts are reached: the setting of each, or the address of its default route."""

from __future__ import annotations

from typing import Any

from courseload.addresses import addresses, shared_addresses, without_address

HOSTS: dict[str, Any] = {
    "set": {"host_address": "10.0.0.1", "ansible_facts": {"default_ipv4": {"address": "192.0.2.1"}}},
    "gathered": {"ansible_facts": {"default_ipv4": {"address": "192.0.2.2"}}},
    "without a default route": {"ansible_facts": {"default_ipv4": {}}},
    "unavailable": {},
}


def test_a_setting_goes_before_the_address_of_the_default_route() -> None:
    assert addresses(["gathered", "set"], HOSTS) == ["192.0.2.2", "10.0.0.1"]


def test_a_host_without_an_address_is_left_out() -> None:
    assert addresses(HOSTS, HOSTS) == ["10.0.0.1", "192.0.2.2"]
    assert without_address(HOSTS, HOSTS) == ["without a default route", "unavailable"]


def test_hosts_with_the_same_address_and_port_are_named_together() -> None:
    hosts: dict[str, Any] = {
        "agent2": {"ansible_host": "10.0.0.21"},
        "agent1": {"ansible_host": "10.0.0.21"},
        "behind": {"ansible_host": "10.0.0.21", "ansible_port": 2201},
        "10.0.0.9": {},
    }
    assert shared_addresses(hosts, hosts) == ["agent1 and agent2 (10.0.0.21)"]
