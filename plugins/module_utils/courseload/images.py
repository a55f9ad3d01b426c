"""The names of images: a hash of what one is made from, or the beginning of the digest of an upstream one."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any

from .content_hash import content_hash
from .ours import IMAGES

Image = Mapping[str, Any]  # with the fields of group_vars/all/images.yml

DIGITS = 12  # of a digest, in a tag


def built_tags(images: Mapping[str, Image], root: str, files: str, base: object) -> dict[str, str]:
    """The tag of each image when it is built. A parent has to be described before its children.

    `root` is the repository, below which contexts lie; `files` has a directory for each image; `base` counts for all
    that have no parent.
    """
    tags: dict[str, str] = {}
    for name, image in images.items():
        paths = [f"{files}/{name}", *(f"{root}/{path}" for path in image.get("context", []))]
        # Another parent is another image.
        tags[name] = content_hash(paths, json.dumps(_plain(image)), tags.get(image.get("from", ""), base))
    return tags


def upstream_tags(upstream: Mapping[str, Mapping[str, str]], digests: Mapping[str, str]) -> dict[str, str]:
    """The tag of each upstream image: the beginning of its digest, or its own as long as nobody has pinned one."""
    return {
        name: digests[name].removeprefix("sha256:")[:DIGITS] if name in digests else str(image["tag"])
        for name, image in upstream.items()
    }


def references(
    images: Mapping[str, Image], built: Mapping[str, str], upstream: Mapping[str, str], pulled: Container[str]
) -> dict[str, str]:
    """The full name of each image, as pods use it."""
    return {
        name: f"{IMAGES}/{name}:{upstream[image['registry']] if name in pulled else built[name]}"
        for name, image in images.items()
    }


def used_by(workloads: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The images of workloads and of what runs beside them in their pods, each once."""
    specs = list(workloads.values())
    sidecars = [sidecar for spec in specs for sidecar in spec.get("sidecars", {}).values()]
    return list(dict.fromkeys(spec["image"] for spec in [*specs, *sidecars]))


def _plain(value: Any) -> Any:
    """Ansible's own kinds of dict and list, which json would read in another way, as those of Python."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list) else value
