"""The certificates of k3s: which end soon, and what is told of those of each host."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.plugins import load

filters: dict[str, Any] = load("filter", "courseload").FILTERS

DAY_S = 24 * 3600


def certificate(name: str, days: float, *usages: str) -> dict[str, Any]:
    """One as k3s lists it, with a date that goes with the days."""
    return {
        "Filename": f"{name}.crt",
        "Subject": name,
        "Issuer": "k3s-client-ca@1764518400",
        "Usages": usages or ("ClientAuth",),
        "ExpiryTime": f"2027-01-{int(days) % 30 + 1:02}T10:17:00Z",
        "ResidualTime": int(days * DAY_S * 10**9),
        "Status": "OK",
    }


def state(*certificates: dict[str, Any], days: int = 120) -> dict[str, Any]:
    listed = json.dumps({"Certificates": list(certificates) or None})
    found: dict[str, Any] = filters["k3s_certificates_state"](listed, days)
    return found


def test_the_first_that_ends_counts() -> None:
    found = state(certificate("client-kubelet", 300), certificate("client-admin", 200.5), certificate("etcd", 365))
    assert found == {"ends": "2027-01-21T10:17:00Z", "days": 200, "rotate": False}


@pytest.mark.parametrize(("left", "rotate"), [(121, False), (119.9, True), (0.5, True), (-3, True)])
def test_they_are_rotated_where_one_ends_within_the_days_or_has_ended(left: float, rotate: bool) -> None:
    assert state(certificate("client-kubelet", 300), certificate("client-admin", left))["rotate"] is rotate


def test_all_can_be_asked_for() -> None:
    assert state(certificate("client-admin", 364.99), days=366)["rotate"]


def test_an_authority_is_not_rotated_with_them() -> None:
    authority = certificate("client-admin", 30, "CertSign")
    assert state(certificate("client-admin", 364), authority)["rotate"] is False


def test_where_a_rotation_was_interrupted_it_goes_on() -> None:
    assert state() == {"ends": "", "days": 0, "rotate": True}
    assert state(certificate("client-admin", 3000, "CertSign"))["rotate"]


def test_a_line_tells_of_each_host() -> None:
    ends = "2027-11-30T10:17:00Z"
    hosts = {
        "server1": {"ends": ends, "days": 364, "rotate": False, "rotated": True},
        "server2": {"ends": ends, "days": 364, "rotate": False},
        "agent1": {"ends": "2026-12-20T10:17:00Z", "days": 20, "rotate": True},
        "agent2": {"ends": "", "days": 0, "rotate": True},
    }
    known = {name: {"k3s_certificates": found} for name, found in hosts.items()}
    assert filters["k3s_certificates_summary"](hosts, known) == [
        "server1: rotated, and good until 2027-11-30.",
        "server2: good until 2027-11-30, 364 days more: left as they are.",
        "agent1: the first ends on 2026-12-20; they would be rotated.",
        "agent2: there are none; they would be made.",
    ]
