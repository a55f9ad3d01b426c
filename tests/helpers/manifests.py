"""What the workloads become on both platforms, rendered as the playbooks do it, without a host or a cluster."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import link_variables, play

IMAGE_SOURCES = ("packages", "registry")

# Other weights than the defaults, so that they can only have come from here.
ROUTES = {"relay": 70, "direct": 30}

SERVERS = {"server1": "192.0.2.11", "server2": "192.0.2.12", "server3": "192.0.2.13"}
INVENTORY: dict[str, Any] = {
    "all": {
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "children": {
            "servers": {"hosts": {name: {"host_address": address} for name, address in SERVERS.items()}},
            "agents": {"hosts": {"agent1": {"host_address": "192.0.2.21"}}},
            "ops": {"hosts": {"ops1": {"host_address": "192.0.2.31"}}},
            "load": {"hosts": {"load1": {"host_address": "192.0.2.41"}}},
        },
    }
}

# Everything in one run, and a file for each part: starting Ansible and its modules takes longer than rendering.
RENDER = """\
- name: Render as pods
  hosts: ops
  gather_facts: false
  vars: {{repository_root: {repository}, platform: pods, cluster_hosts: [], mesh_active: false}}
  roles: [settings]
  tasks:
    - &render
      name: Make the manifests
      ansible.builtin.include_role: {{name: workload, tasks_from: render}}
      vars: {{workload_names: "{{{{ (workloads | list) + (ops_workloads | list) }}}}"}}
    - name: Write them
      ansible.builtin.copy:
        content: "{{{{ rendered | to_json }}}}"
        dest: "{directory}/pods.json"
        mode: "0600"
      vars:
        rendered:
          workloads: "{{{{ workloads }}}}"
          ops_workloads: "{{{{ ops_workloads }}}}"
          images: "{{{{ images_needed | map('extract', image_references) }}}}"
          pods: "{{{{ workload_pods }}}}"

- name: Render as pods beside a cluster
  hosts: ops
  gather_facts: false
  vars: {{repository_root: {repository}, platform: k3s, workload_platform: pods}}
  roles: [settings]
  tasks:
    - <<: *render
      vars: {{workload_names: "{{{{ ops_workloads | list }}}}"}}
    - name: Write them
      ansible.builtin.copy:
        content: "{{{{ rendered | to_json }}}}"
        dest: "{directory}/beside.json"
        mode: "0600"
      vars:
        rendered:
          pods: "{{{{ workload_pods }}}}"
          images: "{{{{ images_for_pods | map('extract', image_references) }}}}"

- name: Render for a cluster
  hosts: ops
  gather_facts: false
  vars: {{repository_root: {repository}, platform: k3s}}
  roles: [settings]
  tasks:
    - <<: *render
      vars: {{workload_names: "{{{{ cluster_workloads | list }}}}"}}
    - name: Write them
      ansible.builtin.copy:
        content: "{{{{ rendered | to_json }}}}"
        dest: "{directory}/cluster.json"
        mode: "0600"
      vars:
        rendered:
          workloads: "{{{{ cluster_workloads }}}}"
          images: "{{{{ images_for_cluster | map('extract', image_references) }}}}"
          objects: "{{{{ namespaces + workload_objects }}}}"
        namespaces: "{{{{ lookup('ansible.builtin.template', 'namespaces.yml.j2') | from_yaml_all | select }}}}"
"""


@dataclass(frozen=True)
class Rendered:
    workloads: dict[str, Any]  # the description that the manifests come from
    ops_workloads: dict[str, Any]  # that of what watches them
    cluster_workloads: dict[str, Any]  # that of all that runs in a cluster
    pods: dict[str, str]  # what Podman gets for each workload
    images_for_pods: set[str]  # those that are brought to Podman
    beside: dict[str, str]  # what Podman gets on the ops host of a cluster
    images_beside: set[str]  # those that are brought there
    objects: list[dict[str, Any]]  # what a cluster gets, in the order in which it gets it
    images_for_cluster: set[str]  # those that are brought to its nodes

    @property
    def cluster(self) -> str:
        """The objects as one text."""
        return yaml.safe_dump_all(self.objects)

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        """The objects of some kinds."""
        return [found for found in self.objects if found["kind"] in kinds]


def render(directory: Path, image_source: str, seed: int = 1, mesh: str = "none", **variables: Any) -> Rendered:
    """Renders everything, with an empty directory to work in; Python orders sets by the seed."""
    playbook, inventory = directory / "render.yml", directory / "inventory.yml"
    playbook.write_text(RENDER.format(repository=REPOSITORY, directory=directory))
    inventory.write_text(yaml.safe_dump(INVENTORY))
    # Where Ansible looks for the variables and the templates of a playbook.
    link_variables(directory)
    (directory / "templates").symlink_to(REPOSITORY / "roles/workload/templates")
    within = ["env", f"PYTHONHASHSEED={seed}"]
    settings = {"image_source_chosen": image_source, "routes": ROUTES, "mesh": mesh}
    run = play(playbook, inventory=str(inventory), within=within, **settings, **variables)
    assert run.ok, run.output
    pods, beside, cluster = (
        json.loads((directory / f"{part}.json").read_text()) for part in ("pods", "beside", "cluster")
    )
    return Rendered(
        workloads=pods["workloads"],
        ops_workloads=pods["ops_workloads"],
        pods=pods["pods"],
        cluster_workloads=cluster["workloads"],
        images_for_pods=set(pods["images"]),
        beside=beside["pods"],
        images_beside=set(beside["images"]),
        objects=cluster["objects"],
        images_for_cluster=set(cluster["images"]),
    )
