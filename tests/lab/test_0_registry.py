"""The upstream images, from a registry (Debian's, which the hosts' image has) that stands in for those upstream.

What it holds is small, under the upstream names: it is about the way of an image, not about what is in it.
"""

import io
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from courseload.ours import MARK
from helpers import machine
from helpers.http_server import certificate
from helpers.machine import REPOSITORY
from helpers.playbook import Play, play, write_playbook
from lab.hosts import host_image
from lab.podman import podman, settle

UPSTREAM = {
    "redis": "library/redis:8.2.9",
    "mongo": "library/mongo:8.0",
    "haproxy": "library/haproxy:3.2",
    "grafana": "grafana/grafana:12.4.11",
    "linkerd-controller": "linkerd/controller:edge-26.10.1",
    "linkerd-proxy": "linkerd/proxy:edge-26.10.1",
}
IMAGES = {
    "redis": "redis",
    "mongodb": "mongo",
    "ingress": "haproxy",
    "grafana": "grafana",
    "linkerd-controller": "linkerd-controller",
    "linkerd-proxy": "linkerd-proxy",
}
TASKS = """\
- name: Learn what this host stands on
  ansible.builtin.setup: {gather_subset: [service_mgr]}
- name: Settle Podman
  ansible.builtin.include_role: {name: host, tasks_from: podman}
- name: Choose
  ansible.builtin.include_role: {name: image, tasks_from: source}
- name: Pull
  ansible.builtin.include_role: {name: image}
- name: Export
  ansible.builtin.include_role: {name: image, tasks_from: archive}
"""

pytestmark = pytest.mark.skipif(machine.obstacle() is not None, reason=f"this machine {machine.obstacle()}")


@dataclass(frozen=True)
class Registry:
    """A registry that runs, at an address without TLS and at one with it, and the digests of what it holds."""

    address: str
    secure: str
    certificate: Path
    digests: dict[str, str]

    @property
    def pins(self) -> dict[str, str]:
        """The digests by the names that pins have."""
        return {f"{home(name)}/{UPSTREAM[name]}": digest for name, digest in self.digests.items()}


def home(name: str) -> str:
    """The registry that an image is in."""
    return "cr.l5d.io" if name.startswith("linkerd") else "docker.io"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    settle()
    marked = MARK.exists()
    directory = tmp_path_factory.mktemp("registry")
    tls = certificate(directory)
    containers: list[str] = []
    try:
        address = serve(directory, "plain", {}, containers)
        # Both have the same storage.
        keys = {"certificate": f"/srv/{tls.name}", "key": f"/srv/{tls.name}"}
        secure = serve(directory, "secure", {"tls": keys}, containers)
        yield Registry(address, secure, tls, {name: push(directory, name, address) for name in UPSTREAM})
    finally:
        for container in containers:
            podman("stop", "--time=1", container)
        if MARK.exists() and not marked:  # this machine would pass for one that has courseload
            MARK.unlink()
            MARK.parent.rmdir()


def serve(directory: Path, name: str, http: dict[str, Any], containers: list[str]) -> str:
    """Starts a registry on a free port of loopback, adds its container to the list, and returns its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    storage = {"filesystem": {"rootdirectory": "/srv/storage"}}
    settings = {"version": 0.1, "log": {"level": "error"}, "storage": storage, "http": {"addr": address} | http}
    (directory / f"{name}.yml").write_text(yaml.safe_dump(settings))
    containers.append(
        podman(
            *("run", "--detach", "--rm", "--network=host", f"--volume={directory}:/srv", host_image()),
            *("docker-registry", "serve", f"/srv/{name}.yml"),
        )
    )
    wait_for(address)
    return address


def wait_for(address: str) -> None:
    """Waits until the registry takes connections."""
    host, _, port = address.partition(":")
    for _ in range(100):
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"no registry listens on {address} after 10 s")


def push(directory: Path, name: str, address: str) -> str:
    """Makes an image with one file and puts it into the registry under the upstream name; returns its digest."""
    archive = directory / f"{name}.tar"
    with tarfile.open(archive, "w") as tar:
        file = tarfile.TarInfo("name")
        file.size = len(name)
        tar.addfile(file, io.BytesIO(name.encode()))
    image, digest = f"localhost/courseload-test/{name}:1", directory / f"{name}.digest"
    podman("import", str(archive), image)
    target = f"docker://{address}/{UPSTREAM[name]}"
    podman("push", "--tls-verify=false", f"--digestfile={digest}", image, target)
    podman("rmi", image)
    return digest.read_text()


@pytest.fixture
def settings(tmp_path: Path, registry: Registry) -> Iterator[dict[str, Any]]:
    """The variables of a run that leaves its files in the test's directory."""
    yield {
        "registry_mirror": f"http://{registry.address}",
        "published_pins": registry.pins,
        "pins_file": str(tmp_path / "pins.yml"),
        "image_names": list(IMAGES),
        "config_dir": str(tmp_path / "etc"),
        "host_containers_conf": str(tmp_path / "containers.conf"),
        "host_registries_conf": str(tmp_path / "registries.conf"),
        "image_archive_dir": str(tmp_path / "build/images"),
        "artifact_directory": str(tmp_path / "artifacts"),
    }
    for image in references(registry):
        subprocess.run(["podman", "rmi", image], check=False, capture_output=True)


def references(registry: Registry) -> list[str]:
    tags = {name: registry.digests[upstream].removeprefix("sha256:")[:12] for name, upstream in IMAGES.items()}
    return [f"localhost/courseload/{name}:{tag}" for name, tag in tags.items()]


