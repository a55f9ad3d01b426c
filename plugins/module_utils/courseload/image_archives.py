"""The archives in which images travel, on the control machine and on the host that has built them."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

from .images import Image


def archive(reference: str) -> str:
    """The name of the archive of an image, by the image's full name."""
    name, _, tag = reference.rpartition("/")[2].partition(":")
    return f"{name}-{tag}.tar.zst"


def files_in(*directories: str) -> list[str]:
    """The names of the files in directories of the control machine, of which each may be missing."""
    there = (path for path in map(Path, directories) if path.is_dir())
    return sorted({file.name for path in there for file in path.iterdir() if not file.is_dir()})


def archives_replaced(files: Iterable[str], wanted: Container[str], images: Iterable[str]) -> list[str]:
    """Those of the files that are archives of these images, whole or not, and not wanted any more.

    In a directory of somebody's, nothing else is touched.
    """
    names = "|".join(map(re.escape, images))
    ours = re.compile(rf"\.?({names})-([0-9a-f]{{12}}|(v|edge-)?[0-9.]+)\.tar\.zst(\.new)?")
    return [file for file in files if file not in wanted and ours.fullmatch(file)]


def without_archive(
    names: Iterable[str],
    images: Mapping[str, Image],
    references: Mapping[str, str],
    pulled: Container[str],
    places: Iterable[str],
) -> list[str]:
    """The images of which none of the directories has an archive; those that they start from come first."""
    there = set(files_in(*places))
    absent = [name for name in names if archive(references[name]) not in there]
    parents = [images[name]["from"] for name in absent if name not in pulled and "from" in images[name]]
    return list(dict.fromkeys([*parents, *absent]))


def archives_refusal(missing: Sequence[str], directory: str, offline: bool) -> str:
    """Why a run cannot go on without these archives; empty where none is missing. Offline there is only a bundle."""
    if not missing:
        return ""
    advice = "run it without --limit, or playbooks/images.yml, so that the images are built and brought here."
    if offline and all(name.startswith("linkerd-") for name in missing):
        advice = (
            "the bundle was made without Linkerd; make it anew with playbooks/bundle.yml (and -e linkerd_dir=FOLDER "
            "where its registry is out of reach), or go without a mesh (-e mesh=none)."
        )
    elif offline:
        advice = "the bundle was made from another state of this repository; make it anew with playbooks/bundle.yml."
    return f"{directory} has no {', '.join(missing)} in images: {advice}"
