"""The certificates of k3s on a host, as `k3s certificate check --output=json` lists them, and what is told of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .cluster import Object
from .k3s import Hosts

# A CA is listed with each certificate that it has signed. It is good for ten years, and is not rotated with them.
CA = "CertSign"
DAY_NS = 24 * 3600 * 10**9  # what is left of a certificate's time comes in nanoseconds


def state(listed: str, days: int) -> dict[str, Any]:
    """When the first of the certificates `ends` (UTC, ISO 8601), in how many `days`, and whether to `rotate` them.

    That is where one ends within so many days, and where there is none: a rotation that was interrupted has removed
    them, and k3s makes them when it starts. Then `ends` is "".
    """
    found = [entry for entry in json.loads(listed)["Certificates"] or [] if CA not in entry["Usages"]]
    if not found:
        return {"ends": "", "days": 0, "rotate": True}
    first = min(found, key=lambda entry: int(entry["ResidualTime"]))
    left = first["ResidualTime"]
    return {"ends": first["ExpiryTime"], "days": left // DAY_NS, "rotate": left < days * DAY_NS}


def summary(names: Iterable[str], hosts: Hosts) -> list[str]:
    """A line for each host, on the certificates that were found there (the fact `k3s_certificates`)."""
    return [f"{name}: {_told(hosts[name]['k3s_certificates'])}" for name in names]


def _told(found: Object) -> str:
    if found.get("rotated"):
        return f"rotated, and good until {_date(found)}."
    if not found["ends"]:
        return "there are none; they would be made."
    if found["rotate"]:
        return f"the first ends on {_date(found)}; they would be rotated."
    return f"good until {_date(found)}, {found['days']} days more: left as they are."


def _date(found: Object) -> str:
    return str(found["ends"])[:10]
