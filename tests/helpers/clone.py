"""Copies of this repository elsewhere, which share its .venv: making one takes a moment."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from helpers.machine import REPOSITORY

# What people run, and what that needs.
PARTS = [
    *(
        "ansible.cfg",
        "site.yml",
        "loadtest.yml",
        "capacity.yml",
        "bin",
        "files",
        "group_vars",
        "inventory",
        "playbooks",
        "plugins",
    ),
    *("protos", "requirements", "roles", "services"),
]


def clone(path: Path) -> Path:
    """Copies the repository to a path, as it is now, with a .venv that seems to have been made there."""
    path.mkdir(parents=True)
    for part in PARTS:
        if (REPOSITORY / part).is_dir():
            leavings = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / part, path / part, symlinks=True, ignore=leavings)
        else:
            shutil.copy2(REPOSITORY / part, path / part)
    real, venv = Path(sys.prefix), path / ".venv"
    (venv / "bin").mkdir(parents=True)
    shutil.copy2(real / "pyvenv.cfg", venv)
    (venv / "lib").symlink_to(real / "lib")
    for program in [*(real / "bin").glob("python*"), real / "bin/ansible-playbook"]:
        shutil.copy2(program, venv / "bin", follow_symlinks=False)
    for stamp in real.glob(".installed-*"):
        shutil.copy2(stamp, venv)
    (venv / ".identity").write_text(f"{venv} Python {sys.version.split()[0]}\n")
    return path
