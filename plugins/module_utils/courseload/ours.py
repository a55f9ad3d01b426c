"""What on a host is courseload's, and how it is told from what is somebody else's: labels, and marks that it leaves.

What Podman keeps carries a label. Each directory that courseload works in carries a file that says so, and the host has
one, `MARK`, that names what has no place for a label: a cluster, and what a version made that did not label yet.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .entries import Entry

LABEL = "part-of=courseload"
MARK = Path("/var/lib/courseload/made.json")
SIGN = ".courseload"  # the file in a directory

# What lies in the directories that it works in.
IN_CONFIG = {"credentials", "firewall.nft", "image_source", "pods"}
IN_STATE = {"artifacts", "backup", "build", "loadtest", "sysctl.before"}

K3S_BINARY = "/usr/local/bin/k3s"
K3S_ETC = "/etc/rancher/k3s"
K3S_DATA = "/var/lib/rancher/k3s"
K3S_SERVER = f"{K3S_DATA}/server"
K3S_UNIT = {"server": "k3s", "agent": "k3s-agent"}  # by the kind of the node
K3S_UNITS = tuple(f"{unit}.service" for unit in K3S_UNIT.values())
WRITTEN_BY_K3S = "Written by the role k3s"  # in its configuration
SYSTEMD = "/etc/systemd/system"
# What to do about one that is another's; it follows what has it.
K3S_OF_ANOTHER = (
    "a k3s that courseload has not set up: use another host, or remove it first with k3s-uninstall.sh "
    "(k3s-agent-uninstall.sh), which removes what runs in it."
)
# Kubelets of others, by what starts them. k3s's own has no unit.
OTHER_UNITS = (
    *("rke2-server.service", "rke2-agent.service", "kubelet.service", "k0scontroller.service", "k0sworker.service"),
    *("snap.microk8s.daemon-kubelite.service", "snap.k8s.kubelet.service"),
)
# Where every kubelet and every flannel of a host leaves things, whoever it belongs to.
SHARED = ("/var/lib/kubelet", "/var/log/pods", "/var/log/containers", "/run/flannel")

Run = Callable[[list[str]], tuple[int, str, str]]


class PodmanError(RuntimeError):
    """Podman did not answer; the message is what it said."""


def is_ours(labels: Mapping[str, str] | None) -> bool:
    """Whether labels are those of courseload's own."""
    name, _, value = LABEL.partition("=")
    return (labels or {}).get(name) == value


# --- The marks


@dataclass
class Mark:
    """What courseload has made on a host, as it has written it down there before it did."""

    directories: list[str] = field(default_factory=list)
    volumes: dict[str, str] = field(default_factory=dict)  # without a label: when each was made, by its name
    networks: dict[str, str] = field(default_factory=dict)  # without a label: their ids
    images: list[str] = field(default_factory=list)  # that have another's label, or none
    k3s: bool = False
    shared: list[str] = field(default_factory=list)  # of SHARED, what others had filled before there was a k3s of ours

    @classmethod
    def read(cls, path: Path = MARK) -> Mark | None:
        """The mark of this host; None where there is none. Raises ValueError where it is none that can be read."""
        if not path.exists():
            return None
        try:
            return cls(**json.loads(path.read_text()))
        except (TypeError, ValueError) as problem:
            raise ValueError(
                f"{path}, which says what courseload has made here, cannot be read: {problem}"
            ) from problem

    def write(self, path: Path = MARK) -> None:
        write(path, json.dumps(asdict(self), indent=2, sort_keys=True) + "\n")


def write(path: Path, text: str) -> None:
    """Writes a file that only root reads, in a directory that only root opens."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    Entry(path, 0o600, text).apply()


@dataclass(frozen=True)
class Sign:
    """What is noted in a directory of courseload's."""

    setting: str = ""  # that names it
    mode_before: str = ""  # nothing where courseload has made it


def sign(path: Path, setting: str) -> None:
    """Notes in a directory that it is courseload's, and what it was before."""
    ours = made_before_signs(path) or list(path.glob("*")) == [MARK]
    before = f"{stat.S_IMODE(path.stat().st_mode):04o}" if path.exists() and not ours else ""
    write(path / SIGN, json.dumps(asdict(Sign(setting, before))) + "\n")


def signed(path: Path) -> Sign | None:
    """What is noted in a directory; None in one that is not courseload's."""
    try:
        return Sign(**json.loads((path / SIGN).read_text()))
    except (OSError, TypeError, ValueError):
        return None


