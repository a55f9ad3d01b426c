#!/usr/bin/python
"""Claims what courseload is about to use on a host: refuses what is somebody else's, and marks what becomes its own.

    directories  that it works in, by the setting that names them: {config_dir: /etc/courseload}
    pods, containers, networks, volumes, scratch
                 by their names. Networks and volumes that are not there are made, with our label; `scratch` is volumes
                 that Podman makes, and removes with their pod
    fresh        whether the volumes are to be empty
    files        that are written whole, with the words by which ours begin
    images       references that are about to be made here and get no label
    k3s          whether this host becomes a node
    uid          the owner of what is in our volumes
    host         whether the host is marked. One that only builds for others is not: what it has built stays
    make         whether to make networks and volumes; otherwise it is only seen that their names are free

In check mode it changes nothing. It returns `made`, what it made or would make, `volumes`, where each lies, and
`published`, the ports of this host that our pods have, by their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.courseload.ours import (
    K3S_OF_ANOTHER,
    LABEL,
    Found,
    Mark,
    Podman,
    PodmanError,
    Thing,
    filled,
    free_for_us,
    in_manifests,
    k3s_owner,
    made_before_signs,
    other_kubelets,
    sign,
    signed,
    taken_over,
    written_by_us,
)

SENTENCES = {
    "pods": "A pod called {name} is already here and is not courseload's: rename or remove it (podman pod rm {name}), "
    "since pods find each other by these names.",
    "containers": "A container called {name} is already here and is not courseload's: give it another name "
    "(podman rename {name} OTHER) or remove it, since courseload needs this one.",
    "networks": "A network called {name} is already here and is not courseload's: choose another with "
    "-e pod_network=..., or remove it (podman network rm {name}).",
    "volumes": "A volume called {name} is already here and is not courseload's: keep what is in it elsewhere "
    "(podman volume export {name} --output {name}.tar), then remove it (podman volume rm {name}).",
}
FILE = "{path} is already here and is not courseload's, which would write over it: move it away."
KUBELET = (
    "has a kubelet of somebody else's ({units}), and two on one host take each other's pods for leftovers: "
    "use another host."
)
DIRECTORY = (
    "{path} has something in it that is not courseload's, and would become its own: choose a directory for it alone, "
    "such as -e {setting}={path}/courseload."
)


@dataclass(frozen=True)
class Claim:
    """What is claimed, as the module's parameters have it."""

    directories: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    pods: list[str] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    scratch: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    k3s: bool = False
    uid: int = 0

    @property
    def of_podman(self) -> bool:
        return any((self.pods, self.containers, self.networks, self.volumes, self.scratch))


def of_cluster(mark: Mark | None, root: Path = Path("/")) -> list[str]:
    """A sentence where this host cannot become a node, because another's is here."""
    others = other_kubelets(root)
    return [
        *([f"This host has {K3S_OF_ANOTHER}"] if k3s_owner(mark, root) == "another's" else []),
        *([f"This host {KUBELET.format(units=', '.join(others))}"] if others else []),
    ]


def refusals(claim: Claim, found: Found, cluster: Sequence[str] = ()) -> list[str]:
    """A sentence for each name that is somebody else's."""
    wanted: dict[str, tuple[Sequence[str], dict[str, Thing]]] = {
        "pods": (claim.pods, found.pods),
        "containers": (claim.containers, found.containers),
        "networks": (claim.networks, found.networks),
        "volumes": ([*claim.volumes, *claim.scratch], found.volumes),
    }
    return [
        *cluster,
        *(
            DIRECTORY.format(path=path, setting=setting)
            for setting, path in claim.directories.items()
            if not free_for_us(Path(path))
        ),
        *(FILE.format(path=path) for path, words in claim.files.items() if not written_by_us(Path(path), words)),
        *(
            SENTENCES[kind].format(name=name)
            for kind, (names, things) in wanted.items()
            for name in names
            if name in things and not things[name].ours
        ),
    ]


