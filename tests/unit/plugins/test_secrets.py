"""Credentials as Secrets of Kubernetes, there and back."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from helpers.plugins import load

filters: dict[str, Any] = load("filter", "courseload").FILTERS

FILES = {"redis": {"uri": "redis://:{password}@redis", "acl": ">{password} >{password:reader}"}, "agent": {}}
PASSWORDS = {"redis": "one", "reader": "two", "agent": "three"}
WORKLOADS = {"redis": {}, "agent": {"namespace": "agents"}}


def manifests() -> list[dict[str, Any]]:
    wanted: list[dict[str, Any]] = filters["secret_manifests"](FILES, PASSWORDS, WORKLOADS, "courses")
    return wanted


def test_a_secret_has_the_files_and_every_password_in_them() -> None:
    redis, agent = manifests()
    assert redis["metadata"] == {
        "name": "redis-credentials",
        "namespace": "courses",
        "labels": {"app": "redis", "part-of": "courseload"},
    }
    assert {key: b64decode(value).decode() for key, value in redis["data"].items()} == {
        ".password": "one",
        ".password.reader": "two",
        "uri": "redis://:one@redis",
        "acl": ">one >two",
    }
    assert list(agent["data"]) == [".password"]


def test_a_secret_is_where_its_workload_lives() -> None:
    assert [secret["metadata"]["namespace"] for secret in manifests()] == ["courses", "agents"]


def test_the_passwords_are_read_from_them_again() -> None:
    assert filters["passwords_in_secrets"](manifests()) == PASSWORDS


def test_a_secret_without_data_tells_no_password() -> None:
    assert filters["passwords_in_secrets"]([{"metadata": {"name": "ops-token"}}]) == {}


def test_what_the_cluster_has_already_does_not_differ() -> None:
    found = [secret | {"type": "Opaque", "metadata": secret["metadata"] | {"uid": "1"}} for secret in manifests()]
    assert filters["secrets_differing"](manifests(), found) == []


def test_other_data_other_labels_and_a_missing_secret_differ() -> None:
    redis, agent = manifests()
    changed = redis | {"data": redis["data"] | {"uri": "b3RoZXI="}}
    assert filters["secrets_differing"](manifests(), [changed, agent]) == [redis]
    bare = redis | {"metadata": {key: value for key, value in redis["metadata"].items() if key != "labels"}}
    assert filters["secrets_differing"](manifests(), [bare]) == [redis, agent]
