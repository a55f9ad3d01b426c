"""Debian packages for tests: small ones with nothing in them, and the repositories that they are in."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from helpers.plugins import load

repository = load("modules", "package_repository")


def build(directory: Path, name: str, version: str = "1.0", depends: str = "") -> None:
    """Adds a package to a directory, as its own tool makes it."""
    root = directory / "root"
    (root / "DEBIAN").mkdir(parents=True)
    fields = {"Package": name, "Version": version, "Architecture": "all", "Maintainer": "Nobody <nobody@localhost>"}
    fields |= {"Depends": depends} if depends else {}
    fields["Description"] = "a package of a test\n of two lines"
    (root / "DEBIAN/control").write_text("".join(f"{field}: {value}\n" for field, value in fields.items()))
    file = directory / f"{name}_{version.rpartition(':')[2]}_all.deb"
    subprocess.run(["dpkg-deb", "--build", str(root), str(file)], check=True, capture_output=True)
    shutil.rmtree(root)


def index(directory: Path) -> str:
    """What the index of a directory's packages says."""
    stanzas = [
        repository.stanza(
            subprocess.run(["dpkg-deb", "--field", str(path)], check=True, capture_output=True, text=True).stdout,
            path.name,
            path,
        )
        for path in sorted(directory.glob("*.deb"))
    ]
    return "\n".join(stanzas)


def archive(directory: Path, dest: Path) -> None:
    """Packs a directory's packages as a bundle has them."""
    dest.parent.mkdir(exist_ok=True)
    repository.pack(dest, index(directory), {path.name: path for path in directory.glob("*.deb")})
