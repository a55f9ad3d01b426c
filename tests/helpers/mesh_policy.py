"""What Linkerd's policies let through, decided as Linkerd describes them: for pods whose default is to deny."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Policy = Mapping[str, Any]


def admits(
    policies: Iterable[Policy], pod: Mapping[str, Any], namespace: str, port: str | int, caller: str | None
) -> bool:
    """Whether a pod takes what a caller sends to a port.

    `pod` is the template of the pod, `port` the name or the number of its port; a caller is `namespace/ServiceAccount`,
    or None if it has no proxy.
    """
    policies = [policy for policy in policies if policy["metadata"]["namespace"] == namespace]
    labels = pod["metadata"]["labels"]
    servers = {
        found["metadata"]["name"]
        for found in policies
        if found["kind"] == "Server"
        and found["spec"]["port"] == port
        and found["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    }
    if not servers:
        return bool(pod["metadata"]["annotations"]["config.linkerd.io/default-inbound-policy"] != "deny")
    return any(
        _satisfied(policies, authorization, caller)
        for authorization in policies
        if authorization["kind"] == "AuthorizationPolicy"
        and authorization["spec"]["targetRef"]["kind"] == "Server"
        and authorization["spec"]["targetRef"]["name"] in servers
    )


def _satisfied(policies: list[Policy], authorization: Policy, caller: str | None) -> bool:
    """All that an authorization asks for must be there."""
    asked = [reference["name"] for reference in authorization["spec"]["requiredAuthenticationRefs"]]
    known = {
        found["metadata"]["name"]: {
            f"{reference['namespace']}/{reference['name']}" for reference in found["spec"]["identityRefs"]
        }
        for found in policies
        if found["kind"] == "MeshTLSAuthentication"
    }
    return all(caller in known.get(name, set()) for name in asked)
