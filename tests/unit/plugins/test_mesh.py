"""The mesh's certificates on the control machine, and what Linkerd gets of them."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from helpers.plugins import load

filters: dict[str, Any] = load("filter", "courseload").FILTERS

WEBHOOKS = {
    "proxyInjector": {"file": "proxy-injector", "secret": "injector-tls"},
    "policyValidator": {"file": "policy-validator", "secret": "policy-tls"},
}
NAMES = ("anchor", "next", "issuer", "proxy-injector", "policy-validator")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Certificates and keys whose text is their own name, and a line feed."""
    for name in NAMES:
        for kind in ("crt", "key"):
            (tmp_path / f"{name}.{kind}").write_text(f"{name}.{kind}\n")
    return tmp_path


def test_a_certificate_is_missing_without_its_key_too(directory: Path) -> None:
    assert filters["certificates_missing"](NAMES, str(directory)) == []
    (directory / "issuer.key").unlink()
    (directory / "next.crt").unlink()
    assert filters["certificates_missing"](NAMES, str(directory)) == ["next", "issuer"]
    assert filters["certificate_files_missing"](NAMES, str(directory)) == ["next.crt", "issuer.key"]


def test_the_anchors_that_are_there_are_trusted_the_one_in_use_first(directory: Path) -> None:
    trusted = filters["trusted_anchors"]
    assert trusted(str(directory)) == "anchor.crt\nnext.crt\n"
    (directory / "retired.crt").write_text("retired.crt\n")
    assert trusted(str(directory)) == "anchor.crt\nnext.crt\nretired.crt\n"
    assert trusted(str(directory / "nowhere")) == ""


def test_a_certificate_that_vault_has_encrypted_is_refused(directory: Path) -> None:
    (directory / "next.crt").write_text("$ANSIBLE_VAULT;1.1;AES256\n61\n")
    with pytest.raises(ValueError, match=f"ansible-vault decrypt {directory}/next.crt"):
        filters["trusted_anchors"](str(directory))


def test_the_issuers_secret_trusts_the_anchors_and_a_webhooks_itself(directory: Path) -> None:
    # The keys as somebody has read them: their files may be encrypted.
    keys = {name: f"{name}.key\n" for name in ("issuer", "proxy-injector", "policy-validator")}
    for file in directory.glob("*.key"):
        file.unlink()
    secrets = filters["mesh_secrets"](WEBHOOKS, str(directory), keys)
    data = {
        secret["metadata"]["name"]: {key: b64decode(value).decode() for key, value in secret["data"].items()}
        for secret in secrets
    }
    assert data == {
        "linkerd-identity-issuer": {
            "tls.crt": "issuer.crt",
            "tls.key": "issuer.key",
            "ca.crt": "anchor.crt\nnext.crt\n",
        },
        "injector-tls": {
            "tls.crt": "proxy-injector.crt",
            "tls.key": "proxy-injector.key",
            "ca.crt": "proxy-injector.crt",
        },
        "policy-tls": {
            "tls.crt": "policy-validator.crt",
            "tls.key": "policy-validator.key",
            "ca.crt": "policy-validator.crt",
        },
    }
    assert {(secret["type"], secret["metadata"]["namespace"]) for secret in secrets} == {
        ("kubernetes.io/tls", "linkerd")
    }


def test_no_private_key_is_among_the_charts_values(directory: Path) -> None:
    values = filters["webhook_values"](WEBHOOKS, str(directory), ["courses", "ingress"])
    assert values["policyValidator"] == {"externalSecret": True, "caBundle": "policy-validator.crt"}
    selector = values["proxyInjector"]["namespaceSelector"]["matchExpressions"]
    assert selector == [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["courses", "ingress"]}]
    assert ".key" not in str(values)


def pod(name: str, trusted: str, *, init: bool) -> dict[str, Any]:
    env = [{"name": "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS", "value": trusted}, {"name": "OTHER", "valueFrom": {}}]
    proxy = {"name": "linkerd-proxy", "env": env}
    own = [{"name": "service"}]
    spec = {"initContainers": [proxy], "containers": own} if init else {"containers": [*own, proxy]}
    return {"metadata": {"name": name}, "spec": spec}


def test_pods_that_started_before_an_anchor_do_not_trust_it(directory: Path) -> None:
    pods = [pod("new", "anchor.crt\nnext.crt\n", init=True), pod("old", "anchor.crt\n", init=False)]
    assert filters["pods_not_trusting"](pods, str(directory), "next") == ["old"]
