"""The lab's hosts: systemd containers with SSH and addresses of their own, as an inventory describes them."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import shlex
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from lab.paths import CACHE, LAB, SSH
from lab.podman import (
    CGROUP,
    LABEL,
    NETWORK,
    attempt,
    containers,
    following,
    network_exists,
    podman,
    remove_cgroups,
    settle,
    volumes,
)

SUBNET = ipaddress.ip_network("10.77.0.0/24")
NOBODY = SUBNET[-2]  # the hosts' gateway and name server: an address that no host has
GROUPS = ("servers", "agents", "ops", "load")
PREFIX = "lab-"  # not courseload-: that is the system's own
ADDRESS = "courseload.lab.address"  # a container's label
BOOT_S = 180
SHUTDOWN_S = 180
SYSCTL = Path("/proc/sys")
KERNEL_BEFORE = CACHE / "kernel.json"

DEBIAN = ("bookworm", "trixie")  # 12, which a host has where its inventory says nothing else as lab_suite, and 13
UBUNTU = "noble"  # 24.04
SUITES = (*DEBIAN, UBUNTU)
UBUNTU_KEYS = Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg")
# A server, as a provider hands it over.
SERVER = (
    *("ca-certificates", "curl", "dbus", "iproute2", "iputils-ping", "kmod", "openssh-server", "procps"),
    *("python3", "python3-apt", "sudo", "systemd", "systemd-sysv", "zstd"),
)
# What a host has that its inventory calls lab_bare: what it lacks has to come from a bundle. Debian's installer leaves
# python3-apt out as well.
BARE = tuple(name for name in SERVER if name != "python3-apt")
PACKAGES = (
    *SERVER,
    # what k3s carries within itself, and its stand-in takes from the host
    *("conntrack", "containerd", "containernetworking-plugins", "ipset", "iptables", "runc"),
    # what the system's hosts install: a lab host reaches no mirror
    *("aardvark-dns", "catatonit", "crun", "debian-archive-keyring", "mmdebstrap", "netavark", "nftables", "podman"),
    # what tests need there: a clock that is wrong, a registry of images
    *("docker-registry", "faketime"),
)
# Who comes in by SSH, and becomes root with sudo, as at most providers.
USER = "debian"
MAKE_USER = (
    f"useradd --create-home --shell /bin/bash {USER}",
    f"echo '{USER} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{USER}",
    f"chmod 0440 /etc/sudoers.d/{USER}",
)
# These would wait for what a lab host does not have, or run what k3s runs itself.
NO_SERVICES = (
    "containerd",
    "docker-registry",
    "podman",
    "podman-auto-update.timer",
    "podman-restart",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
)
# What hosts may set in the machine's kernel, because k3s wants it so, and `down` sets back.
KERNEL = (
    *("kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "vm/panic_on_oom"),
    *("kernel/keys/root_maxbytes", "kernel/keys/root_maxkeys"),
    *("fs/inotify/max_user_instances", "fs/inotify/max_user_watches"),
)
VOLUMES = ("/var/lib/rancher", "/var/lib/containers", "/var/lib/kubelet")  # an overlay does not lie on an overlay


@dataclass(frozen=True)
class System:
    """What a host is made of."""

    suite: str = DEBIAN[0]
    bare: bool = False

    @property
    def packages(self) -> tuple[str, ...]:
        return BARE if self.bare else PACKAGES


USED = (System(), System(DEBIAN[1], bare=True))  # by the tests


@dataclass(frozen=True)
class Host:
    name: str
    address: str
    groups: tuple[str, ...]
    system: System = System()

    @property
    def container(self) -> str:
        return PREFIX + self.name


def read(inventory: Path, suite: str | None = None) -> list[Host]:
    """The hosts of an inventory, but for this machine; raises ValueError, with what to mend, for one that cannot be.

    `suite` is what all of them have, whatever the inventory says.
    """
    manager = InventoryManager(loader=DataLoader(), sources=[str(inventory)])
    found = []
    for name, entry in sorted(manager.hosts.items()):
        if entry.vars.get("ansible_connection") == "local":
            continue
        address = str(entry.vars.get("ansible_host", ""))
        groups = tuple(group for group in GROUPS if group in {parent.name for parent in entry.get_groups()})
        if not address or ipaddress.ip_address(address) not in SUBNET:
            raise ValueError(f"{inventory}: {name} needs an ansible_host in {SUBNET}, and has {address or 'none'}")
        wanted = suite or entry.vars.get("lab_suite", DEBIAN[0])
        if wanted not in SUITES:
            raise ValueError(f"{inventory}: the lab_suite of {name} is {wanted}, and the lab has {', '.join(SUITES)}")
        found.append(Host(name, address, groups, System(wanted, bool(entry.vars.get("lab_bare")))))
    addresses = [host.address for host in found]
    if not found or len(set(addresses)) < len(addresses):
        raise ValueError(f"{inventory}: at least one host, and for each an address of its own")
    return found


def up(hosts: Sequence[Host]) -> None:
    """Makes the hosts that are missing and starts those that are off; returns when SSH answers and systemd is done."""
    images = host_images({host.system for host in hosts})
    make_keys()
    remember_kernel()
    if not network_exists():
        podman("network", "create", "--internal", "--disable-dns", f"--subnet={SUBNET}", f"--label={LABEL}", NETWORK)
    states = {name: entry["State"] for entry in containers() for name in entry["Names"]}
    for host in hosts:
        if host.container not in states:
            create(host, images[host.system])
        elif states[host.container] != "running":
            podman("start", host.container)
    step_in()
    for host in hosts:
        wait_until_booted(host)
    know()


def step_in() -> None:
    """Gives this machine an address on the hosts' bridge, as an internal network does not; it goes with the bridge."""
    bridge = podman("network", "inspect", NETWORK, "--format={{.NetworkInterface}}")
    machine = ipaddress.ip_interface(f"{SUBNET[1]}/{SUBNET.prefixlen}")
    subprocess.run(["ip", "address", "replace", str(machine), "dev", bridge], check=True)


