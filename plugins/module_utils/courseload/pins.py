"""Pins: the SHA-256 that an image or a file from elsewhere must have, by `<image>:<tag>` or by the name of the file.

They are in group_vars/all/pins.yml, and in a file beside the inventory, where what has none is pinned on first use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PUBLISHED = "group_vars/all/pins.yml"
PREFIX = "sha256:"

Pins = Mapping[str, str]


def in_file(path: str) -> dict[str, str]:
    """Those of a file; none where there is no file. Raises ValueError where it says something else."""
    return _checked(_read(path), path) if Path(path).is_file() else {}


def in_bundle(path: str) -> dict[str, str]:
    """Those of the images of a bundle, as its bundle.yml has them; an earlier version wrote none."""
    return _checked((_read(path) or {}).get("pins"), path) if Path(path).is_file() else {}


def refreshed_in_bundle(path: str) -> str:
    """When newer packages were asked for, before the images of a bundle were built; empty where nobody did."""
    return str((_read(path) or {}).get("refreshed", "")) if Path(path).is_file() else ""


def where(name: str, path: str) -> str:
    """The file in which a name is pinned, where `path` is the one beside the inventory."""
    return path if name in in_file(path) else PUBLISHED


def of_images(images: Mapping[str, Mapping[str, Any]], pins: Pins) -> dict[str, str]:
    """The digests of the upstream images that are pinned, by their keys in `registry_images`."""
    found = {key: pins.get(f"{image['name']}:{image['tag']}", "") for key, image in images.items()}
    return {key: digest for key, digest in found.items() if digest}


def by_name(digests: Pins, images: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The other way round: the pins that the digests of upstream images are."""
    return {f"{images[key]['name']}:{images[key]['tag']}": digest for key, digest in digests.items()}


def differing(found: Pins, known: Pins, path: str) -> list[str]:
    """A sentence for each pin that would have to change."""
    return [
        f"{name} is {digest} now, and pinned as {known[name]} in {where(name, path)}: find out why it was changed. "
        f"If that is right, have this line in {path}, then run this again: {name}: {digest}"
        for name, digest in found.items()
        if digest != known.get(name, digest)
    ]


def missing(found: Pins, known: Pins) -> dict[str, str]:
    """Those that are not pinned yet."""
    return {name: digest for name, digest in found.items() if name not in known}


def summary(now: Pins, path: str, check: bool) -> str:
    """What a run says of what it has pinned, or would pin."""
    if not now:
        return f"Nothing was pinned: all that this needs is in {path} or in {PUBLISHED}."
    names = f"{len(now)} ({', '.join(sorted(now))})"
    if check:
        return f"Without --check, there would be new pins in {path}: {names}."
    return f"New pins in {path}: {names}. Keep that file with the inventory, because only they count from now on."


def _read(path: str) -> Any:
    # Not on every host of the inventory, but wherever Ansible itself runs.
    import yaml  # noqa: PLC0415

    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ValueError(f"{path} cannot be read ({problem}): mend it, or bring back what it was.") from problem


def _checked(pins: Any, path: str) -> dict[str, str]:
    """What was read, where it is pins; an empty file has none."""
    pins = {} if pins is None else pins
    if not isinstance(pins, dict):
        raise ValueError(  # noqa: TRY004 (it is about what somebody wrote)
            f"{path} has no pins, each a line like redis:8.0: {PREFIX}<64 digits>: mend or remove it."
        )
    for name, digest in pins.items():
        if not re.fullmatch(PREFIX + "[0-9a-f]{64}", str(digest)):
            raise ValueError(f"{path} has {digest} for {name}, and not {PREFIX} and 64 digits (0-9, a-f): mend it.")
    return {str(name): digest for name, digest in pins.items()}
