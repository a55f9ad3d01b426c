"""A build through a proxy with a password: everything goes through it, and no command line shows the password."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from helpers.forward_proxy import forward_proxy
from helpers.machine import REPOSITORY, podman, podman_list
from helpers.playbook import link_variables, play
from helpers.processes import command_lines_with

PLAYBOOK = """\
- name: Build an image
  hosts: localhost
  gather_facts: false
  vars: {{repository_root: {repository}}}
  roles: [settings]
  tasks:
    - name: Ask for it
      ansible.builtin.include_role: {{name: image, rolespec_validate: false}}
      vars: {{image_names: [kubectl]}}
"""
IMAGE = "localhost/courseload/kubectl:test-proxy"


@pytest.mark.timeout(400)
def test_a_build_goes_through_the_proxy_and_no_command_line_shows_its_password(tmp_path: Path) -> None:
    base = next(name for name in podman_list("image") if name.startswith("localhost/courseload/base:"))
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(PLAYBOOK.format(repository=REPOSITORY))
    link_variables(tmp_path)
    password = secrets.token_hex(16)
    with forward_proxy("user", password) as proxy, command_lines_with(password) as seen:
        try:
            run = play(
                playbook,
                inventory=str(REPOSITORY / "inventory/local.yml"),
                http_proxy=proxy.url,
                state_dir=str(tmp_path / "state"),
                image_references={"base": base, "kubectl": IMAGE},
                images_pulled=[],
            )
            assert run.ok, run.output[-4000:]
            assert IMAGE in podman_list("image")
            environment = podman("image", "inspect", "--format", "{{.Config.Env}} {{.History}}", IMAGE)
        finally:
            podman("image", "rm", "--force", "--ignore", IMAGE)
    assert seen.found == set()
    assert len(proxy.asked) > 0, "the build went past the proxy"
    assert password not in run.output
    # Nor does it stay in the image.
    assert password not in environment
