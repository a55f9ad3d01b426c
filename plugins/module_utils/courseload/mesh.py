"""The certificates of the mesh: files `<name>.crt` and `<name>.key` on the control machine, and what Linkerd gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .secrets import secret

Webhook = Mapping[str, Any]  # its `file` and its `secret`

# The anchor in use, the next one, and the last one for as long as certificates of it are about.
ANCHORS = ("anchor", "next", "retired")
ISSUER = "issuer"
ENCRYPTED = "$ANSIBLE_VAULT"  # what Ansible Vault has encrypted begins so

PROXY = "linkerd-proxy"
TRUSTED = "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"


def certificates_missing(names: Iterable[str], directory: str) -> list[str]:
    """Those that are to be made: nothing is there yet, or what was there was removed."""
    files = certificate_files_missing(names := list(names), directory)
    return [name for name in names if {f"{name}.crt", f"{name}.key"} & set(files)]


def certificate_files_missing(names: Iterable[str], directory: str) -> list[str]:
    """The files of certificates and keys that are not there."""
    files = [f"{name}.{kind}" for name in names for kind in ("crt", "key")]
    return [file for file in files if not Path(directory, file).is_file()]


def trusted_anchors(directory: str) -> str:
    """What everybody in the mesh trusts, as one text."""
    files = (Path(directory, f"{name}.crt") for name in ANCHORS)
    return "".join(f"{_read(directory, file.name)}\n" for file in files if file.is_file())


def not_trusting(pods: Iterable[Mapping[str, Any]], directory: str, anchor: str) -> list[str]:
    """The pods whose proxies were started without this anchor among those that they trust."""
    certificate = _read(directory, f"{anchor}.crt").strip()
    return [pod["metadata"]["name"] for pod in pods if certificate not in _trusted_by(pod["spec"])]


def _trusted_by(spec: Mapping[str, Any]) -> str:
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    variables = [entry for found in containers if found["name"] == PROXY for entry in found.get("env", [])]
    return "".join(entry.get("value", "") for entry in variables if entry["name"] == TRUSTED)


def mesh_secrets(webhooks: Mapping[str, Webhook], directory: str, keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """The Secrets that Linkerd's charts find, so that no private key is among their values; `keys` has them by name."""
    issuer = _secret("linkerd-identity-issuer", ISSUER, directory, trusted_anchors(directory), keys)
    return [
        issuer,
        *(
            _secret(webhook["secret"], webhook["file"], directory, _read(directory, f"{webhook['file']}.crt"), keys)
            for webhook in webhooks.values()
        ),
    ]


def _secret(name: str, file: str, directory: str, authority: str, keys: Mapping[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "linkerd", "labels": {"part-of": "courseload"}}
    pair = {"tls.crt": _read(directory, f"{file}.crt"), "tls.key": keys[file].rstrip()}
    return secret(metadata, {**pair, "ca.crt": authority}, "kubernetes.io/tls")


def webhook_values(webhooks: Mapping[str, Webhook], directory: str, namespaces: Iterable[str]) -> dict[str, Any]:
    """The values of the control plane's chart for its webhooks; the injector is for pods of these namespaces."""
    values: dict[str, Any] = {
        name: {"externalSecret": True, "caBundle": _read(directory, f"{webhook['file']}.crt")}
        for name, webhook in webhooks.items()
    }
    chosen = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(namespaces)}
    values["proxyInjector"]["namespaceSelector"] = {"matchExpressions": [chosen]}
    return values


def _read(directory: str, name: str) -> str:
    text = (file := Path(directory, name)).read_text().rstrip()
    if text.startswith(ENCRYPTED):
        raise ValueError(
            f"{file} is encrypted, and what reads certificates does not decrypt them. They are no secret, unlike their "
            f"keys: ansible-vault decrypt {file}"
        )
    return text
