"""The action `artifact`: files are on the control machine, with the SHA-256 that is pinned or that is published.

What has neither is taken as it comes over TLS, to be pinned with that.

    - name: Provide the files
      artifact:
        directory: "{{ artifact_directory }}"
        artifacts: "{{ ... descriptions by name, with the fields of group_vars/all/artifacts.yml }}"
        pins: "{{ ... sums by file name, which count before the publisher's }}"
        once: "{{ ... sums by file name, with which the publisher's list has to agree }}"
        pins_file: "{{ ... where the pins are that are not in group_vars/all/pins.yml }}"
        bundle: false  # whether the directory is a bundle, which has all there will be
        proxy: "{{ ... the variables of the environment that name the proxy to download through }}"

It returns `paths`, the absolute path of each file by the name of its artifact, and `unpinned`, what the caller has to
pin now: sums by file name, which check mode does not know. A file is downloaded beside its place and gets there only
when its sum is right. Check mode downloads nothing, no list either: it reports a change for files that are missing, or
are not as pinned.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from posixpath import basename
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils import urls
from ansible.plugins.action import ActionBase

# Ansible hands module_utils to modules only; what runs on the control machine takes it from beside.
sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from courseload.artifacts import Artifact, bundled, pins_of, sha256
from courseload.downloads import insecure, reason
from courseload.pins import PUBLISHED

CHUNK = 1 << 20
LIST_SIZE = 64 << 20  # no publisher's list is larger
# Seconds without an answer, or without a byte, after which it gives up.
PATIENCE_LIST = 30
PATIENCE_FILE = 60
NO_ANSWER = (OSError, ValueError, HTTPException, urls.ConnectionError)
BROUGHT = "check the network and http_proxy, or bring {} in a bundle from a machine that can (playbooks/bundle.yml)."


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "directory": {"type": "path", "required": True},
                "artifacts": {"type": "dict", "required": True},
                "pins": {"type": "dict", "default": {}},
                "once": {"type": "dict", "default": {}},
                "pins_file": {"type": "path", "required": True},
                "bundle": {"type": "bool", "default": False},
                # The downloads take place in this process, so the proxy is on no command line.
                "proxy": {"type": "dict", "default": {}, "no_log": True},
            }
        )
        directory, descriptions = Path(arguments["directory"]), arguments["artifacts"]
        sources = {"pins": arguments["pins"], "once": arguments["once"], "pins_file": arguments["pins_file"]}
        wanted = [Artifact.described(description, **sources) for description in descriptions.values()]
        unpinned = [] if arguments["bundle"] else [file for file in wanted if not file.vouched_for]
        stop_for(changeable(unpinned, arguments["pins_file"]))
        try:
            if arguments["bundle"]:
                stop_for(faults_of_bundle(directory, wanted))
            elif self._task.check_mode:
                result["changed"] = any(lacking(file, sha256(directory / file.file)) for file in wanted)
            else:
                with environment(arguments["proxy"]):
                    result["changed"] = provide(directory, wanted)
        except OSError as problem:
            raise AnsibleActionFail(
                f"The files in {directory} cannot be kept ({problem.strerror}: {problem.filename}): "
                "let the user who runs this read and write there."
            ) from problem
        result["paths"] = {name: str(directory / file.file) for name, file in zip(descriptions, wanted, strict=True)}
        found = {} if self._task.check_mode else pins_of(str(directory / file.file) for file in unpinned)
        result["unpinned"] = {file.file: found.get(file.file, "") for file in unpinned}
        return result


def stop_for(faults: list[str]) -> None:
    if faults:
        raise AnsibleActionFail("\n".join(faults))


def changeable(unpinned: list[Artifact], pins_file: str) -> list[str]:
    """A sentence for each file that is not to be taken as it comes."""
    return [
        f"{file.file} would be pinned on first use, but {urls.mask_url(file.url)} is not https, so anybody on the way "
        f"can change it: give it such a url, or checksums or a sha256, in group_vars/all/artifacts.yml, or pin it in "
        f"{pins_file}."
        for file in unpinned
        if insecure(file.url)
    ]


def faults_of_bundle(directory: Path, wanted: list[Artifact]) -> list[str]:
    """A sentence for each file that a bundle (verified before) lacks, or has with another sum than the pinned one."""
    listed, faults = bundled(directory), []
    for file in wanted:
        found = listed.get(file.file, "")
        if not found:
            faults.append(f"The bundle {directory} has no {file.file}: make it anew with playbooks/bundle.yml.")
        elif found != (file.pin or found):
            faults.append(
                f"The bundle {directory} has {file.file} with the SHA-256 {found}, where {file.pin} is expected "
                f"(pinned in {file.pinned_in}): make it anew with playbooks/bundle.yml."
            )
    return faults


def lacking(file: Artifact, found: str, expected: str = "") -> bool:
    """Whether what is there, with the sum `found`, has to be replaced."""
    expected = file.pin or expected
    return found != expected if expected else not found


def provide(directory: Path, wanted: list[Artifact]) -> bool:
    """Downloads what is missing or differs from what it must be; returns whether anything was."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    expected = sums_of(wanted)
    changed, faults = False, []
    for file in wanted:
        if file.checksums and not expected[file]:
            faults.append(
                f"{urls.mask_url(file.checksums)} has no checksum of {basename(file.url)}, so it was not downloaded: "
                "check its url in group_vars/all/artifacts.yml."
            )
            continue
        found = sha256(directory / file.file)
        # What is compared with nothing may have changed where it comes from.
        if lacking(file, found, expected[file]) or not expected[file]:
            try:
                changed |= download(file, directory / file.file, expected[file], found)
            except Unexpected as fault:
                faults.append(str(fault))
            except NO_ANSWER as problem:
                source = urls.mask_url(file.url)
                faults.append(
                    f"{file.file} cannot be downloaded from {source} ({reason(problem)}): {BROUGHT.format('it')}"
                )
    stop_for(faults)
    return changed


