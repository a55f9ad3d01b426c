#!/usr/bin/python
"""The module `package_repository`: Debian packages, with all that they depend on, as an apt repository in one file."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from courseload.artifacts import sha256
else:
    from ansible.module_utils.courseload.artifacts import sha256

DOCUMENTATION = """
module: package_repository
short_description: Collect Debian packages and all that they depend on
description:
  - Asks the mirrors what the newest of these packages are and what they need on a host that has nothing yet, and writes
    a tar archive of all of them with the index that apt reads (C(Packages), which has their sums).
  - It uses directories of its own, and leaves this host's packages, and what its apt knows of its mirrors, alone.
  - Where the archive has these packages already, nothing is downloaded. Check mode asks no mirror, and reports a change
    for an archive that is missing.
options:
  packages: {description: What is to be installed., type: list, elements: str, required: true}
  sources:
    description: Lines of a C(sources.list) of another release. Without them this host's own are used.
    type: str
    default: ""
  dest: {description: The archive. Its directory must be there., type: path, required: true}
"""

INDEX = "Packages"
# The beginning of the time that zip files know: some tools dislike what is older.
LONG_AGO = 315532800

Run = Callable[[Sequence[str]], str]  # of a command, which must succeed; returns its output


class RepositoryError(RuntimeError):
    """A command failed; the message says which, and what it said."""


@dataclass(frozen=True)
class Apt:
    """apt with directories of its own, on a host without a single package."""

    directory: Path
    sources: str
    run: Run

    def __call__(self, *command: str) -> str:
        options = [word for name, value in self.options().items() for word in ("-o", f"{name}={value}")]
        return self.run(["apt-get", *options, *command])

    def options(self) -> dict[str, str]:
        place = {
            "Dir::State": self.directory,
            "Dir::State::status": self.directory / "status",
            "Dir::State::lists": self.directory / "lists",
            "Dir::Cache": self.directory,
            "Dir::Cache::archives": self.archives,
        }
        if self.sources:
            place |= {
                "Dir::Etc::sourcelist": self.directory / "sources.list",
                "Dir::Etc::sourceparts": Path("/dev/null"),
            }
        settings = {"APT::Install-Recommends": "false", "APT::Sandbox::User": "root", "Acquire::Languages": "none"}
        return {name: str(path) for name, path in place.items()} | settings

    @property
    def archives(self) -> Path:
        return self.directory / "archives"

    def prepare(self) -> None:
        """Makes what apt reads, and asks the mirrors."""
        for name in ("archives", "lists"):
            (self.directory / name).mkdir()
        (self.directory / "status").touch()
        (self.directory / "sources.list").write_text(self.sources)
        # This host may have a source more that does not answer; of those that are named here, none is too many.
        self("update", "--quiet=2", *(["--error-on=any"] if self.sources else []))


def named(archive: str) -> str:
    """The name of a package's file without its epoch, as the mirrors have it: apt has another reading of %3a there."""
    return re.sub(r"_\d+%3a", "_", archive)


def wanted(uris: str) -> dict[str, str]:
    """The sum of each file that apt would download, by its name in the repository."""
    found = re.findall(r"^'[^']+' (\S+) \d+ (?:\w+:)?(\w*)$", uris, re.MULTILINE)
    return {named(name): digest for name, digest in found}


def stanza(control: str, name: str, path: Path) -> str:
    """What the index says of a package: its own words, and which file it is."""
    own = {"Filename": f"./{name}", "Size": str(path.stat().st_size), "SHA256": sha256(path)}
    return control.strip() + "\n" + "".join(f"{field}: {value}\n" for field, value in own.items())


def index_of(dest: Path) -> str:
    """The index of an archive that is there; empty where there is none that can be read."""
    try:
        with tarfile.open(dest) as archive:
            member = archive.extractfile(INDEX)
            return member.read().decode() if member else ""
    except (OSError, KeyError, tarfile.TarError):
        return ""


def sums_in(index: str) -> dict[str, str]:
    """The sum of each file that an index names."""
    fields = {name: re.findall(rf"^{name}: (?:\./)?(.+)$", index, re.MULTILINE) for name in ("Filename", "SHA256")}
    return dict(zip(fields["Filename"], fields["SHA256"], strict=True))


def pack(dest: Path, index: str, files: Mapping[str, Path]) -> None:
    """Writes the archive; only one that is whole gets the name. The same packages make the same archive."""
    part = dest.with_name(f".{dest.name}.new")
    with tarfile.open(part, "w") as archive:
        text = index.encode()
        archive.addfile(_member(INDEX, len(text)), BytesIO(text))
        for name, path in sorted(files.items()):
            with path.open("rb") as file:
                archive.addfile(_member(name, path.stat().st_size), file)
    part.chmod(0o644)
    part.replace(dest)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o644, LONG_AGO
    member.uname = member.gname = "root"
    return member


def provide(packages: Sequence[str], sources: str, dest: Path, run: Run) -> bool:
    """Makes the archive, unless it is there as it would be made; returns whether it was not."""
    # Not in /tmp, which may be in memory.
    with TemporaryDirectory(prefix="courseload.", dir="/var/tmp") as directory:
        apt = Apt(Path(directory), sources, run)
        apt.prepare()
        there = index_of(dest)
        if sums_in(there) == wanted(apt("install", "--quiet", "--print-uris", *packages)):
            return False
        apt("install", "--quiet", "--download-only", "--yes", *packages)
        files = {named(path.name): path for path in sorted(apt.archives.glob("*.deb"))}
        stanzas = [stanza(run(["dpkg-deb", "--field", str(path)]), name, path) for name, path in files.items()]
        pack(dest, index := "\n".join(stanzas), files)
        return index != there


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "required": True},
            "sources": {"type": "str", "default": ""},
            "dest": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )

    def run(command: Sequence[str]) -> str:
        code, out, err = module.run_command(list(command), environ_update={"LC_ALL": "C"})
        if code:
            # Why it gives up is on the one, that it does on the other, and its progress ends with dots.
            said = [line for line in (out + err).splitlines() if not line.endswith("...")]
            raise RepositoryError(f"{command[0]} says: {' '.join(' '.join(said).split())}")
        return str(out)

    dest = Path(module.params["dest"])
    if module.check_mode:
        module.exit_json(changed=not dest.exists())
    try:
        changed = provide(module.params["packages"], module.params["sources"], dest, run)
    except OSError as problem:
        module.fail_json(msg=f"{dest} cannot be made: {problem.strerror} ({problem.filename}).")
    except RepositoryError as problem:
        module.fail_json(msg=f"{dest} cannot be made: {problem}")
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
