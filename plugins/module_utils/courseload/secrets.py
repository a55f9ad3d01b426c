"""The credentials of workloads as Secrets of Kubernetes: what each holds, and which passwords are in it.

A Secret `<name>-credentials` has the files of the credential `<name>`, its password as `.password`, and the passwords
of others that its files carry as `.password.<other>`.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .credentials import PASSWORD, Files, fill, others
from .workloads import Described, labels_of, namespace_of

Manifest = dict[str, Any]

SUFFIX = "-credentials"


def manifests(
    credentials: Mapping[str, Files], passwords: Mapping[str, str], workloads: Described, usual: str
) -> list[Manifest]:
    """The Secrets of credentials, by name with their files, in which the places of passwords are.

    Each is where its workload lives; `usual` is the namespace of those that have none of their own.
    """
    return [
        _manifest(name, files, passwords, namespace_of(workloads.get(name, {}), usual))
        for name, files in credentials.items()
    ]


def _manifest(name: str, files: Files, passwords: Mapping[str, str], namespace: str) -> Manifest:
    texts = {PASSWORD: passwords[name]}
    for file, text in files.items():
        texts[file] = fill(text, name, passwords)
        texts |= {f"{PASSWORD}.{other}": passwords[other] for other in others(text)}
    return secret({"name": name + SUFFIX, "namespace": namespace, "labels": labels_of(name)}, texts)


def secret(metadata: Manifest, texts: Mapping[str, str], kind: str = "Opaque") -> Manifest:
    """A Secret with these texts."""
    data = {key: b64encode(text.encode()).decode() for key, text in texts.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "data": data}


def differing(wanted: Iterable[Manifest], found: Sequence[Manifest]) -> list[Manifest]:
    """The Secrets that the cluster does not have, or has with other data or labels."""
    there = [_essence(secret) for secret in found]
    return [secret for secret in wanted if _essence(secret) not in there]


def _essence(secret: Manifest) -> tuple[Any, ...]:
    metadata = secret["metadata"]
    labels, data = metadata.get("labels") or {}, secret.get("data") or {}
    return metadata["name"], metadata["namespace"], sorted(labels.items()), sorted(data.items())


def passwords(found: Iterable[Manifest]) -> dict[str, str]:
    """The passwords in the cluster's Secrets, by the name of the credential."""
    known: dict[str, str] = {}
    for secret in found:
        for key, value in (secret.get("data") or {}).items():
            if key.startswith(PASSWORD):
                name = key.removeprefix(f"{PASSWORD}.") if key != PASSWORD else None
                known[name or secret["metadata"]["name"].removesuffix(SUFFIX)] = b64decode(value).decode()
    return known
