"""Builds what is measured with and against: the target that answers at once, and k6."""

import os
import subprocess
import sys
from pathlib import Path

from courseload.content_hash import content_hash
from helpers import go

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache/generators"
PACKAGES = ("./target", "go.k6.io/k6")
SOURCES = (go.GO, HERE / "go.mod", HERE / "go.sum", HERE / "target")


def build() -> Path:
    """The directory with the programs `target` and `k6`, built on first use (some minutes on two cores)."""
    output = CACHE / content_hash([str(source) for source in SOURCES])
    if all((output / program).exists() for program in ("target", "k6")):
        return output
    print("building the target and k6 (once)", file=sys.stderr)
    command = [str(go.toolchain()), "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-o", f"{output}/"]
    subprocess.run([*command, *PACKAGES], cwd=HERE, env={**os.environ, **go.ENVIRONMENT}, check=True)
    return output
