"""A bundle has what its inventory needs; a folder becomes a bundle, and a stranger's file is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import Play, play, write_playbook

PINS = {"docker.io/library/redis:8.0": "sha256:" + "1" * 64}
FOR = {"architecture": "amd64", "releases": ["bookworm"]}
ARTIFACTS = {"thing": {"version": "1", "file": "thing-1", "checksums": ""}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "bundle"
    directory.mkdir()
    (directory / "thing-1").write_text("what was published\n")
    return directory


def finish(folder: Path, *options: str) -> Play:
    arguments = {"artifacts": ARTIFACTS, "image_source": "packages", "pins": PINS} | FOR
    tasks = [
        {"name": "Finish", "finish_bundle": {"directory": str(folder), **arguments}},
        {"name": "Verify", "verify_bundle": {"directory": str(folder)}, "when": "not ansible_check_mode"},
    ]
    playbook = folder.parent / "playbook.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    return play(playbook, *options)


def test_a_folder_becomes_a_bundle_once(folder: Path) -> None:
    first = finish(folder)
    assert first.ok, first.output
    described = yaml.safe_load((folder / "bundle.yml").read_text())
    assert (described["artifacts"], described["pins"]) == ({"thing": 1}, PINS)
    assert (described["architecture"], described["releases"]) == ("amd64", ["bookworm"])
    assert first.changes == ["Finish"]
    second = finish(folder)
    assert second.ok, second.output
    assert second.changes == []


def test_a_check_finishes_nothing(folder: Path) -> None:
    run = finish(folder, "--check")
    assert run.ok, run.output
    assert [path.name for path in folder.iterdir()] == ["thing-1"]


def test_a_file_of_somebodys_stops_it_before_anything_is_written(folder: Path) -> None:
    (folder / "notes.txt").touch()
    run = finish(folder)
    assert not run.ok
    assert "notes.txt" in run.reasons[-1]
    assert "take it out" in run.reasons[-1]
    assert not (folder / "bundle.yml").exists()


NEEDED = """\
- name: Read what hosts are given
  ansible.builtin.include_vars: "{{ repository_root }}/roles/host/vars/main.yml"
- name: Tell
  ansible.builtin.debug:
    msg: >-
      images: {{ images_run | sort | join(' ') }}; files: {{ artifacts_bundled | list | sort | join(' ') }};
      packages of nodes alone: {{ __host_all_packages | intersect(['kmod']) | join }}.
"""
OF_PODS = {"documentdb", "exporters", "ferretdb", "ingress", "loadgen", "prometheus", "redis", "services"}
OF_A_MESH = {"linkerd-controller", "linkerd-proxy"}
OF_K3S = {"k3s-amd64", "k3s-images-amd64"}
CHARTS = {"gateway-api", "linkerd-control-plane", "linkerd-crds"}


@pytest.mark.parametrize(
    ("inventory", "mesh", "images", "files"),
    [
        ("inventory/local.yml", "linkerd", OF_PODS, set()),
        ("inventory/cluster.example.yml", "none", OF_PODS | {"kubectl"}, OF_K3S),
        ("inventory/cluster.example.yml", "linkerd", OF_PODS | {"kubectl"} | OF_A_MESH, OF_K3S | CHARTS),
    ],
)
def test_a_bundle_has_what_its_inventory_needs(
    tmp_path: Path, inventory: str, mesh: str, images: set[str], files: set[str]
) -> None:
    playbook = write_playbook(tmp_path, NEEDED)
    settings = {"mesh": mesh, "bundle_architecture": "amd64", "host_packages": []}
    run = play(playbook, inventory=str(REPOSITORY / inventory), **settings)
    assert run.ok, run.output
    told = " ".join(run.output.split())  # where lines end depends on their length
    assert f"images: {' '.join(sorted(images))}; files: {' '.join(sorted(files))};" in told
    assert f"packages of nodes alone: {'kmod' if files else ''}." in told
