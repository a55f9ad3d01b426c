#!/usr/bin/python
"""The state of k3s on a host: what is there, whose it is; and the end of one that is courseload's."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.courseload.ours import (
    K3S_BINARY,
    K3S_DATA,
    K3S_ETC,
    K3S_SERVER,
    K3S_UNITS,
    SHARED,
    SYSTEMD,
    WRITTEN_BY_K3S,
    Mark,
    below,
    k3s_owner,
    other_kubelets,
    text,
)
from ansible.module_utils.courseload.sweep import Sweep

DOCUMENTATION = """
module: k3s_here
short_description: Gather what k3s has on a host, tell whose it is, or remove the files of one that is courseload's
description:
  - Without options it tells whose k3s is here, and changes nothing.
options:
  gather: {description: Whether to gather what is here instead; nothing is changed., type: bool, default: false}
  remove:
    description: Whether to remove the files of a k3s that is courseload's, once it is stopped.
    type: bool
    default: false
  binary: {description: The binary that is asked for its version., type: path, default: /usr/local/bin/k3s}
"""

RETURN = """
found:
  description:
    - C(version) of the binary. By path, C(files) has the time of the last change, C(modes) the mode, and C(sums) the
      SHA-256 of those whose content counts. C(config) is the text of config.yaml.
    - C(initialized) says whether there is a server's token, so that the host is part of a cluster; C(foreign), whether
      k3s was set up here by somebody else.
  type: dict
  returned: when I(gather)
owner: {description: "C(ours), C(another's), or nothing where there is no k3s.", type: str, returned: unless I(gather)}
beside: {description: The kubelets of others., type: list, returned: unless I(gather)}
sentence:
  description: What is found and let be, in words that follow the host's name.
  type: str
  returned: unless I(gather)
removed: {description: What was removed., type: list, returned: unless I(gather)}
left: {description: A sentence on each directory that could not be removed., type: list, returned: unless I(gather)}
"""

# What is listed: files, and directories with what is in them.
LISTED = (
    *(K3S_ETC, f"{K3S_ETC}/config.yaml.d", f"{K3S_SERVER}/token", f"{K3S_DATA}/agent/images"),
    *(f"{SYSTEMD}/{unit}{suffix}" for unit in K3S_UNITS for suffix in ("", ".env")),
    *(f"/run/systemd/units/invocation:{unit}" for unit in K3S_UNITS),
    *(f"{directory}/{program}" for directory in ("/usr/local/bin", "/usr/bin") for program in ("kubectl", "ctr")),
)
SUMMED = (
    *(f"{K3S_ETC}/{name}" for name in ("config.yaml", "registries.yaml", "token", "agent-token")),
    *(f"{K3S_SERVER}/{name}" for name in ("token", "agent-token")),
    *(f"{SYSTEMD}/{unit}" for unit in K3S_UNITS),
)

OWN = (K3S_ETC, "/run/k3s", K3S_DATA)
# The password of the node, in which RKE2 keeps its own too.
NODE = "/etc/rancher/node"
# They go where nothing is left in them.
PARENTS = ("/etc/rancher", "/var/lib/rancher")
KUBELETS = {"kubelet", "kubelite", "k0s", "rke2"}


def gather(version: str, binary: str, root: Path = Path("/")) -> dict[str, Any]:
    """What k3s has on this host; what is missing is passed over."""
    files, modes = {}, {}
    for place in (binary, *LISTED):
        for path in _with_entries(below(root, place)):
            try:
                found = path.lstat()
            except OSError:
                continue
            name = f"/{path.relative_to(root)}"
            files[name], modes[name] = found.st_mtime, f"0{stat.S_IMODE(found.st_mode):o}"
    config = text(below(root, K3S_ETC) / "config.yaml")
    return {
        "version": version,
        "files": files,
        "modes": modes,
        "sums": {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for name in SUMMED
            if (path := below(root, name)).is_file()
        },
        "config": config,
        "initialized": f"{K3S_SERVER}/token" in files,
        "foreign": any(f"{SYSTEMD}/{unit}" in files for unit in K3S_UNITS) and WRITTEN_BY_K3S not in config,
    }


def _with_entries(path: Path) -> list[Path]:
    """A path and, of a directory, what is in it."""
    return [path, *(path.iterdir() if path.is_dir() and not path.is_symlink() else [])]


def version_of(binary: str, module: AnsibleModule) -> str:
    """The version that the binary tells; "" where there is none that does."""
    try:
        told = module.run_command([binary, "--version"], handle_exceptions=False)[1]
    except OSError:
        return ""
    named = re.search(r"k3s version (\S+)", told)
    return named[1] if named else ""


def running_kubelets(processes: Path = Path("/proc")) -> list[str]:
    """Kubelets of others that run on this host, and not in a container on it."""
    here = (processes / "self/ns/mnt").readlink()
    found = set()
    for process in processes.glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
            if name in KUBELETS and (process / "ns/mnt").readlink() == here:
                found.add(name)
        except OSError:  # it has ended
            continue
    return sorted(found)


def sentence(owner: str, others: Sequence[str], shared: Sequence[str]) -> str:
    """What is found and let be; nothing where there is nothing to say."""
    if owner == "another's":
        return "has a k3s that courseload has not set up: it was left as it is."
    if others and owner == "ours":
        return (
            f"has a kubelet of somebody else's too ({', '.join(others)}): of k3s, what only k3s makes is removed; the "
            "packet filter, the interfaces and the control groups that kubelets share were left."
        )
    if others:
        return f"has a cluster that courseload has not made ({', '.join(others)}): it was left as it is."
    if shared:
        return f"had something in {', '.join(shared)} before courseload's k3s came: these were left."
    return ""


def trees(others: Sequence[str], shared: Sequence[str]) -> list[str]:
    """What is to be removed: k3s's own, and what kubelets share where it is the only one that was ever here."""
    if others:
        return list(OWN)
    return [*OWN, NODE, *(place for place in SHARED if place not in shared)]


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(
        argument_spec={
            "gather": {"type": "bool", "default": False},
            "remove": {"type": "bool", "default": False},
            "binary": {"type": "path", "default": K3S_BINARY},
        },
        mutually_exclusive=[("gather", "remove")],
        supports_check_mode=True,
    )
    if module.params["gather"]:
        binary = module.params["binary"]
        module.exit_json(changed=False, found=gather(version_of(binary, module), binary))
    try:
        mark = Mark.read()
        owner = k3s_owner(mark)
        others = sorted({*other_kubelets(), *running_kubelets()})
        shared = mark.shared if mark else []
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        sweep = Sweep(module.check_mode, mounts)
        if module.params["remove"] and owner == "ours":
            if not module.check_mode and not (mark and mark.k3s):
                # What says so is about to be removed, and this may not come to its end.
                replace(mark or Mark(), k3s=True).write()
            for place in trees(others, shared):
                sweep.tree(Path(place))
            for place in PARENTS:
                sweep.empty(Path(place))
    except (OSError, ValueError) as problem:
        module.fail_json(msg=f"Whose cluster is here cannot be told, or its files not be removed: {problem}")
    module.exit_json(
        changed=bool(sweep.removed),
        owner=owner,
        beside=others,
        sentence=sentence(owner, others, shared),
        removed=sweep.removed,
        left=sweep.left,
    )


if __name__ == "__main__":
    main()
