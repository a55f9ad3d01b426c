"""Every playbook can be read, and every role says what it takes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import play

ROLES = sorted(path for path in (REPOSITORY / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted([*REPOSITORY.glob("*.yml"), *(REPOSITORY / "playbooks").glob("*.yml")])


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else None


def specs(role: Path) -> dict[str, Any]:
    found: dict[str, Any] = read(role / "meta/argument_specs.yml")["argument_specs"]
    return found


def options(role: Path) -> dict[str, Any]:
    return {name: option for spec in specs(role).values() for name, option in (spec.get("options") or {}).items()}


def test_every_playbook_passes_the_syntax_check() -> None:
    first, *others = map(str, PLAYBOOKS)
    run = play(first, "--syntax-check", *others)
    assert run.ok, run.output


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_documents_itself_and_every_option(role: Path) -> None:
    assert all(spec.get("short_description") for spec in specs(role).values())
    assert [name for name, option in options(role).items() if not {"description", "type"} <= option.keys()] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_roles_options_and_defaults_are_the_same_variables(role: Path) -> None:
    defaults = read(role / "defaults/main.yml") or {}
    assert defaults.keys() <= options(role).keys(), "defaults that the argument specs do not mention"
    for name, option in options(role).items():
        if "default" in option:
            assert defaults.get(name) == option["default"], f"{name}: the specs and defaults/main.yml differ"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_roles_variables_carry_its_name(role: Path) -> None:
    names = [*options(role), *(read(role / "defaults/main.yml") or {})]
    tasks = "".join(path.read_text() for path in role.glob("tasks/*.yml"))
    internal = [*(read(role / "vars/main.yml") or {}), *re.findall(r"^\s+register: (\w+)", tasks, re.MULTILINE)]
    assert [name for name in names if not name.startswith(f"{role.name}_")] == []
    assert [name for name in internal if not name.startswith(f"__{role.name}_")] == []