def sums_of(wanted: list[Artifact]) -> dict[Artifact, str]:
    """What the SHA-256 of each file must be; empty where nobody says. Each publisher's list is read once."""
    lists: dict[str, str] = {}
    faults = []
    for url in dict.fromkeys(file.checksums for file in wanted if file.checksums and not file.pin):
        try:
            lists[url] = b"".join(received(url, PATIENCE_LIST, LIST_SIZE)).decode()
        except NO_ANSWER as problem:
            faults.append(
                f"{urls.mask_url(url)} cannot be downloaded ({reason(problem)}): {BROUGHT.format('the files')}"
            )
    stop_for(faults)
    sums = {}
    for file in wanted:
        try:
            sums[file] = file.pin or (file.published_sum(lists[file.checksums]).lower() if file.checksums else "")
        except ValueError as problem:
            faults.append(f"{urls.mask_url(file.checksums)} is of no use ({problem}): check it in artifacts.yml.")
            continue
        if not file.pin and file.once not in ("", sums[file]) and sums[file]:
            faults.append(
                f"{urls.mask_url(file.checksums)} has the SHA-256 {sums[file]} for {file.file}, where {file.once} was "
                f"seen before (published_once in {PUBLISHED}): find out who changed it, and pin what is right in the "
                "file that pins_file names."
            )
    stop_for(faults)
    return sums


class Unexpected(Exception):
    """A file is not what it should be."""


def download(file: Artifact, target: Path, expected: str, found: str) -> bool:
    """Puts the file into its place unless it is there, with the sum `found`; raises Unexpected or one of NO_ANSWER."""
    digest = hashlib.sha256()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as written:
            for chunk in received(file.url, PATIENCE_FILE, secure=not file.vouched_for):
                digest.update(chunk)
                written.write(chunk)
            os.fchmod(written.fileno(), 0o644)
        if digest.hexdigest() != (expected or digest.hexdigest()):
            source = f"pinned in {file.pinned_in}" if file.pin else f"from {urls.mask_url(file.checksums)}"
            raise Unexpected(
                f"{file.file} was not kept, because {urls.mask_url(file.url)} has the SHA-256 {digest.hexdigest()} "
                f"where {expected} is expected ({source}): find out who changed it before you go on"
                f"{', and correct the pin if that was right.' if file.pin else '.'}"
            )
        if digest.hexdigest() == found:
            return False
        temporary.replace(target)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def received(url: str, patience: float, limit: int | None = None, secure: bool = False) -> Iterator[bytes]:
    """What a URL (http, https, file) gives, piece by piece; raises one of NO_ANSWER, also where the end is missing.

    With `secure`, it may not lead to one that is http.
    """
    with urls.open_url(url, timeout=patience, http_agent="courseload") as response:
        if secure and insecure(response.geturl()):
            raise ValueError("it leads to a URL that is not https, so anybody on the way can change it")
        encoded, length = response.headers.get("Content-Encoding"), response.headers.get("Content-Length")
        size = 0
        while chunk := response.read(CHUNK):
            size += len(chunk)
            if limit and size > limit:
                raise ValueError(f"it is larger than {limit} bytes")
            yield chunk
        if length and not encoded and size != int(length):
            raise OSError(f"only {size} of {length} bytes came")


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables, for as long as this lasts: urllib finds its proxies there."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
