"""The action `warn_unknown_settings`: warns of variables that look like settings of this repository, and are none.

    - name: Name what looks like a setting and is none
      warn_unknown_settings:
        repository: "{{ repository_root }}"

It looks at what is set for the hosts of the play, by the inventory and on the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.action import ActionBase

_CLOSE = 0.85  # of difflib's ratio: one or two letters of a name are wrong


class ActionModule(ActionBase):
    """Compares the names of variables with those that this repository knows."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Returns the warnings; never fails."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        hosts = task_vars["ansible_play_hosts_all"]
        names = {name for host in hosts for name in task_vars["hostvars"].raw_get(host)}
        settings, others = known(Path(self._task.args["repository"]))
        result["warnings"] = warnings(names - others, settings)
        return result


def warnings(names: Iterable[str], settings: Iterable[str]) -> list[str]:
    """A sentence for each name that is no setting, but looks like one; in the order of the names."""
    settings = set(settings)
    return [
        f"{name} is set, and nothing here reads it. Is {close[0]} meant?"
        for name in sorted(set(names) - settings)
        if not name.startswith(("_", "ansible_")) and (close := get_close_matches(name, settings, n=1, cutoff=_CLOSE))
    ]


def known(repository: Path) -> tuple[set[str], set[str]]:
    """The names of the settings, and those of the other variables that this repository has."""
    roles, settings = repository / "roles", repository.glob("roles/*/defaults/**/*.yml")
    others = {name for place in (repository / "group_vars").rglob("*.yml") for name in _read(place)}
    for specs in roles.glob("*/meta/argument_specs.yml"):
        for entry in _read(specs)["argument_specs"].values():
            others |= (entry.get("options") or {}).keys()
    return {name for place in settings for name in _read(place)}, others


def _read(place: Path) -> Mapping[str, Any]:
    return yaml.safe_load(place.read_text(encoding="utf-8")) or {}
