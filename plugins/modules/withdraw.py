#!/usr/bin/python
"""Removes what on a host is courseload's, and nothing else; what stays, and why, it says in sentences.

    config_dir, state_dir  the directories that it works in; those in the host's mark count as well
    podman      whether to remove what Podman keeps for us
    keep_data   whether the databases' volumes and credentials stay
    volumes, networks, uid  the names of ours, and the owner of what is in volumes: for what an earlier version made
    order       the workloads, in the order in which they start
    credentials the names of the files in the directories of credentials
    images      the names of the images
    replaced    where it is given, only images are removed: all of ours but these
    archives    a directory of archives of images, and of packages
    files       files that were written for us, with the words by which they begin
    sysctl_file, sysctl_names  the file that keeps the kernel's settings, and which are ours

It returns `removed` and `left`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.courseload.credentials import PASSWORD
from ansible.module_utils.courseload.image_archives import archives_replaced, files_in
from ansible.module_utils.courseload.ours import (
    LABEL,
    MARK,
    SIGN,
    Found,
    Mark,
    Podman,
    PodmanError,
    made_before_signs,
    our_images,
    signed,
    taken_over,
    text,
    written_by_us,
)
from ansible.module_utils.courseload.sweep import Sweep

DATA = "courseload-"  # what the names of volumes that are kept begin with
GRACE_S = "30"
PROXY = Path("/run/courseload-proxy")  # where the role proxy leaves its settings
JOB = ("log", "lock", "result")  # the files of a job that `start_job` starts
REPOSITORY = re.compile(r"\.?[a-z]+-(amd64|arm64)\.tar(\.new)?")  # an archive of packages, whole or not
LOADS = ("load test", "capacity", "ab", "chaos")  # jobs of the role locust


# --- Files


def clear_config(sweep: Sweep, path: Path, files: Iterable[str], keep_data: bool) -> None:
    """What lies in the directory of configuration, by the names that we give."""
    for manifest in path.glob("pods/*.yml"):
        if LABEL.replace("=", ": ") in text(manifest):
            sweep.file(manifest)
    sweep.empty(path / "pods")
    sweep.file(path / "firewall.nft")
    if keep_data:
        return
    for directory in sorted(path.glob("credentials/*/")):
        for name in (PASSWORD, "kubeconfig", *files):
            sweep.file(directory / name)
        sweep.empty(directory)
    sweep.empty(path / "credentials")
    sweep.file(path / "image_source")
    sweep.file(path / "control_machine.json")


def clear_state(sweep: Sweep, path: Path, images: Iterable[str], workloads: Iterable[str]) -> None:
    """What lies in the directory of working files."""
    sweep.file(path / "sysctl.before")
    # The name of what earlier versions left, and of what `start_job` leaves.
    for name in ("progress.log", *(f"{job}.{kind}" for job in LOADS for kind in JOB)):
        sweep.file(path / "loadtest" / name)
    sweep.empty(path / "loadtest")
    sweep.tree(path / "faults")
    sweep.tree(path / "build/context")
    sweep.file(path / "build/context.tar.gz")
    for name in images:
        sweep.tree(path / "build" / name)
        for kind in JOB:
            sweep.file(path / f"build/{name}.{kind}")
    sweep.empty(path / "build")
    for name in workloads:
        sweep.tree(path / "artifacts" / name)
    sweep.empty(path / "artifacts")


def give_back(sweep: Sweep, path: Path) -> str:
    """Removes a directory of ours where it is empty, and our sign in it; returns a sentence where it stays."""
    note = signed(path)
    # One of a version that left no sign was made by it where it has its name.
    before = note.mode_before if note else "" if path.name == "courseload" else "as it is"
    sweep.file(path / SIGN)
    others = sorted(entry.name for entry in path.iterdir() if str(entry) not in [*sweep.removed, str(MARK)])
    if note and note.mode_before and not sweep.check:
        path.chmod(int(note.mode_before, 8))
    if others:
        return f"{path} stays: {', '.join(others)} in it is not courseload's."
    if before:
        return f"{path} stays: it was there before."
    if path != MARK.parent:
        sweep.empty(path)
    return ""


def clear_archives(sweep: Sweep, path: Path, images: Sequence[str]) -> None:
    """Archives of images and of packages, by their names, and their directories where nothing else is in them."""
    if not path.is_dir():
        return
    there = files_in(str(path))
    for name in [*archives_replaced(there, (), images), *filter(REPOSITORY.fullmatch, there)]:
        sweep.file(path / name)
    sweep.empty(path)
    if path.parent.name == "courseload":
        sweep.empty(path.parent)


def clear_sysctl(sweep: Sweep, path: Path, names: Iterable[str]) -> None:
    lines = text(path).splitlines(keepends=True)
    if lines:
        sweep.rewrite(path, "".join(line for line in lines if line.partition("=")[0].strip() not in names))


# --- Podman


def in_order(pods: Iterable[str], order: Sequence[str]) -> list[str]:
    """Callers before what they call: one that loses its database waits for it when it is told to end."""
    return sorted(pods, key=lambda name: (name in order, -order.index(name) if name in order else 0))


def commands(found: Found, order: Sequence[str], keep_data: bool) -> list[list[str]]:
    """What is to be done with Podman. Volumes and networks go without force, which would take along what others run."""
    pods = in_order([name for name, pod in found.pods.items() if pod.ours], order)
    in_pods = {part for pod in found.pods.values() for part in pod.parts}
    return [
        *(["pod", "stop", f"--time={GRACE_S}", found.pods[name].id] for name in pods),
        *(["pod", "rm", "--force", found.pods[name].id] for name in pods),
        *(["rm", "--force", c.id] for c in found.containers.values() if c.ours and c.id not in in_pods),
        *(
            ["volume", "rm", name]
            for name, volume in found.volumes.items()
            if volume.ours and not (keep_data and name.startswith(DATA))
        ),
        *(["network", "rm", name] for name, network in found.networks.items() if network.ours),
    ]


class Withdrawal:
    """Carries out commands of Podman's, and remembers what came of them."""

    def __init__(self, podman: Podman, check: bool) -> None:
        self.podman = podman
        self.check = check
        self.removed: list[str] = []
        self.left: list[str] = []

    def run(self, command: Sequence[str]) -> None:
        if not self.check:
            try:
                self.podman.do(*command)
            except PodmanError as problem:
                # A volume that Podman removes with its pod is gone by now.
                if "no such" not in str(problem):
                    self.left.append(f"The {command[0]} {command[-1]} stays: {problem}.")
                return
        self.removed.append(" ".join(command))

    def images(self, names: Sequence[str], mark: Mark, keep: Sequence[str] = ()) -> None:
        """Removes our images, those made of others first; without force, which would take along others' containers."""
        while True:
            ours = [name for name in our_images(self.podman.list("images"), names, mark) if name not in keep]
            failed = {}
            for name in ours:
                try:
                    if not self.check:
                        self.podman.do("image", "rm", name)
                    self.removed.append(f"image {name}")
                except PodmanError as problem:
                    failed[name] = problem
            if self.check or not failed or len(failed) == len(ours):
                break
        self.left += [f"The image {name} stays: {problem}." for name, problem in failed.items()]


