"""The module host_info: what decides whether a host can carry the system, read without changing it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from helpers.plugins import load

host_info = load("modules", "host_info")


class Machine:
    """Stands in for AnsibleModule: every command fails or prints the same."""

    def __init__(self, out: str | None) -> None:
        self.out = out

    def get_bin_path(self, name: str) -> str:
        return name

    def run_command(self, _: list[str]) -> tuple[int, str, str]:
        return (1, "", "no") if self.out is None else (0, self.out, "")


def test_memory_is_in_mib() -> None:
    assert host_info.memory_mb("MemTotal:        2048000 kB\nMemFree: 1 kB\n") == 2000


def test_space_is_that_of_the_file_system_that_will_hold_a_directory(tmp_path: Path) -> None:
    there, later = host_info.disk(tmp_path), host_info.disk(tmp_path / "not/yet")
    assert there["mount"] == later["mount"]
    assert tmp_path.is_relative_to(there["mount"])
    assert there["free_mb"] > 0


def test_a_port_is_taken_while_something_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert host_info.listens("127.0.0.1", port)
        assert host_info.listens("0.0.0.0", port)
    assert not host_info.listens("127.0.0.1", port)


def test_images_are_missing_that_podman_does_not_list_or_without_its_answer() -> None:
    images = ["localhost/courseload/redis:1", "localhost/courseload/relay:2"]
    listed = '[{"Names": ["localhost/courseload/redis:1", "other"]}, {"Names": null}, {}]'
    assert host_info.missing_images(Machine(listed), images, "podman") == images[1:]
    assert host_info.missing_images(Machine(None), images, "podman") == images
    assert host_info.missing_images(Machine(listed), images, None) == images
    assert host_info.missing_images(Machine(None), [], "podman") == []


@pytest.mark.parametrize(
    ("unified", "expected"),
    [("cpu memory pids\n", (2, ["cpu", "memory", "pids"])), ("", (1, ["cpu"])), (None, (1, ["cpu"]))],
)
def test_controllers_are_those_of_the_version_that_has_them(
    tmp_path: Path, unified: str | None, expected: tuple[int, list[str]]
) -> None:
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cgroups").write_text("#subsys_name\thierarchy\tnum\tenabled\ncpu\t3\t1\t1\nmemory\t0\t1\t0\n")
    if unified is not None:
        (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text(unified)
    assert host_info.controllers(tmp_path) == expected


def test_a_module_of_the_kernel_may_be_built_in(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/filesystems").write_text("nodev\toverlay\n\text4\n")
    (tmp_path / "proc/kallsyms").write_text("0000 t nf_tables_newtable\n")
    assert host_info.missing_modules(Machine(None), tmp_path) == ["br_netfilter"]
    assert host_info.missing_modules(Machine(""), tmp_path) == []


def test_who_listens_is_read_with_name_and_pid() -> None:
    text = (
        'LISTEN 0 128 127.0.0.1:6443 0.0.0.0:* users:(("k3s-server",pid=7,fd=3),("k3s-server",pid=8,fd=3))\n'
        "LISTEN 0 128 [::]:22 [::]:*\n"
    )
    assert host_info.listeners(text) == [
        {"port": 6443, "name": "k3s-server", "pid": 7},
        {"port": 22, "name": "", "pid": 0},
    ]
