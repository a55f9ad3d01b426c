"""What the workloads become as pods: rendered as site.yml does, and judged without running any of it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.manifests import Rendered, render


@pytest.fixture(scope="session")
def workloads(rendered: Rendered) -> dict[str, Any]:
    return rendered.workloads | rendered.ops_workloads


@pytest.fixture(scope="session")
def pods(rendered: Rendered) -> dict[str, Any]:
    """The Pod of each workload."""
    documents = {name: list(yaml.safe_load_all(text)) for name, text in rendered.pods.items()}
    return {name: next(d for d in found if d["kind"] == "Pod") for name, found in documents.items()}


def containers(pods: dict[str, Any]) -> list[dict[str, Any]]:
    return [container for pod in pods.values() for container in pod["spec"]["containers"]]


def test_every_pod_has_its_workloads_name(pods: dict[str, Any]) -> None:
    assert {name: pod["metadata"]["name"] for name, pod in pods.items()} == {name: name for name in pods}


def test_every_container_is_confined(pods: dict[str, Any]) -> None:
    for container in containers(pods):
        context = container["securityContext"]
        assert context["runAsUser"] == context["runAsGroup"] == 10001, container["name"]
        assert context["readOnlyRootFilesystem"] is True, container["name"]
        assert context["allowPrivilegeEscalation"] is False, container["name"]
        assert context["capabilities"] == {"drop": ["ALL"]}, container["name"]


def test_every_container_has_a_memory_limit(pods: dict[str, Any]) -> None:
    assert all(container["resources"]["limits"]["memory"] for container in containers(pods))


def test_every_image_is_named_by_its_content(pods: dict[str, Any]) -> None:
    # An upstream image has its own tag until somebody pins its digest.
    by_content = re.compile(r"localhost/courseload/[a-z-]+:([0-9a-f]{12}|v?[0-9]+(\.[0-9]+)+)")
    assert [c["image"] for c in containers(pods) if not by_content.fullmatch(c["image"])] == []


def test_only_the_ingress_can_be_made_to_listen_beyond_loopback(pods: dict[str, Any]) -> None:
    ports = [port for container in containers(pods) for port in container.get("ports", [])]
    assert ports
    assert {port["hostIP"] for port in ports} == {"127.0.0.1"}


def test_only_what_keeps_data_has_a_volume(pods: dict[str, Any], workloads: dict[str, Any]) -> None:
    for name, pod in pods.items():
        claims = [volume for volume in pod["spec"]["volumes"] if "persistentVolumeClaim" in volume]
        assert len(claims) == (1 if "keeps" in workloads[name] else 0), name


def test_a_pod_sees_the_credentials_of_itself_and_of_what_it_calls_and_no_others(
    pods: dict[str, Any], workloads: dict[str, Any]
) -> None:
    for name, pod in pods.items():
        may_see = {other for other in [name, *workloads[name].get("calls", [])] if "credentials" in workloads[other]}
        paths = [Path(volume["hostPath"]["path"]) for volume in pod["spec"]["volumes"] if "hostPath" in volume]
        assert {path.name for path in paths if path.parent.name == "credentials"} == may_see, name


def test_a_pod_is_told_where_to_find_what_it_calls(pods: dict[str, Any], workloads: dict[str, Any]) -> None:
    for name, workload in workloads.items():
        environment = {variable["name"]: variable["value"] for variable in pods[name]["spec"]["containers"][0]["env"]}
        for other in workload.get("calls", []):
            assert workloads[other].get("offers", {}).items() <= environment.items(), f"{name} calls {other}"


def test_every_image_is_one_that_is_brought_here(pods: dict[str, Any], rendered: Rendered) -> None:
    assert {container["image"] for container in containers(pods)} - rendered.images_for_pods == set()


def test_manifests_are_the_same_whenever_they_are_rendered(
    renderings: Callable[[str], Rendered], tmp_path: Path
) -> None:
    # Python orders a set by hashes, which differ from run to run: with seeds 1 and 5, mongodb and redis change places.
    first, again = renderings("packages"), render(tmp_path, "packages", seed=5)
    assert (again.pods, again.cluster) == (first.pods, first.cluster)


def test_no_manifest_holds_a_credential(rendered: Rendered) -> None:
    for name, manifest in (rendered.pods | {"cluster": rendered.cluster}).items():
        assert "{password}" not in manifest
        assert not re.search(r"://\w*:[^@/\s]+@", manifest), f"{name} has a URI with a password"
