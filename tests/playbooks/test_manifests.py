"""What the workloads become as pods: rendered as site.yml does, and judged without running any of it."""

import re
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import yaml

from course import app
from course.group_commit import Limits
from course.handler import MAX_BODY
from helpers.manifests import ROUTES, Rendered, render


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
        assert len(claims) == (1 if "volume" in workloads[name] else 0), name


def test_a_pod_sees_the_credentials_of_itself_and_of_what_it_calls_and_no_others(
    pods: dict[str, Any], workloads: dict[str, Any]
) -> None:
    for name, pod in pods.items():
        may_see = {other for other in [name, *workloads[name].get("calls", [])] if workloads[other].get("credentials")}
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


@pytest.fixture(scope="session")
def configurations(rendered: Rendered) -> list[str]:
    """HAProxy's on each platform."""
    configured = [found for found in yaml.safe_load_all(rendered.pods["ingress"]) if found["kind"] == "ConfigMap"]
    configured += [found for found in rendered.of_kind("ConfigMap") if found["metadata"]["name"] == "ingress-config"]
    assert len(configured) == 2
    return [found["data"]["haproxy.cfg"] for found in configured]


def seconds(configuration: str, setting: str) -> float:
    found = re.search(rf"\b{setting} (\d+)s\b", configuration)
    assert found, setting
    return float(found[1])


def test_the_ingress_closes_idle_connections_before_the_services_do(configurations: list[str]) -> None:
    for text in configurations:
        most = re.search(r"maxconn (\d+)", text)
        assert most
        # Each time it closes half of those that it does not need: the last one of so many goes after so many times.
        times = int(most[1]).bit_length()
        # Enough before that a request and an end of the connection cannot pass each other.
        assert times * seconds(text, "pool-purge-delay") <= app.KEEP_ALIVE_S - 5


def test_the_ingress_waits_for_an_answer_longer_than_a_service_takes_and_not_for_ever(
    configurations: list[str],
) -> None:
    # What waits for a write under way, and then for its own, each as long as a database gets.
    longest = 2 * Limits().deadline_s
    for text in configurations:
        assert longest + 1 < seconds(text, "timeout server") <= 10
        assert seconds(text, "timeout connect") == 1


def test_the_ingress_has_room_for_the_largest_request(configurations: list[str]) -> None:
    # Only what is in its buffer whole can be sent on in one piece, and with a mesh a second time.
    for text in configurations:
        size = re.search(r"tune.bufsize (\d+)", text)
        assert size
        assert int(size[1]) >= 2 * MAX_BODY


def test_the_routes_take_turns_by_their_weights(configurations: list[str]) -> None:
    for text in configurations:
        rule = re.search(r"var\(proc.turn\),add\((\d+)\),mod\((\d+)\)", text)
        assert rule
        step, turns = map(int, rule.groups())
        assert len({step * number % turns for number in range(turns)}) == turns
        limits = [int(limit) for limit in re.findall(r"use_backend \w+ if { var\(txn.turn\) -m int lt (\d+) }", text)]
        assert limits == list(accumulate(ROUTES.values()))
        assert limits[-1] == turns