# --- All of it


@dataclass(frozen=True)
class Asked:
    """The module's parameters."""

    config_dir: str | None
    state_dir: str | None
    archives: str | None
    sysctl_file: str | None
    podman: bool
    keep_data: bool
    uid: int
    files: dict[str, str]
    replaced: list[str] | None
    volumes: list[str]
    networks: list[str]
    order: list[str]
    credentials: list[str]
    images: list[str]
    sysctl_names: list[str]


def main() -> None:
    """Runs the module."""
    names = {"type": "list", "elements": "str", "default": []}
    lists = ("volumes", "networks", "order", "credentials", "images", "sysctl_names")
    module = AnsibleModule(
        argument_spec={
            **{name: {"type": "path"} for name in ("config_dir", "state_dir", "archives", "sysctl_file")},
            **{name: {"type": "bool", "default": False} for name in ("podman", "keep_data")},
            **{name: dict(names) for name in lists},
            "uid": {"type": "int", "default": 0},
            "files": {"type": "dict", "default": {}},
            "replaced": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )
    asked = Asked(**module.params)
    podman = Podman(module.run_command) if module.get_bin_path("podman") else None
    try:
        mark = Mark.read()
        if asked.replaced is not None:
            removed, left = prune(asked, mark or Mark(), podman, module.check_mode)
        else:
            removed, left = remove(asked, mark, podman, module.check_mode)
    except (OSError, PodmanError, ValueError) as problem:
        module.fail_json(msg=f"What here is courseload's cannot be told, or not be removed: {problem}")
    module.exit_json(changed=bool(removed), removed=removed, left=left)


def prune(asked: Asked, mark: Mark, podman: Podman | None, check: bool) -> tuple[list[str], list[str]]:
    """Only images; one that something still runs stays until the next time."""
    if podman is None:
        return [], []
    withdrawal = Withdrawal(podman, check)
    withdrawal.images(asked.images, mark, asked.replaced or ())
    return withdrawal.removed, withdrawal.left


def remove(asked: Asked, before: Mark | None, podman: Podman | None, check: bool) -> tuple[list[str], list[str]]:
    """Everything; the mark goes last."""
    mark = before or Mark()
    sweep = Sweep(check)
    removed, left = [], []
    if asked.podman and podman:
        withdrawal = Withdrawal(podman, check)
        found = podman.gather(mark)
        if before is None and any(made_before_signs(path) for path in directories(asked, mark)):
            found = taken_over(found, asked.volumes, asked.networks, asked.uid)
        mark = keep(found, mark, asked.keep_data, check)
        for command in commands(found, asked.order, asked.keep_data):
            withdrawal.run(command)
        withdrawal.images(asked.images, mark)
        removed, left = withdrawal.removed, withdrawal.left
    left = left + clear_files(sweep, asked, mark)
    if not asked.keep_data:
        sweep.file(MARK)
        sweep.empty(MARK.parent)
    return removed + sweep.removed, left


def keep(found: Found, mark: Mark, keep_data: bool, check: bool) -> Mark:
    """Notes the volumes that are kept and have no label, before the pods go by which they are known."""
    kept = {
        name: volume.id
        for name, volume in found.volumes.items()
        if keep_data and volume.ours and not volume.labelled and name.startswith(DATA)
    }
    if kept.items() <= mark.volumes.items():
        return mark
    noted = replace(mark, volumes=mark.volumes | kept)
    if not check:
        noted.write()
    return noted


def clear_files(sweep: Sweep, asked: Asked, mark: Mark) -> list[str]:
    """What was written on this host; returns sentences on what stays."""
    if mark == Mark() and not any(signed(path) or made_before_signs(path) for path in directories(asked, mark)):
        return ["Nothing on this host says that courseload has written files here: none was removed."]
    left = [clear_directory(sweep, path, asked) for path in directories(asked, mark)]
    sweep.tree(PROXY)
    if asked.archives:
        clear_archives(sweep, Path(asked.archives), asked.images)
    if asked.sysctl_file:
        clear_sysctl(sweep, Path(asked.sysctl_file), asked.sysctl_names)
    for name, words in asked.files.items():
        path = Path(name)
        if not written_by_us(path, words):
            left.append(f"{name} stays: courseload has not written it.")
        elif path.exists():
            sweep.file(path)
            sweep.empty(path.parent)
    return [sentence for sentence in left if sentence]


def clear_directory(sweep: Sweep, path: Path, asked: Asked) -> str:
    """One of the directories that courseload works in; returns a sentence where it stays."""
    note = signed(path)
    if not note and not made_before_signs(path):
        strange = any(entry != MARK for entry in path.iterdir())
        return f"{path} stays as it is: nothing says that courseload has made it." if strange else ""
    settings = {"config_dir": asked.config_dir, "state_dir": asked.state_dir}
    holds = {note.setting if note else "", *(name for name, place in settings.items() if place == str(path))}
    if "config_dir" in holds:
        clear_config(sweep, path, asked.credentials, asked.keep_data)
    if "state_dir" in holds:
        clear_state(sweep, path, asked.images, asked.order)
    return "" if asked.keep_data and (path / "credentials").exists() else give_back(sweep, path)


def directories(asked: Asked, mark: Mark) -> list[Path]:
    named = [name for name in (asked.config_dir, asked.state_dir) if name]
    return [path for name in dict.fromkeys([*named, *mark.directories]) if (path := Path(name)).is_dir()]


if __name__ == "__main__":
    main()