def made_before_signs(path: Path) -> bool:
    """Whether a version that did not sign its directories has worked in this one: by what only it has written there."""
    if not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir()}
    closed = stat.S_IMODE(path.stat().st_mode) == 0o700
    return any(
        (
            any(LABEL.replace("=", ": ") in text(manifest) for manifest in path.glob("pods/*.yml")),
            "table inet courseload" in text(path / "firewall.nft"),
            bool(re.fullmatch(r"([a-z0-9._]+=\d+\n)+", text(path / "sysctl.before"))),
            # Nothing but what it writes, and as closed as it makes them.
            bool(names) and closed and any(names <= known for known in (IN_CONFIG, IN_STATE)),
        )
    )


def free_for_us(path: Path) -> bool:
    """Whether a directory is courseload's, or nobody's: not there, or nothing in it."""
    if signed(path) is not None or not path.exists():
        return True
    others = [entry for entry in path.iterdir() if entry != MARK] if path.is_dir() else [path]
    return not others or made_before_signs(path)


def written_by_us(path: Path, words: str) -> bool:
    """Whether a file is not there, or begins, as a comment, with words that only courseload's has."""
    return not path.exists() or text(path).lstrip("# ").startswith(words)


def text(path: Path) -> str:
    """What is in a file; nothing where there is none."""
    try:
        return path.read_text(errors="replace") if path.is_file() else ""
    except OSError:
        return ""


# --- Podman


@dataclass(frozen=True)
class Thing:
    """A pod, a container, a volume or a network of Podman's."""

    id: str
    ours: bool
    labelled: bool = False
    uid: int = 0  # of a volume
    used_by_others: bool = False  # a network, by containers that are not ours
    parts: tuple[str, ...] = ()  # of a pod: its containers' ids
    ports: tuple[int, ...] = ()  # of a pod: those of this host that it has at this moment


@dataclass(frozen=True)
class Found:
    """What Podman has on this host, by name, and of each whether it is ours."""

    pods: dict[str, Thing] = field(default_factory=dict)
    containers: dict[str, Thing] = field(default_factory=dict)
    volumes: dict[str, Thing] = field(default_factory=dict)
    networks: dict[str, Thing] = field(default_factory=dict)


