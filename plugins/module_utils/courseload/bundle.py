"""A bundle: a directory with all that an inventory needs, `bundle.yml` on what it was made from, and its list."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import basename
from typing import Any

from .artifacts import SUMS, bundled, sha256
from .entries import Entry

DESCRIPTION = "bundle.yml"


@dataclass(frozen=True)
class Hosts:
    """For which hosts a bundle is: their architecture, and the releases whose packages it has."""

    architecture: str
    releases: Sequence[str]

    @property
    def repositories(self) -> list[str]:
        """The archives of their packages, as the role host names them."""
        return [f"packages/{release}-{self.architecture}.tar" for release in self.releases]


def describe(
    source: str,
    hosts: Hosts,
    artifacts: Mapping[str, Mapping[str, Any]],
    pins: Mapping[str, str],
    refreshed: str = "",
) -> str:
    """The text of bundle.yml: where its images come from, for which hosts it is, the versions of its files, the pins of
    the images, and when newer packages were asked for, if that was ever done.
    """
    versions = [f"  {name}: {spec['version']}" for name, spec in artifacts.items()]
    lines = ["# Written by playbooks/bundle.yml.", f"image_source: {source}", f"architecture: {hosts.architecture}"]
    lines.append(f"releases: [{', '.join(hosts.releases)}]")
    digests = ["pins:", *(f"  {name}: {digest}" for name, digest in pins.items())] if pins else []
    files = ["artifacts:", *versions] if versions else []
    moment = [f'refreshed: "{refreshed}"'] if refreshed else []
    return "\n".join([*lines, *moment, *files, *digests, ""])


@dataclass(frozen=True)
class Contents:
    """The names of the files of a bundle, below its directory."""

    kept: Collection[str]
    replaced: Collection[str]  # by this one; an earlier bundle in the same place had them
    strange: Collection[str]  # no part of any bundle


def contents(
    directory: Path, artifacts: Mapping[str, Mapping[str, Any]], repositories: Collection[str] = ()
) -> Contents:
    """What a directory has that is to be a bundle with these artifacts and archives of packages. What is in images/ and
    packages/ is all its own.
    """
    there = {
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_symlink() or not path.is_dir()
    } - {SUMS}
    wanted = {DESCRIPTION, *repositories}
    for spec in artifacts.values():
        wanted |= {spec["file"], f"{spec['version']}-{basename(spec.get('checksums') or '')}"}
    wanted |= {name for name in there if Path(name).parent == Path("images")}
    listed = set(bundled(directory)) if (directory / SUMS).is_file() else set()
    kept = {name for name in there & wanted if not (directory / name).is_symlink()}
    others = {name for name in there if Path(name).parent == Path("packages")}
    replaced = (there - wanted) & (listed | others)
    return Contents(sorted(kept), sorted(replaced), sorted(there - kept - replaced))


def sums(directory: Path, names: Collection[str]) -> str:
    """The list of a bundle, as sha256sum writes and reads it."""
    return "".join(f"{sha256(directory / name)}  {name}\n" for name in names)


def write(path: Path, text: str, dry: bool) -> bool:
    """Writes a file that everybody may read, unless it is there with this text; says whether it was not."""
    entry = Entry(path, 0o644, text)
    changed = entry.deviation() is not None
    if changed and not dry:
        entry.apply()
    return changed