def pull(tmp_path: Path, settings: dict[str, Any], trusted: Path | None = None) -> Play:
    playbook = write_playbook(tmp_path, TASKS)
    within = ["env", f"CONTAINERS_REGISTRIES_CONF={settings['host_registries_conf']}"]
    within += [f"SSL_CERT_FILE={trusted}"] if trusted else []
    return play(playbook, inventory=str(REPOSITORY / "inventory/local.yml"), within=within, **settings)


def test_images_are_pulled_by_digest_through_the_mirror_and_get_our_name(
    tmp_path: Path, registry: Registry, settings: dict[str, Any]
) -> None:
    first = pull(tmp_path, settings)
    assert first.ok, first.output
    for image in references(registry):
        assert machine.podman("image", "inspect", '--format={{join .RepoTags " "}}', image) == image
    archives = {image.rpartition("/")[2].replace(":", "-") + ".tar.zst" for image in references(registry)}
    assert {path.name for path in (tmp_path / "artifacts/images").iterdir()} == archives
    second = pull(tmp_path, settings)
    assert second.ok, second.output
    assert second.changes == []


def test_a_digest_that_the_registry_does_not_have_stops_the_run(tmp_path: Path, settings: dict[str, Any]) -> None:
    wrong = settings["published_pins"] | {f"docker.io/{UPSTREAM['redis']}": "sha256:" + "0" * 64}
    run = pull(tmp_path, settings | {"published_pins": wrong})
    assert not run.ok
    assert "docker.io/library/redis@sha256:000" in run.reasons[-1]
    assert "registry_mirror" in run.reasons[-1]


@pytest.fixture
def unpinned(registry: Registry, settings: dict[str, Any]) -> dict[str, Any]:
    """The variables of a run that finds no pins, through TLS."""
    # The images of the mesh are asked for where there is one.
    return settings | {"published_pins": {}, "registry_mirror": f"https://{registry.secure}", "mesh_active": True}


def test_what_has_no_pin_is_pinned_on_first_use_and_pulled_by_that(
    tmp_path: Path, registry: Registry, unpinned: dict[str, Any]
) -> None:
    first = pull(tmp_path, unpinned, registry.certificate)
    assert first.ok, first.output
    assert yaml.safe_load((tmp_path / "pins.yml").read_text()) == registry.pins
    for image in references(registry):
        assert machine.podman("image", "inspect", '--format={{join .RepoTags " "}}', image) == image
    second = pull(tmp_path, unpinned, registry.certificate)
    assert second.ok, second.output
    assert second.changes == []


def test_another_digest_than_the_pinned_one_stops_the_run_and_is_named(
    tmp_path: Path, registry: Registry, unpinned: dict[str, Any]
) -> None:
    redis, before = f"docker.io/{UPSTREAM['redis']}", "sha256:" + "0" * 64
    pins = registry.pins | {redis: before}
    (tmp_path / "pins.yml").write_text(yaml.safe_dump(pins))
    run = pull(tmp_path, unpinned, registry.certificate)
    assert not run.ok
    now = f"{redis} is {registry.pins[redis]} now, and pinned as {before} in {tmp_path / 'pins.yml'}"
    assert now in run.reasons[-1]


def test_without_tls_nothing_is_pinned(tmp_path: Path, settings: dict[str, Any]) -> None:
    run = pull(tmp_path, settings | {"published_pins": {}, "image_source": "registry"})
    assert not run.ok
    assert "not https" in run.reasons[0]
    assert not (tmp_path / "pins.yml").exists()


CHOOSE = """\
- name: Choose
  ansible.builtin.include_role: {name: image, tasks_from: source}
- name: Tell
  ansible.builtin.debug: {msg: "{{ image_source_chosen }}: {{ image_source_reason }}"}
"""
NO_ANSWER = "packages: no container registry answered"
NO_DIGEST = "packages: a registry answers, but there are digests that it does not give"


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("it has ended", NO_ANSWER),
        ("nobody trusts it", NO_ANSWER),
        ("no TLS and no pins", NO_DIGEST),
        ("no TLS and pins", "registry: a registry answers"),
    ],
)
def test_by_itself_a_registry_is_taken_only_where_it_answers_for_all(
    tmp_path: Path, registry: Registry, settings: dict[str, Any], case: str, told: str
) -> None:
    choosing = settings | ({} if case.endswith("and pins") else {"published_pins": {}})
    if case == "it has ended":
        choosing["registry_mirror"] = f"http://{ended(tmp_path)}"
    elif case == "nobody trusts it":
        choosing["registry_mirror"] = f"https://{registry.secure}"
    run = play(write_playbook(tmp_path, CHOOSE), inventory=str(REPOSITORY / "inventory/local.yml"), **choosing)
    assert run.ok, run.output
    assert told in " ".join(run.output.split())
    assert not (tmp_path / "pins.yml").exists()


def ended(directory: Path) -> str:
    """The address of a registry that has answered, and is stopped."""
    containers: list[str] = []
    address = serve(directory, "ended", {}, containers)
    podman("stop", "--time=1", *containers)
    return address


def test_the_lock_pins_what_the_registry_has(tmp_path: Path, registry: Registry) -> None:
    variables: dict[str, Any] = {
        "registry_mirror": f"https://{registry.secure}",
        "pins_file": str(tmp_path / "pins.yml"),
        "published_pins": {},
        "artifacts": {},
    }
    run = play("playbooks/lock.yml", within=["env", f"SSL_CERT_FILE={registry.certificate}"], **variables)
    assert run.ok, run.output
    assert yaml.safe_load((tmp_path / "pins.yml").read_text()) == registry.pins
