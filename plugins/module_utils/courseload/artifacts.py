"""Files that are downloaded, and who vouches for them: a pin, the publisher's list of checksums, or a bundle's own."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from posixpath import basename
from typing import Any

from .pins import PREFIX, where

SUMS = "SHA256SUMS"  # the bundle's list of its files


@dataclass(frozen=True)
class Artifact:
    """A file as group_vars/all/artifacts.yml describes it; sums are SHA-256, in small hexadecimal digits."""

    version: str
    url: str
    file: str
    checksums: str = ""  # the URL of the publisher's list
    pin: str = ""
    pinned_in: str = ""  # the file with that pin
    once: str = ""  # what the publisher's list has to say, where that has been seen
    brought: bool = False

    @classmethod
    def described(
        cls, description: Mapping[str, Any], pins: Mapping[str, str], once: Mapping[str, str], pins_file: str
    ) -> Artifact:
        """From the fields of artifacts.yml, and the pins by file name; the sum in the description goes first."""
        file, own = description["file"], description.get("sha256")
        return cls(
            version=str(description["version"]),
            url=description["url"],
            file=file,
            checksums=description.get("checksums") or "",
            pin=str(own or pins.get(file) or "").removeprefix(PREFIX).lower(),
            pinned_in="group_vars/all/artifacts.yml" if own else where(file, pins_file),
            once=once.get(file, "").removeprefix(PREFIX),
            brought=bool(description.get("brought")),
        )

    @property
    def vouched_for(self) -> bool:
        """Whether it is known what its checksum must be, or somebody has brought it."""
        return bool(self.pin or self.checksums or self.brought)

    def published_sum(self, text: str) -> str:
        """What the publisher's list says; empty where it says nothing. Raises ValueError where it cannot be read."""
        if basename(self.checksums) == "index.yaml":
            return _sum_in_chart_index(text, self.file.removesuffix(f"-{self.version}.tgz"), self.version)
        return next((digest for digest, name in _lines(text) if name == basename(self.url)), "")


def _lines(text: str) -> list[tuple[str, str]]:
    """(sum, name) of each line as sha256sum writes them."""
    return re.findall(r"^([0-9a-f]{64}) [ *](?:\./)?(.+?)\r?$", text, re.MULTILINE)


def _sum_in_chart_index(text: str, chart: str, version: str) -> str:
    """The digest of a chart in the index.yaml of a Helm repository."""
    # Not on every host of the inventory, but wherever Ansible itself runs.
    import yaml  # noqa: PLC0415

    try:
        index = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (both are safe)
        releases = index["entries"].get(chart) or []
        return next((str(release["digest"]) for release in releases if str(release["version"]) == version), "")
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as problem:
        raise ValueError("it is not the index of a chart repository") from problem


def sha256(path: Path) -> str:
    """The checksum of a file; empty where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def needed(
    artifacts: Mapping[str, Mapping[str, Any]], architecture: str, cluster: bool, mesh: bool, workloads: Container[str]
) -> dict[str, Mapping[str, Any]]:
    """Those that an inventory needs: on hosts of an architecture, with or without a cluster and its mesh, beside these
    workloads.
    """
    return {
        name: spec
        for name, spec in artifacts.items()
        if spec.get("architecture", architecture) == architecture
        and (mesh or "mesh" not in spec)
        and (spec["workload"] in workloads if "workload" in spec else cluster)
    }


def pins_of(paths: Iterable[str]) -> dict[str, str]:
    """The pins that downloaded files make; of those that are not there (in check mode) nothing is said."""
    sums = {Path(path).name: sha256(Path(path)) for path in paths}
    return {name: PREFIX + digest for name, digest in sums.items() if digest}


def zip_texts(path: str, pattern: str) -> list[str]:
    """The texts of the files in a zip archive whose names match the shell pattern, in the order of their names.

    Archives of Go modules are read with it where they are: the module `unarchive` would need unzip on the control
    machine, and a place to leave the files.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if fnmatchcase(name, pattern))
            texts = [archive.read(name).decode() for name in names]
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise ValueError(f"zip_texts cannot read {path}: {error}") from error
    if not texts:
        raise ValueError(f"zip_texts finds no file {pattern} in {path}")
    return texts


def bundled(directory: Path) -> dict[str, str]:
    """The sum of each file that a bundle's list names. Raises FileNotFoundError where it has no list."""
    return {name: digest for digest, name in _lines((directory / SUMS).read_text())}


def sums_of_files(directory: str) -> str:
    """The list of the files in a directory, as sha256sum writes and reads it."""
    files = sorted(path for path in Path(directory).iterdir() if path.name != SUMS)
    return "".join(f"{sha256(path)}  {path.name}\n" for path in files)


def sums_differing(directory: str) -> dict[str, str]:
    """What in a directory is not as its list says, in words; a directory without a list has lost it."""
    try:
        return {what: ", ".join(names) for what, names in deviations(Path(directory)).items()}
    except FileNotFoundError:
        return {"missing": SUMS}


def deviations(directory: Path) -> dict[str, list[str]]:
    """What of a bundle is not as its list says, by what is wrong with it; nothing where all is well."""
    listed = bundled(directory)
    there = {
        str(path.relative_to(directory)): path
        for path in sorted(directory.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }
    # A link is not what was listed, whatever it leads to.
    sums = {name: "" if path.is_symlink() else sha256(path) for name, path in there.items() if name in listed}
    found = {
        "missing": [name for name in listed if name not in there],
        "changed": [name for name, digest in sums.items() if digest != listed[name]],
        "not on its list": [name for name in there if name not in listed and name != SUMS],
    }
    return {what: names for what, names in found.items() if names}
