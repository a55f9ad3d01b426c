"""The action `verify_bundle`: every file of a bundle on the control machine is as it was when the bundle was made.

- name: Verify the bundle
  verify_bundle:
    directory: "{{ bundle_dir }}"
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible hands module_utils to modules only; what runs on the control machine takes it from beside.
sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from courseload.artifacts import SUMS, deviations


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(argument_spec={"directory": {"type": "path", "required": True}})
        directory = Path(arguments["directory"])
        try:
            wrong = deviations(directory)
        except FileNotFoundError as problem:
            raise AnsibleActionFail(
                f"{directory} is not a bundle, or not a finished one (it has no {SUMS}): "
                "make it with playbooks/bundle.yml."
            ) from problem
        except OSError as problem:
            raise AnsibleActionFail(
                f"The bundle {directory} cannot be read ({problem.strerror}: {problem.filename}): copy it again."
            ) from problem
        if wrong:
            found = "; ".join(f"{what}: {', '.join(names)}" for what, names in wrong.items())
            raise AnsibleActionFail(
                f"The bundle {directory} is not as it was made ({found}): "
                "copy it again, or make it anew with playbooks/bundle.yml."
            )
        return result
