#!/usr/bin/python
"""The module `host_info`: gathers in one visit what decides whether a host can carry the system, changing nothing."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.courseload.ours import K3S_UNITS, SYSTEMD

DOCUMENTATION = """
module: host_info
short_description: Gather what decides whether a host can carry the system
options:
  images: {description: References of images that are needed., type: list, elements: str, default: []}
  ports: {description: 'Where nothing may listen, as C(address) and C(port).', type: list, elements: dict, default: []}
  node:
    description: Whether to gather as well what counts for a node of a cluster, of its kernel and of what listens.
    type: bool
    default: false
  storage:
    description: The directory for whose file system the free space is returned. It need not be there yet.
    type: path
    default: /var/lib/containers
"""

RETURN = """
memory_mb: {description: Memory in MiB., type: int, returned: always}
disk: {description: The C(mount) that holds the storage and C(free_mb) on it., type: dict, returned: always}
podman: {description: Whether Podman is there., type: bool, returned: always}
images_missing: {description: Of the images those that are not there., type: list, returned: always}
ports_taken: {description: Of the ports those where something listens., type: list, returned: always}
cgroup: {description: The version of the control groups., type: int, returned: always}
controllers: {description: The controllers of control groups that are on., type: list, returned: with C(node)}
modules_missing: {description: Modules of the kernel that it seems to lack., type: list, returned: with C(node)}
k3s: {description: Whether a unit of k3s is there., type: bool, returned: with C(node)}
listeners:
  description: C(port), C(name) and C(pid) of what listens to TCP; nothing where ss is missing.
  type: list
  returned: with C(node)
"""

MODULES = ("br_netfilter", "nf_tables", "overlay")
ANSWERS_S = 1.0


def memory_mb(meminfo: str) -> int:
    """The memory of a host, from its /proc/meminfo."""
    return int(meminfo.partition("MemTotal:")[2].split()[0]) // 1024


def disk(path: Path) -> dict[str, Any]:
    """The file system that holds a directory, or will."""
    while not path.exists():
        path = path.parent
    space = os.statvfs(path)
    path = path.resolve()
    while not path.is_mount():
        path = path.parent
    return {"mount": str(path), "free_mb": space.f_frsize * space.f_bavail // 2**20}


def listens(address: str, port: int) -> bool:
    """Whether something takes connections there; what is for all addresses is asked for on loopback."""
    with closing(socket.socket()) as client:
        client.settimeout(ANSWERS_S)
        return client.connect_ex(("127.0.0.1" if address == "0.0.0.0" else address, port)) == 0


def missing_images(module: AnsibleModule, images: Iterable[str], podman: str | None) -> list[str]:
    """A Podman that cannot answer yet, because its settings follow, has no images either."""
    wanted = list(images)
    if not podman or not wanted:
        return wanted
    code, out, _ = module.run_command([podman, "images", "--format=json"])
    found = {name for image in json.loads(out or "[]") or [] for name in image.get("Names") or []} if not code else ()
    return [image for image in wanted if image not in found]


def controllers(root: Path = Path("/")) -> tuple[int, list[str]]:
    """The version of the control groups, and the controllers that are on.

    With version 2 they are in one list; with version 1 the kernel's own table says which are.
    """
    unified = root / "sys/fs/cgroup/cgroup.controllers"
    if unified.exists() and (names := unified.read_text().split()):
        return 2, names
    rows = [line.split() for line in (root / "proc/cgroups").read_text().splitlines() if not line.startswith("#")]
    return 1, [row[0] for row in rows if row[3] == "1"]


def missing_modules(module: AnsibleModule, root: Path = Path("/")) -> list[str]:
    """What the kernel can neither load nor has built in, as far as can be seen."""
    modprobe = module.get_bin_path("modprobe")
    loadable = {name for name in MODULES if modprobe and module.run_command([modprobe, "-nq", name])[0] == 0}
    built_in = set((root / "proc/filesystems").read_text().split())
    others = [name for name in MODULES if name not in loadable | built_in]
    # The table of symbols has some megabytes.
    symbols = (root / "proc/kallsyms").read_text(errors="replace") if others else ""
    return [name for name in others if f" {name}_" not in symbols]


def listeners(text: str) -> list[dict[str, Any]]:
    """What listens to TCP, as `ss` prints it without a header: the port, and the name and pid of a process."""
    found = []
    for line in text.splitlines():
        process = re.search(r'users:\(\("([^"]*)",pid=(\d+)', line)
        name, pid = (process[1], int(process[2])) if process else ("", 0)
        found.append({"port": int(line.split()[3].rpartition(":")[2]), "name": name, "pid": pid})
    return found


def of_node(module: AnsibleModule, names: list[str]) -> Mapping[str, Any]:
    """What counts for a node, beside the controllers that are on."""
    ss = module.get_bin_path("ss")
    # Where ss is missing, k3s itself says which port it cannot have.
    out = module.run_command([ss, "--no-header", "--listening", "--tcp", "--numeric", "--processes"])[1] if ss else ""
    return {
        "controllers": names,
        "modules_missing": missing_modules(module),
        "k3s": any((Path(SYSTEMD) / unit).exists() for unit in K3S_UNITS),
        "listeners": listeners(out),
    }


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "dict", "default": []},
            "node": {"type": "bool", "default": False},
            "storage": {"type": "path", "default": "/var/lib/containers"},
        },
        supports_check_mode=True,
    )
    asked = module.params
    podman = module.get_bin_path("podman")
    try:
        cgroup, names = controllers()
        module.exit_json(
            changed=False,
            memory_mb=memory_mb(Path("/proc/meminfo").read_text()),
            disk=disk(Path(asked["storage"])),
            cgroup=cgroup,
            podman=podman is not None,
            images_missing=missing_images(module, asked["images"], podman),
            ports_taken=[each for each in asked["ports"] if listens(each["address"], int(each["port"]))],
            **(of_node(module, names) if asked["node"] else {}),
        )
    except OSError as problem:
        module.fail_json(msg=f"What this host is cannot be read: {problem.strerror} ({problem.filename}).")


if __name__ == "__main__":
    main()
