"""What is not there the first time is no reason for a warning: nobody could do anything about it."""

from pathlib import Path
from typing import Any

import yaml

from helpers.playbook import play


def test_a_first_look_at_what_is_not_there_yet_warns_of_nothing(tmp_path: Path) -> None:
    roles = [
        {"name": "credential", "tasks_from": "main"},
        {"name": "image", "tasks_from": "require"},
    ]
    playbook = tmp_path / "first.yml"
    tasks = [{"name": role["name"], "ansible.builtin.include_role": role} for role in roles]
    playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    variables: dict[str, Any] = {
        "config_dir": str(tmp_path / "configuration"),
        "artifact_directory": str(tmp_path / "artifacts"),
        "container_uid": 0,
        "artifact_offline": False,
        "image_names": ["redis"],
        "image_references": {"redis": "localhost/courseload/redis:8.0"},
        "credential_files": {"someone": {"uri": "redis://:{password}@redis"}},
    }
    run = play(playbook, "--check", **variables)
    assert run.ok, run.output
    assert "WARNING" not in run.output
    assert "DEPRECAT" not in run.output
