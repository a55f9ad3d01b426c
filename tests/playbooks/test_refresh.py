"""refresh=true: the images of a run are other ones than before, from its beginning on, and stay so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from helpers.machine import REPOSITORY
from helpers.playbook import Play, play, write_playbook

TASKS = f"""\
- ansible.builtin.include_tasks: {REPOSITORY}/playbooks/tasks/refresh.yml
  when: refresh | bool
- ansible.builtin.include_role: {{name: image, tasks_from: source}}
- ansible.builtin.debug: {{var: image_references.redis}}
"""


def test_images_are_built_anew_once_for_each_time_that_it_is_asked_for(tmp_path: Path) -> None:
    playbook = write_playbook(tmp_path, TASKS)

    def redis(**variables: Any) -> tuple[str, Play]:
        done = play(playbook, pins_file=str(tmp_path / "pins.yml"), image_source="packages", **variables)
        (found,) = re.findall(r"localhost/courseload/redis:\w+", done.output)[-1:] or [""]
        return found, done

    before, _ = redis()
    refreshed, done = redis(refresh=True)
    assert refreshed != before
    assert done.changes == ["Record when packages were to be new"]
    after, done = redis()
    assert (after, done.changes) == (refreshed, [])
    refused = redis(refresh=True, bundle_dir=str(tmp_path))[1]
    assert "make another bundle, with playbooks/bundle.yml -e refresh=true" in " ".join(refused.reasons)