def marked(claim: Claim, found: Found, before: Mark | None) -> Mark | None:
    """The mark with what is claimed in it, if that is anything. Of Podman's things it names those without a label."""
    mark = Mark(**asdict(before)) if before else Mark()
    mark.directories = sorted({*mark.directories, *claim.directories.values()})
    mark.images = sorted({*mark.images, *claim.images})
    for name in claim.volumes:
        if (thing := found.volumes.get(name)) and thing.ours and not thing.labelled:
            mark.volumes[name] = thing.id
    for name in claim.networks:
        if (thing := found.networks.get(name)) and thing.ours and not thing.labelled:
            mark.networks[name] = thing.id
    if claim.k3s and not mark.k3s:
        mark.k3s, mark.shared = True, [] if k3s_owner(before) == "ours" else filled()
    return before if mark == (before or Mark()) else mark


def provide(claim: Claim, found: Found, fresh: bool) -> list[str]:
    """What is to be made with Podman: the commands, in their order."""
    commands = [
        ["network", "create", f"--label={LABEL}", name] for name in claim.networks if name not in found.networks
    ]
    for name in claim.volumes:
        if fresh and name in found.volumes:
            # Without force: somebody's container that uses it stops this, not the other way round.
            commands.append(["volume", "rm", name])
        if fresh or name not in found.volumes:
            commands.append(["volume", "create", f"--label={LABEL}", name])
    return [" ".join(command) for command in commands]


def main() -> None:
    """Runs the module."""
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "directories": {"type": "dict", "default": {}},
            "files": {"type": "dict", "default": {}},
            **{kind: dict(names) for kind in ("pods", "containers", "networks", "volumes", "scratch", "images")},
            "k3s": {"type": "bool", "default": False},
            "uid": {"type": "int", "default": 0},
            "fresh": {"type": "bool", "default": False},
            "host": {"type": "bool", "default": True},
            "make": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    asked = dict(module.params)
    how = {name: bool(asked.pop(name)) for name in ("fresh", "host", "make")}
    try:
        module.exit_json(**carry_out(module, Claim(**asked), **how))
    except (OSError, PodmanError, ValueError) as problem:
        module.fail_json(msg=f"What here is courseload's cannot be told: {problem}")


def gather(module: AnsibleModule, claim: Claim, before: Mark | None) -> Found:
    """What Podman has here, and whose; nothing where it is not asked for, or not here."""
    if not (claim.of_podman and module.get_bin_path("podman")):
        return Found()
    try:
        found = Podman(module.run_command).gather(before or Mark())
    except PodmanError:
        # One that cannot answer yet, since its settings follow, has nothing either.
        if module.check_mode:
            return Found()
        raise
    places = [*claim.directories.values(), *(before.directories if before else ())]
    if before is None and any(made_before_signs(Path(path)) for path in places):
        return taken_over(found, claim.volumes, claim.networks, claim.uid)
    # One that an earlier version has made since, when it was gone back to.
    return taken_over(found, sorted({*claim.volumes} & in_manifests(places)), [], claim.uid)


def carry_out(module: AnsibleModule, claim: Claim, *, fresh: bool, host: bool, make: bool) -> dict[str, Any]:
    """Does what is asked for; returns what the module does."""
    before = Mark.read()
    found = gather(module, claim, before)
    if wrong := refusals(claim, found, of_cluster(before) if claim.k3s else ()):
        module.fail_json(msg=" ".join(wrong))
    mark = marked(claim, found, before) if host else before
    unsigned = {path: setting for setting, path in claim.directories.items() if signed(Path(path)) is None}
    commands = provide(claim, found, fresh) if make else []
    todo = [*unsigned, *(["the mark"] if mark != before else []), *commands]
    ports = {name: pod.ports for name, pod in found.pods.items() if pod.ours}
    if module.check_mode:
        return {"changed": bool(todo), "made": todo, "published": ports}
    for path, setting in unsigned.items():
        sign(Path(path), setting)
    if mark and mark != before:
        mark.write()
    podman = Podman(module.run_command)
    for command in commands:
        podman.do(*command.split())
    there = podman.list("volume", "ls") if claim.volumes and make else []
    places = {entry["Name"]: entry["Mountpoint"] for entry in there if entry["Name"] in claim.volumes}
    return {"changed": bool(todo), "made": todo, "volumes": places, "published": ports}


if __name__ == "__main__":
    main()
