"""What the workloads become: rendered as site.yml does, and judged without running any of it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import play

RENDER = """\
- hosts: ops
  gather_facts: false
  vars: {{repository_root: {repository}}}
  vars_files: [{repository}/roles/workload/vars/main.yml]
  tasks:
    - name: Write the description that the manifests come from
      ansible.builtin.copy:
        content: "{{{{ workloads | to_json }}}}"
        dest: "{directory}/workloads.json"
        mode: "0600"
    - name: Render
      ansible.builtin.template:
        src: pod.yml.j2
        dest: "{directory}/{{{{ workload_name }}}}.yml"
        mode: "0600"
      vars:
        workload_spec: "{{{{ workloads[workload_name] }}}}"
      loop: "{{{{ workloads | list }}}}"
      loop_control: {{loop_var: workload_name}}
"""


def render(directory: Path, image_source: str, within: Sequence[str] = ()) -> Path:
    """Writes a manifest for each workload into the directory."""
    playbook = directory / "render.yml"
    playbook.write_text(RENDER.format(repository=REPOSITORY, directory=directory))
    # Where Ansible looks for the variables and the template of a playbook.
    (directory / "group_vars").symlink_to(REPOSITORY / "group_vars")
    (directory / "templates").symlink_to(REPOSITORY / "roles/workload/templates")
    inventory = str(REPOSITORY / "inventory/local.yml")
    run = play(playbook, inventory=inventory, within=within, image_source_chosen=image_source)
    assert run.ok, run.output
    return directory


@pytest.fixture(scope="session", params=["packages", "registry"])
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a manifest for each workload, for each source of images."""
    return render(tmp_path_factory.mktemp("manifests"), request.param)


@pytest.fixture(scope="session")
def workloads(rendered: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((rendered / "workloads.json").read_text())
    return found


@pytest.fixture(scope="session")
def pods(rendered: Path, workloads: dict[str, Any]) -> dict[str, Any]:
    """The Pod of each workload."""
    documents = {name: list(yaml.safe_load_all((rendered / f"{name}.yml").read_text())) for name in workloads}
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
    by_content = re.compile(r"localhost/courseload/[a-z-]+:[0-9a-f]{12}|[a-z0-9./-]+@(sha256:[0-9a-f]{64}|unpinned)")
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
        paths = [volume["hostPath"]["path"] for volume in pod["spec"]["volumes"] if "hostPath" in volume]
        assert {Path(path).name for path in paths} == may_see, name


def test_a_pod_is_told_where_to_find_what_it_calls(pods: dict[str, Any], workloads: dict[str, Any]) -> None:
    for name, workload in workloads.items():
        environment = {variable["name"]: variable["value"] for variable in pods[name]["spec"]["containers"][0]["env"]}
        for other in workload.get("calls", []):
            assert workloads[other].get("offers", {}).items() <= environment.items(), f"{name} calls {other}"


def test_manifests_are_the_same_whenever_they_are_rendered(tmp_path: Path) -> None:
    # Python orders a set by hashes, which differ from run to run: with these seeds, mongodb and redis change places.
    written = []
    for seed in "1", "5":
        (tmp_path / seed).mkdir()
        directory = render(tmp_path / seed, "packages", within=["env", f"PYTHONHASHSEED={seed}"])
        written.append({file.name: file.read_text() for file in directory.glob("*.yml") if file.name != "render.yml"})
    assert written[0] == written[1]


def test_no_manifest_holds_a_credential(rendered: Path, workloads: dict[str, Any]) -> None:
    for name in workloads:
        manifest = (rendered / f"{name}.yml").read_text()
        assert "{password}" not in manifest
        assert not re.search(r"://\w*:[^@/\s]+@", manifest), f"{name} has a URI with a password"