class Podman:
    """Asks Podman, and tells it what to do."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def do(self, *arguments: str) -> str:
        """Runs podman and returns what it printed; raises PodmanError."""
        code, out, err = self._run(["podman", *arguments])
        if code:
            raise PodmanError(
                (err or out).strip().splitlines()[-1].removeprefix("Error: ") if err or out else "no reason"
            )
        return out

    def list(self, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.do(*arguments, "--format=json") or "[]") or []
        return found

    def mounted(self, containers: Sequence[str]) -> set[str]:
        """The volumes that containers, by their ids, have in them."""
        if not containers:
            return set()
        # One that has gone meanwhile is an error, and the others are described all the same.
        out = self._run(["podman", "container", "inspect", *containers])[1]
        try:
            described = json.loads(out or "[]")
        except ValueError as problem:
            raise PodmanError(f"podman container inspect does not tell what is mounted: {out[:200]}") from problem
        return {mount["Name"] for entry in described for mount in entry.get("Mounts") or [] if mount.get("Name")}

    def gather(self, mark: Mark) -> Found:
        """All that there is, and whose. What has no label is ours where our pods use it, or the mark names this one."""
        listed, running = self.list("pod", "ps"), self.list("ps", "--all")
        pods = {
            entry["Name"]: Thing(
                entry["Id"],
                is_ours(entry.get("Labels")),
                parts=tuple(part["Id"] for part in entry.get("Containers") or []),
                ports=published(container for container in running if container.get("Pod") == entry["Id"]),
            )
            for entry in listed
        }
        our_pods = {pod.id for pod in pods.values() if pod.ours}
        mine = {
            entry["Id"]: entry.get("Pod") in our_pods or (not entry.get("Pod") and is_ours(entry.get("Labels")))
            for entry in running
        }
        mounted = self.mounted([identity for identity, ours in mine.items() if ours])
        plugged = {
            ours: {network for entry in running if mine[entry["Id"]] == ours for network in entry.get("Networks") or []}
            for ours in (True, False)
        }
        return Found(
            pods=pods,
            containers={name: Thing(e["Id"], mine[e["Id"]]) for e in running for name in e.get("Names") or []},
            volumes={entry["Name"]: self._volume(entry, mark, mounted) for entry in self.list("volume", "ls")},
            networks={
                entry["name"]: Thing(
                    entry["id"],
                    ours=is_ours(entry.get("labels"))
                    or mark.networks.get(entry["name"]) == entry["id"]
                    or entry["name"] in plugged[True] - {"podman"},
                    labelled=is_ours(entry.get("labels")),
                    used_by_others=entry["name"] in plugged[False],
                )
                for entry in self.list("network", "ls")
            },
        )

    @staticmethod
    def _volume(entry: Mapping[str, Any], mark: Mark, mounted: set[str]) -> Thing:
        labelled = is_ours(entry.get("Labels"))
        noted = mark.volumes.get(entry["Name"]) == entry["CreatedAt"]
        return Thing(
            entry["CreatedAt"],
            ours=labelled or noted or entry["Name"] in mounted,
            labelled=labelled,
            uid=int(entry.get("UID") or 0),
        )


def published(containers: Iterable[Mapping[str, Any]]) -> tuple[int, ...]:
    """The ports of this host that running containers have; `range` is how many there are from the first."""
    ports = [
        port["host_port"] + offset
        for container in containers
        if container.get("State") in ("running", "paused")
        for port in container.get("Ports") or []
        for offset in range(port.get("range") or 1)
    ]
    return tuple(sorted(set(ports)))


def in_manifests(directories: Iterable[str]) -> set[str]:
    """The volumes that the manifests of ours name, in the directories that courseload works in."""
    manifests = [text(path) for place in directories for path in Path(place).glob("pods/*.yml")]
    ours = [manifest for manifest in manifests if LABEL.replace("=", ": ") in manifest]
    return {name for manifest in ours for name in re.findall(r"(?:claimName|configMap: {name): ([a-z0-9-]+)", manifest)}


def taken_over(found: Found, volumes: Sequence[str], networks: Sequence[str], uid: int) -> Found:
    """What is ours of what a version left that left neither labels nor a mark.

    Its volumes have our names and belong to the user that our containers run as; and on its network is nobody else.
    """
    return replace(
        found,
        volumes={
            name: replace(volume, ours=volume.ours or (name in volumes and volume.uid == uid))
            for name, volume in found.volumes.items()
        },
        networks={
            name: replace(network, ours=network.ours or (name in networks and not network.used_by_others))
            for name, network in found.networks.items()
        },
    )


IMAGES = "localhost/courseload"  # how the names of images begin


def our_images(entries: Sequence[Mapping[str, Any]], names: Sequence[str], mark: Mark) -> list[str]:
    """Of images, as Podman lists them, the references that are ours.

    They have our label, or are in the mark, or, of a version that gave none, one of our names and the hash of an input.
    """
    found = []
    for entry in entries:
        for reference in entry.get("Names") or []:
            name, _, tag = reference.removeprefix(f"{IMAGES}/").rpartition(":")
            hashed = name in names and re.fullmatch("[0-9a-f]{12}", tag)
            known = is_ours(entry.get("Labels")) or reference in mark.images or hashed
            if known and reference.startswith(f"{IMAGES}/"):
                found.append(reference)
    return found


# --- The cluster


def k3s_owner(mark: Mark | None, root: Path = Path("/")) -> str:
    """Whose k3s is here: "ours", "another's", or "" where there is none.

    Its configuration says whose it is. Where that is missing, the mark counts, unless a unit is there that is not ours.
    """
    configuration = below(root, K3S_ETC) / "config.yaml"
    units = [text(unit) for name in K3S_UNITS if (unit := below(root, SYSTEMD) / name).is_file()]
    if WRITTEN_BY_K3S in text(configuration):
        return "ours"
    if mark and mark.k3s and all("Ansible managed" in unit.partition("\n")[0] for unit in units):
        # It may have been begun, or removed in part.
        return "another's" if configuration.is_file() else "ours"
    traces = configuration.exists() or below(root, K3S_BINARY).exists() or _has_entries(below(root, K3S_DATA))
    return "another's" if units or traces else ""


def other_kubelets(root: Path = Path("/")) -> list[str]:
    """The units of kubelets that are no part of k3s."""
    places = [below(root, place) for place in (SYSTEMD, "/usr/lib/systemd/system", "/usr/local/lib/systemd/system")]
    return [unit for unit in OTHER_UNITS if any((place / unit).exists() for place in places)]


def filled(root: Path = Path("/")) -> list[str]:
    """Of the directories that kubelets share, those that have something in them."""
    return [name for name in SHARED if _has_entries(below(root, name))]


def below(root: Path, place: str) -> Path:
    """An absolute path below another root."""
    return root / place.lstrip("/")


def _has_entries(path: Path) -> bool:
    return path.is_dir() and any(path.iterdir())