def down() -> None:
    """Removes everything that `up` has made on this machine; what was built stays in the cache."""
    settle()
    names = [name for entry in containers() for name in entry["Names"]]
    if names:
        podman("rm", "--force", "--time=0", "--volumes", *names)
    if left := volumes():
        # Without force, which would take along a container of somebody's that looks into one.
        podman("volume", "rm", *left)
    if network_exists():
        podman("network", "rm", NETWORK)
    remove_cgroups()
    restore_kernel()
    for path in SSH.glob("*"):
        path.unlink()


def remove(name: str) -> None:
    """Removes one host and what belongs to it, as if its machine were given away."""
    container = find(name).container
    podman("rm", "--force", "--time=0", "--volumes", container)
    podman("volume", "rm", *({volume_of(container, path) for path in VOLUMES} & {*volumes()}))


def power_off(host: Host) -> None:
    """Ends a host at once, as a power cut does; its files stay.

    Without time `stop` sends SIGKILL, as `kill` does, and waits until the network namespace is gone: a host that is
    switched on before would keep its old firewall rules.
    """
    podman("stop", "--time=0", host.container)


def shut_down(host: Host) -> list[str]:
    """Ends a host as `systemctl poweroff` does; returns the lines that its journal had meanwhile.

    Where a host's journal lies, Podman gives it memory, so it is gone afterwards.
    """
    with following("exec", host.container, "journalctl", "--follow", "--lines=0", "--output=cat") as lines:
        time.sleep(1)  # until it follows
        # To a container with systemd, Podman sends the signal that systemd shuts down at.
        podman("stop", f"--time={SHUTDOWN_S}", host.container)
    return lines


def power_on(host: Host) -> None:
    """Starts a host that is off; returns when systemd is done."""
    podman("start", host.container)
    step_in()  # the bridge goes with the last host
    wait_until_booted(host)


