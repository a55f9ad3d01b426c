"""Builds the peers into images of their own, unless the images are already there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from courseload.content_hash import content_hash
from helpers import go

from .podman import podman

BENCHMARKS = Path(__file__).parents[1]
PEERS = BENCHMARKS / "peers"
CACHE = BENCHMARKS / ".cache"


class CannotBuildError(RuntimeError):
    """A peer cannot be built on this machine; the message is one sentence that says what is missing."""


def go_image() -> str:
    """The image of the Go peers, built on first use (about two minutes on two cores)."""
    tag = _tag("go", go.GO, PEERS / "go")
    if not _exists(tag):
        output = CACHE / "go"
        command = [str(go.toolchain()), "build", "-trimpath", "-mod=readonly", "-o", f"{output}/", "./cmd/..."]
        _build("Go", command, go.ENVIRONMENT)
        _pack(tag, PEERS / "go", output)
    return tag


def rust_image() -> str:
    """The image of the Rust peers, built with the machine's own Cargo on first use (four minutes on two cores)."""
    tag = _tag("rust", PEERS / "rust")
    if not _exists(tag):
        if not shutil.which("cargo"):
            raise CannotBuildError("the Rust peers need Cargo on the PATH: https://rustup.rs installs it")
        output = CACHE / "rust"
        # Unlike `build`, `install` leaves the programs in a directory whose name does not depend on the machine.
        _build("Rust", ["cargo", "install", "--locked", "--path=.", f"--root={output}"], {})
        _pack(tag, PEERS / "rust", output / "bin")
    return tag


def _tag(language: str, *sources: Path) -> str:
    # Not below courseload/: there, site.yml removes what it does not use.
    return f"localhost/courseload-benchmark/{language}-peers:{content_hash([str(source) for source in sources])}"


def _exists(tag: str) -> bool:
    return subprocess.run(["podman", "image", "exists", tag], check=False).returncode == 0


def _build(language: str, command: list[str], environment: dict[str, str]) -> None:
    print(f"building the {language} peers (once)", file=sys.stderr)
    done = subprocess.run(command, cwd=PEERS / language.lower(), env={**os.environ, **environment}, check=False)
    if done.returncode:
        raise CannotBuildError(f"the {language} peers could not be built: `{command[0]}` says above why")


def _packed(source: Path) -> list[str]:
    """The programs in the image of a source."""
    copied: str = re.findall(r"^COPY (.*) /$", (source / "Containerfile").read_text(), re.MULTILINE)[0]
    return copied.split()


def _pack(tag: str, source: Path, programs: Path) -> None:
    # With the system's own label, so that a reset takes it along. The context is the programs: what else a compiler
    # leaves beside them would all be sent.
    context = CACHE / "context"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    for name in _packed(source):
        shutil.copy2(programs / name, context)
    podman("build", "--label=part-of=courseload", "--tag", tag, "--file", str(source / "Containerfile"), str(context))
