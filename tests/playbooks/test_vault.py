"""The mesh's keys in Ansible Vault: they are read, and what is made anew is encrypted as they are."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import Play, play, write_playbook

ENCRYPTED = "$ANSIBLE_VAULT"
INCLUDE = "- ansible.builtin.include_role: {{name: linkerd, tasks_from: {}, rolespec_validate: false}}\n"
MAKE = INCLUDE.format("readable") + INCLUDE.format("certificates")
# What the cluster would be given.
HAND = """\
- ansible.builtin.include_role: {name: linkerd, tasks_from: readable, rolespec_validate: false, public: true}
- ansible.builtin.copy: {content: "{{ __linkerd_secrets | to_json }}", dest: "{{ handed }}", mode: "0600"}
"""
KUBECONFIG = "- ansible.builtin.include_role: {name: k3s, tasks_from: kubeconfig, rolespec_validate: false}\n"
ROTATION = yaml.safe_load((REPOSITORY / "roles/linkerd/tasks/rotate_anchor.yml").read_text())
TAKE_OVER = "Replace the anchor by the next one"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `certificates` as they were made, and what has the passwords `mesh` and `other`."""
    directory = tmp_path_factory.mktemp("plain")
    for name in ("mesh", "other"):
        (directory / name).write_text(f"the password called {name}\n")
    made = run(directory, MAKE)
    assert made.ok, made.output
    return directory


@pytest.fixture
def encrypted(plain: Path, tmp_path: Path) -> Path:
    """The same, with all keys encrypted with the password `mesh`."""
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    vault("encrypt", f"--vault-id=mesh@{tmp_path}/mesh", *keys(tmp_path))
    assert all(key.read_text().startswith(ENCRYPTED) for key in keys(tmp_path))
    return tmp_path


def keys(directory: Path) -> list[Path]:
    found = sorted((directory / "certificates").glob("*.key"))
    assert len(found) == 6
    return found


def vault(command: str, *arguments: str | Path) -> str:
    program = Path(sys.executable).with_name("ansible-vault")
    done = subprocess.run([program, command, *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def run(directory: Path, tasks: str, *options: str, **variables: Any) -> Play:
    """Runs tasks with the certificates of a directory; with both passwords, unless there are other options."""
    known = [f"--vault-id={name}@{directory}/{name}" for name in ("other", "mesh")]
    return play(
        write_playbook(directory, tasks),
        *(options or known),
        linkerd_certificates_dir=str(directory / "certificates"),
        handed=str(directory / "handed"),
        **variables,
    )


def public(key: str) -> str:
    return subprocess.run(["openssl", "pkey", "-pubout"], input=key, check=True, capture_output=True, text=True).stdout


def test_the_cluster_is_given_the_keys_and_not_what_vault_has_made_of_them(plain: Path, encrypted: Path) -> None:
    done = run(encrypted, HAND)
    assert done.ok, done.output
    handed = json.loads((encrypted / "handed").read_text())
    found = {b64decode(secret["data"]["tls.key"]).decode() for secret in handed}
    names = ("issuer", "proxy-injector", "sp-validator", "policy-validator")
    assert found == {(plain / f"certificates/{name}.key").read_text().rstrip() for name in names}
    assert "PRIVATE KEY" not in done.output


def test_encrypted_keys_are_left_alone(encrypted: Path) -> None:
    before = {key: key.read_bytes() for key in keys(encrypted)}
    done = run(encrypted, MAKE)
    assert done.ok, done.output
    assert done.changes == []
    assert {key: key.read_bytes() for key in keys(encrypted)} == before


def test_what_is_made_anew_is_encrypted_with_the_password_of_the_anchor(encrypted: Path) -> None:
    directory = encrypted / "certificates"
    # A webhook's key stays where only its certificate has run out.
    for name in ("issuer.crt", "issuer.key", "sp-validator.crt"):
        (directory / name).unlink()
    kept = (directory / "sp-validator.key").read_bytes()
    done = run(encrypted, MAKE)
    assert done.ok, done.output
    assert done.changes == ["Sign the certificates"]  # of a task with no_log nothing is said
    assert (directory / "sp-validator.key").read_bytes() == kept
    assert stat.S_IMODE((directory / "issuer.key").stat().st_mode) == 0o600
    for name in ("issuer", "sp-validator"):
        text = (directory / f"{name}.key").read_text()
        assert text.splitlines()[0].endswith(";mesh")
        key = vault("view", f"--vault-id=mesh@{encrypted}/mesh", directory / f"{name}.key")
        assert key.startswith("-----BEGIN PRIVATE KEY-----")
        certificate: list[str | Path] = ["openssl", "x509", "-in", directory / f"{name}.crt", "-noout", "-pubkey"]
        assert public(key) == subprocess.run(certificate, check=True, capture_output=True, text=True).stdout
    verify: list[str | Path] = ["openssl", "verify", "-CAfile", directory / "anchor.crt", directory / "issuer.crt"]
    assert subprocess.run(verify, check=False, capture_output=True).returncode == 0
    assert "PRIVATE KEY" not in done.output


def test_the_next_anchors_key_takes_over_encrypted(encrypted: Path) -> None:
    (task,) = (task for entry in ROTATION for task in entry.get("block", []) if task["name"] == TAKE_OVER)
    directory = encrypted / "certificates"
    following = (directory / "next.key").read_bytes()
    done = run(encrypted, yaml.safe_dump([task]))
    assert done.ok, done.output
    assert (directory / "anchor.key").read_bytes() == following
    assert not (directory / "retired.crt").read_text().startswith(ENCRYPTED)


def test_without_the_password_nothing_is_made_and_it_is_asked_for(encrypted: Path) -> None:
    (encrypted / "certificates/issuer.key").unlink()
    for options in (["--diff"], [f"--vault-id=mesh@{encrypted}/other"]):
        stopped = run(encrypted, MAKE, *options)
        assert not stopped.ok
        assert stopped.changes == []
        assert "--ask-vault-pass" in stopped.reasons[0]
        assert str(encrypted / "certificates") in stopped.reasons[0]
    assert not (encrypted / "certificates/issuer.key").exists()


def test_whoever_replaces_certificates_needs_the_password_before_the_old_ones_are_removed() -> None:
    for name in ("rotate_issuer", "rotate_anchor", "preflight"):
        first = yaml.safe_load((REPOSITORY / f"roles/linkerd/tasks/{name}.yml").read_text())[0]
        assert first["ansible.builtin.import_tasks"] == "readable.yml", name


def test_a_certificate_that_was_encrypted_too_is_named(encrypted: Path) -> None:
    anchor = encrypted / "certificates/anchor.crt"
    vault("encrypt", f"--vault-id=mesh@{encrypted}/mesh", anchor)
    stopped = run(encrypted, HAND)
    assert not stopped.ok
    assert f"ansible-vault decrypt {anchor}" in stopped.output


def test_a_kubeconfig_that_was_encrypted_is_left_as_it_is(encrypted: Path) -> None:
    kubeconfig = encrypted / "kubeconfig"
    kubeconfig.write_text("contexts: [{name: courseload}]\n")
    vault("encrypt", f"--vault-id=mesh@{encrypted}/mesh", kubeconfig)
    before = kubeconfig.read_bytes()
    stopped = run(encrypted, KUBECONFIG, cluster_kubeconfig=str(kubeconfig))
    assert not stopped.ok
    assert f"{kubeconfig} is not the kubeconfig of the cluster" in stopped.reasons[0]
    assert kubeconfig.read_bytes() == before