@contextmanager
def restarting() -> Iterator[None]:
    """Starts each host that ends meanwhile, as a machine goes on after a restart: a container only ends."""
    over = Event()

    def watch() -> None:
        while not over.wait(0.5):
            for entry in containers():
                if entry["State"] == "exited":
                    power_on(find(entry["Names"][0].removeprefix(PREFIX)))

    watching = Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def find(name: str) -> Host:
    """A host that is there, by its name; raises ValueError where there is none."""
    for host in present():
        if host.name == name:
            return host
    raise ValueError(f"no host {name} is up: `bin/lab status` lists them, `bin/lab up` makes them")


def present() -> list[Host]:
    """All hosts that were made, whatever inventory they are of; their groups and systems are not known."""
    return [
        Host(name.removeprefix(PREFIX), str(entry["Labels"][ADDRESS]), ())
        for entry in containers()
        for name in entry["Names"]
    ]


def create(host: Host, image: str) -> None:
    mounts = [f"--volume={volume_of(host.container, path)}:{path}" for path in VOLUMES]
    for path in VOLUMES:
        podman("volume", "create", f"--label={LABEL}", volume_of(host.container, path))
    podman(
        *("run", "--detach", f"--name={host.container}", f"--hostname={host.name}", f"--label={LABEL}"),
        f"--label={ADDRESS}={host.address}",
        *(f"--network={NETWORK}", f"--ip={host.address}", f"--dns={NOBODY}", f"--env=LAB_GATEWAY={NOBODY}"),
        # A host that is switched on again has the card that it had: its neighbours would go on writing to another one.
        f"--mac-address={':'.join(f'{part:02x}' for part in (2, 0, *ipaddress.ip_address(host.address).packed))}",
        *("--systemd=always", "--privileged", "--cgroupns=private", f"--cgroup-parent=/{CGROUP}"),
        *("--tmpfs=/tmp", "--tmpfs=/run", *mounts, image, "/usr/local/sbin/hostinit"),
    )
    # The key goes in when the host runs: an image with a key in it would outlive the lab.
    # Playbooks come in as USER, tests as root.
    for user, home in (("root", "/root"), (USER, f"/home/{USER}")):
        podman("exec", host.container, "install", "--directory", "--mode=0700", f"--owner={user}", f"{home}/.ssh")
        podman("cp", f"{SSH / 'id_ed25519.pub'}", f"{host.container}:{home}/.ssh/authorized_keys")
        podman("exec", host.container, "chown", f"{user}:", f"{home}/.ssh/authorized_keys")


def volume_of(container: str, path: str) -> str:
    return container + path.replace("/", "-")


def wait_until_booted(host: Host) -> None:
    """Raises TimeoutError, with the units that failed or are awaited, where the host does not come up."""
    deadline = time.monotonic() + BOOT_S
    while (state := system_state(host)) != "running":
        if time.monotonic() > deadline:
            states = "--state=failed,activating,deactivating"
            units = inside(host, "systemctl", "list-units", states, "--plain", "--no-legend").stdout
            raise TimeoutError(f"{host.name} is {state or 'silent'} after {BOOT_S} s. {units}")
        time.sleep(0.2)


def system_state(host: Host) -> str:
    """What systemd says of the host: running, starting, degraded; nothing where it does not run."""
    return inside(host, "systemctl", "is-system-running").stdout.strip()


