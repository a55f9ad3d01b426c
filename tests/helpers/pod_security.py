"""What in a pod breaks the Pod Security Standard "restricted" (https://kubernetes.io/docs/concepts/security/pod-security-standards)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SECCOMP = ("RuntimeDefault", "Localhost")


def violations(spec: Mapping[str, Any]) -> list[str]:
    """A line for each; none for a pod that the standard lets in. What nobody here needs must be absent."""
    found = [*_of_pod(spec)]
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind, []):
            own = container.get("securityContext", {})
            # What the container says goes before what the pod says.
            lines = [*_of_context(own), *_of_user(spec.get("securityContext", {}) | own), *_of_host(container)]
            found += [f"{container['name']}: {line}" for line in lines]
    return found


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{field} is set"
    for field in ("sysctls", "seLinuxOptions", "appArmorProfile", "windowsOptions"):
        if field in spec.get("securityContext", {}):
            yield f"securityContext.{field} is set"
    # What the pod says counts also where every container says otherwise.
    if spec.get("securityContext", {}).get("runAsUser") == 0:
        yield "it runs as root"
    if spec.get("securityContext", {}).get("seccompProfile", {}).get("type", SECCOMP[0]) not in SECCOMP:
        yield "its seccomp profile confines nothing"
    for volume in spec.get("volumes", []):
        for kind in volume.keys() - VOLUMES - {"name"}:
            yield f"the volume {volume['name']} is a {kind}"


def _of_context(context: Mapping[str, Any]) -> Iterator[str]:
    for field in ("privileged", "procMount", "seLinuxOptions", "appArmorProfile", "windowsOptions"):
        if context.get(field):
            yield f"{field} is set"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "it keeps capabilities"


def _of_user(context: Mapping[str, Any]) -> Iterator[str]:
    if context.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if context.get("runAsUser") == 0:
        yield "it runs as root"
    if context.get("seccompProfile", {}).get("type") not in SECCOMP:
        yield "there is no seccomp profile"


def _of_host(container: Mapping[str, Any]) -> Iterator[str]:
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "it has a port of the host"
    probes = [container.get(f"{kind}Probe", {}) for kind in ("startup", "readiness", "liveness")]
    for asked in [*probes, *container.get("lifecycle", {}).values()]:
        if any("host" in asked.get(how, {}) for how in ("httpGet", "tcpSocket")):
            yield "a probe or a hook asks a host of its choice"
