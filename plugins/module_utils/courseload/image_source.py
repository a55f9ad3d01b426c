"""Where images come from: built from packages, or pulled from a registry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def choice(wanted: str, *, bundle: str, recorded: str, answers: bool, refused: Mapping[str, str]) -> dict[str, Any]:
    """Where images come from: `source` (packages or registry), the `reason`, and `refusals`, sentences why not.

    `wanted` is the setting, `bundle` the directory of the bundle and `recorded` what the data here was made with, if
    there are any; `answers` says whether a registry does, and `refused` why the digests of images are not to be had.
    """
    lacking = "; ".join(f"{image}: {why}" for image, why in refused.items())
    bundled = _source_of(bundle) if bundle else ""
    if bundled:
        source, reason = bundled, "the bundle was made with it"
    elif wanted != "auto":
        source, reason = wanted, "image_source asks for it"
    elif recorded in ("packages", "registry"):
        source, reason = recorded, "the data here was made with it"
    elif not answers:
        source, reason = "packages", "no container registry answered"
    elif refused:
        source, reason = "packages", f"a registry answers, but there are digests that it does not give ({lacking})"
    else:
        source, reason = "registry", "a registry answers"
    refusals = []
    if wanted not in ("auto", "packages", "registry"):
        refusals.append(f"image_source is '{wanted}': use auto, packages or registry.")
    if wanted not in ("auto", source):
        refusals.append(
            f"image_source is {wanted}, and the bundle {bundle} was made with {source}: "
            f"leave image_source at auto, or make another bundle with playbooks/bundle.yml -e image_source={wanted}."
        )
    if recorded not in ("", source):
        other = f" and use a bundle made with {recorded}" if bundled else ""
        refusals.append(
            f"The data here was made with image_source {recorded}, and {source} cannot read it: "
            f"leave image_source at auto{other}, or remove the data first with playbooks/reset.yml."
        )
    if source == "registry" and refused:
        refusals.append(
            f"The images come from a registry ({reason}), but there are digests that it does not give ({lacking}): "
            "check the network, http_proxy and registry_mirror, write the digests into the file that pins_file names, "
            "or use image_source packages where there is no data yet."
        )
    return {"source": source, "reason": reason, "refusals": refusals}


def _source_of(bundle: str) -> str:
    """What a bundle says that it was made with."""
    found = re.search(r"^image_source: (\w+)$", Path(bundle, "bundle.yml").read_text(), re.MULTILINE)
    return found[1] if found else ""