def inside(host: Host, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a host without SSH, whatever comes of it."""
    return attempt("exec", host.container, *command)


def remember_kernel() -> None:
    """Writes down, for `down`, what the kernel's settings were before there was a host."""
    if not KERNEL_BEFORE.exists():
        values = {name: (SYSCTL / name).read_text().strip() for name in KERNEL if (SYSCTL / name).exists()}
        KERNEL_BEFORE.write_text(json.dumps(values))


def restore_kernel() -> None:
    if KERNEL_BEFORE.exists():
        for name, value in json.loads(KERNEL_BEFORE.read_text()).items():
            (SYSCTL / name).write_text(value)
        KERNEL_BEFORE.unlink()


def make_keys() -> None:
    """Makes the key that people and playbooks come in with."""
    SSH.mkdir(parents=True, exist_ok=True)
    SSH.chmod(0o700)
    key = SSH / "id_ed25519"
    if not key.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "courseload lab", "-f", str(key)]
        subprocess.run(command, check=True)


def know() -> None:
    """Writes down the keys of all hosts that are up, so that nobody has to be asked whether to trust them."""
    keys = {host: inside(host, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[:2] for host in present()}
    lines = [f"{host.address} {' '.join(key)}\n" for host, key in keys.items() if key]
    (SSH / "known_hosts").write_text("".join(lines))


def ssh_command(host: Host, *command: str) -> list[str]:
    """The ssh command line that reaches a host."""
    options = [
        f"UserKnownHostsFile={SSH / 'known_hosts'}",
        "StrictHostKeyChecking=yes",
        "ConnectTimeout=10",
        "LogLevel=ERROR",
    ]
    settings = [word for option in options for word in ("-o", option)]
    return ["ssh", "-i", str(SSH / "id_ed25519"), *settings, f"root@{host.address}", *command]


def host_images(systems: Collection[System] = USED) -> dict[System, str]:
    """The images for systems; those that are missing are built beside each other, as each uses one core."""
    settle()
    with ThreadPoolExecutor() as pool:
        return dict(zip(systems, pool.map(host_image, systems), strict=True))


def source(suite: str, archive: Path) -> list[str]:
    """What mmdebstrap is told of a suite and of where it goes: it knows Debian's by themselves."""
    if suite != UBUNTU:
        return [suite, str(archive)]
    if not UBUNTU_KEYS.exists():
        raise RuntimeError(
            "hosts of Ubuntu need its keys on this machine: install ubuntu-keyring, a package of Debian 13"
        )
    lines = [f"deb http://archive.ubuntu.com/ubuntu {part} main universe" for part in (suite, f"{suite}-updates")]
    return [f"--keyring={UBUNTU_KEYS}", suite, str(archive), *lines]


def host_image(system: System = USED[0]) -> str:
    """The image that hosts of a system are made of, built the first time (about a minute)."""
    suite = system.suite
    inputs = repr((suite, system.packages, NO_SERVICES, MAKE_USER)).encode() + (LAB / "host/hostinit").read_bytes()
    tag = f"localhost/courseload-lab/host:{hashlib.sha256(inputs).hexdigest()[:12]}"
    if tag.split(":")[1] in podman("images", "--format={{.Tag}}", "localhost/courseload-lab/host").split():
        return tag
    print(f"building the hosts' image of {suite}{', bare' if system.bare else ''}", flush=True)
    archive = CACHE / f"host-{suite}{'-bare' if system.bare else ''}.tar"
    build = subprocess.run(
        [
            *("mmdebstrap", "--variant=minbase", f"--include={','.join(system.packages)}"),
            *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"),
            *("--dpkgopt=path-exclude=/usr/share/locale/*",),
            f"--customize-hook=copy-in {LAB / 'host/hostinit'} /usr/local/sbin",
            f'--customize-hook=chroot "$1" systemctl mask {" ".join(NO_SERVICES)}',
            f'--customize-hook=chroot "$1" sh -c {shlex.quote(" && ".join(MAKE_USER))}',
            '--customize-hook=rm "$1"/etc/ssh/ssh_host_*; : > "$1"/etc/machine-id',
            *source(suite, archive),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(CACHE)},
    )
    if build.returncode:
        raise RuntimeError(f"the hosts' image could not be built:\n{build.stdout[-3000:]}")
    path = "ENV=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    podman("import", "--quiet", "--change", path, str(archive), tag)
    archive.unlink()
    return tag
