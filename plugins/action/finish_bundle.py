"""The action `finish_bundle`: says in bundle.yml what a bundle was made from, and lists its files in SHA256SUMS.

- name: Finish the bundle
  finish_bundle:
    directory: "{{ artifact_directory }}"
    artifacts: "{{ the descriptions of its files by name, as artifacts.yml has them }}"
    image_source: packages
    architecture: amd64
    releases: [bookworm]  # whose packages are in it
    pins: "{{ the digests of its upstream images }}"
    refreshed: "{{ when newer packages were asked for; empty where nobody did }}"

Files that an earlier bundle in the same place had, and this one has not, are removed; any other file stops it. It
returns `size`, in bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible hands module_utils to modules only; what runs on the control machine takes it from beside.
sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from courseload import bundle
from courseload.artifacts import SUMS

ARGUMENTS = {
    "directory": {"type": "path", "required": True},
    "artifacts": {"type": "dict", "required": True},
    "image_source": {"type": "str", "required": True},
    "architecture": {"type": "str", "required": True},
    "releases": {"type": "list", "elements": "str", "required": True},
    "pins": {"type": "dict", "default": {}},
    "refreshed": {"type": "str", "default": ""},
}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        directory, artifacts = Path(arguments["directory"]), arguments["artifacts"]
        hosts = bundle.Hosts(arguments["architecture"], arguments["releases"])
        text = bundle.describe(arguments["image_source"], hosts, artifacts, arguments["pins"], arguments["refreshed"])
        dry = self._task.check_mode
        try:
            if strange := bundle.contents(directory, artifacts, hosts.repositories).strange:
                raise AnsibleActionFail(
                    f"{', '.join(strange)} in {directory} is no part of the bundle: take it out, then run this again."
                )
            changed = bundle.write(directory / bundle.DESCRIPTION, text, dry)
            found = bundle.contents(directory, artifacts, hosts.repositories)
            for name in () if dry else found.replaced:
                (directory / name).unlink()
            changed |= bundle.write(directory / SUMS, bundle.sums(directory, found.kept), dry)
        except OSError as problem:
            raise AnsibleActionFail(
                f"The bundle {directory} cannot be finished ({problem.strerror}: {problem.filename}): "
                "see to that, then run this again."
            ) from problem
        size = sum((directory / name).stat().st_size for name in found.kept)
        return result | {"changed": bool(changed or found.replaced), "size": size}
