#!/usr/bin/python
"""The module `host_state`: makes a host what it should be, in one visit: files, kernel settings, network, firewall."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from courseload.entries import Entry
    from courseload.firewall import TABLE, rules
    from courseload.ours import LABEL, written_by_us
    from courseload.podman_settings import UNLIMITED, Limits, containers_conf
    from courseload.sysctl import Setting, pending, remembered, written
else:
    from ansible.module_utils.courseload.entries import Entry
    from ansible.module_utils.courseload.firewall import TABLE, rules
    from ansible.module_utils.courseload.ours import LABEL, written_by_us
    from ansible.module_utils.courseload.podman_settings import UNLIMITED, Limits, containers_conf
    from ansible.module_utils.courseload.sysctl import Setting, pending, remembered, written

DOCUMENTATION = """
module: host_state
short_description: Make a host what it should be
description:
  - Where packages are missing it changes nothing and names them; when they are installed it is to be called again.
    In check mode it goes on, and reports what it would change.
  - The diff has a line for everything that was not as it should be.
options:
  packages: {description: Debian packages that must be installed., type: list, elements: str, default: []}
  directories: {description: Directories that only root can read., type: list, elements: path, default: []}
  sysctl: {description: 'Settings of the kernel, by name, now and at each start.', type: dict, default: {}}
  sysctl_least: {description: Settings of the kernel that are raised where they are lower., type: dict, default: {}}
  sysctl_file: {description: The file from which they are set at each start. Lines of others stay., type: path}
  sysctl_before: {description: 'The file that keeps what they were before, for a reset.', type: path}
  containers_conf:
    description: The file for what Podman needs on this host beyond its defaults; without it, none is written.
    type: path
  registries_conf:
    description: The file for I(registries), which is removed, if it is ours, where that is empty.
    type: path
  registries: {description: The text of I(registries_conf)., type: str, default: ""}
  units:
    description: Files for systemd, by path, with their texts; nothing where it is not the init system.
    type: dict
    default: {}
  network: {description: "The pods' network, which is made where it is missing.", type: str}
  firewall:
    description: >-
      The firewall, if any. C(rules) and C(unit) are the paths of its files, C(service) is the text of the unit.
      C(ports) are our own ports as the filter C(firewall_ports) gives them, or none where no port is closed.
    type: dict
"""

RETURN = """
missing: {description: Packages that are not installed., type: list, returned: always}
"""

REGISTRIES_BEGIN = "The mirror that Podman asks"
SERVICE = "courseload-firewall"
NFT = "/usr/sbin/nft"


class HostError(RuntimeError):
    """The host could not be made what it should be; the message is a sentence."""


@dataclass
class Host:
    """Changes a host, unless it is only checked, and keeps what was not as it should be."""

    module: AnsibleModule
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)

    @property
    def check(self) -> bool:
        return bool(self.module.check_mode)

    def note(self, what: str, before: str, after: str) -> None:
        self.before.append(f"{what}: {before}\n")
        self.after.append(f"{what}: {after}\n")

    def run(self, *command: str) -> str:
        """The output of a command, which must succeed."""
        code, out, err = self.module.run_command(list(command))
        if code:
            raise HostError(f"{' '.join(command)} failed: {(err or out).strip()}")
        return str(out)

    def says(self, *command: str) -> str | None:
        """The output of a command; None where it fails, or is not there."""
        if not self.has(command[0]):
            return None
        code, out, _ = self.module.run_command(list(command))
        return None if code else str(out)

    def has(self, program: str) -> bool:
        return self.module.get_bin_path(program) is not None

    def provide(self, entry: Entry) -> bool:
        """Makes a directory or file what it should be; returns whether it was not."""
        if (deviation := entry.deviation()) is None:
            return False
        self.note(str(entry.path), deviation, str(entry))
        if not self.check:
            entry.apply()
        return True

    def remove(self, path: Path) -> None:
        self.note(str(path), "present", "absent")
        if not self.check:
            path.unlink()


def missing_packages(host: Host, packages: list[str]) -> list[str]:
    if not packages:
        return []
    # It fails where one of them is not known at all, and tells of the others.
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n", *packages]
    there = host.module.run_command(command)[1].splitlines()
    return [package for package in packages if f"installed {package}" not in there]


def set_kernel(host: Host, asked: Mapping[str, Any]) -> None:
    """Sets the kernel, now and for each start. What was there before is remembered first."""
    if not asked["sysctl"] and not asked["sysctl_least"]:
        return
    file, before = Path(asked["sysctl_file"]), Path(asked["sysctl_before"])
    text = file.read_text() if file.exists() else ""
    settings: list[Setting] = pending(asked["sysctl"], asked["sysctl_least"], text)
    for setting in settings:
        was = setting.now if setting.now != setting.value else f"{setting.now}, until the next start"
        host.note(f"kernel setting {setting.name}", was, setting.value)
    if host.check or not settings:
        return
    known = before.read_text() if before.exists() else ""
    if (more := remembered(known, settings)) != known:
        Entry(before, 0o600, more).apply()
    Entry(file, 0o644, written(text, settings)).apply()
    for setting in settings:
        setting.apply()


def limits_of_pods(host: Host, systemd: bool) -> Limits:
    """The hard limits of what starts the pods: not those of the way by which Ansible came, which may be others."""
    there = ("cat", "/proc/self/limits")
    text = host.run(*("systemd-run", "--quiet", "--collect", "--wait", "--pipe") if systemd else (), *there)
    hard = dict(re.findall(r"^Max (open files|processes) +\S+ +(\S+)", text, re.MULTILINE))
    nofile, nproc = (hard[name] for name in ("open files", "processes"))
    return Limits(*(UNLIMITED if limit == "unlimited" else int(limit) for limit in (nofile, nproc)))


def configure_podman(host: Host, asked: Mapping[str, Any], systemd: bool) -> None:
    if asked["containers_conf"]:
        limits = limits_of_pods(host, systemd)
        text = containers_conf(limits, cgroup2=Path("/sys/fs/cgroup/cgroup.controllers").exists(), systemd=systemd)
        provide_file(host, Path(asked["containers_conf"]), text)
    if asked["registries_conf"]:
        path = Path(asked["registries_conf"])
        if asked["registries"]:
            provide_file(host, path, asked["registries"])
        elif path.exists() and written_by_us(path, REGISTRIES_BEGIN):
            host.remove(path)


def configure_systemd(host: Host, units: Mapping[str, str]) -> None:
    """Writes files for systemd, which reads them at once: also for what runs already."""
    new = [path for path, text in units.items() if provide_file(host, Path(path), text)]
    if new and not host.check:
        host.run("systemctl", "daemon-reload")


def provide_file(host: Host, path: Path, text: str) -> bool:
    host.provide(Entry(path.parent.resolve(), 0o755))
    return host.provide(Entry(path, 0o644, text))


def networks(host: Host, name: str | None) -> list[tuple[str, str]]:
    """The bridge and subnet of each part of the pods' network, which is made if need be: Podman chooses both."""
    if not name:
        return []
    found = host.says("podman", "network", "inspect", name)
    if found is None:
        host.note(f"network {name}", "absent", "present")
        if host.check:
            return []
        host.run("podman", "network", "create", f"--label={LABEL}", name)
        found = host.run("podman", "network", "inspect", name)
    return [(each["network_interface"], part["subnet"]) for each in json.loads(found) for part in each["subnets"]]


# --- The firewall


def firewall_stands(host: Host, rules_file: str, systemd: bool) -> bool:
    """Whether the kernel has what is in the file, and will have it after the next start.

    Whoever flushes all tables takes ours along, so the unit's word is not enough: the table is compared with what the
    kernel makes of the file in a network namespace of its own.
    """
    for query in ("is-enabled", "is-active") if systemd else ():
        if host.says("systemctl", "--quiet", query, SERVICE) is None:
            return False
    listing = f"{NFT} --stateless list table {' '.join(TABLE)}"
    there = host.says(*listing.split())
    wanted = host.says("unshare", "--net", "sh", "-c", f'{NFT} --file "$0" && {listing}', rules_file)
    return there is not None and there == wanted


def guard(host: Host, firewall: Mapping[str, Any], subnets: list[tuple[str, str]], systemd: bool) -> None:
    """Writes the firewall, and puts it in place now and at each start."""
    text, rules_file, unit = rules(firewall["ports"], subnets), Path(firewall["rules"]), Path(firewall["unit"])
    stands = firewall_stands(host, str(rules_file), systemd)
    entry = Entry(rules_file, 0o600, text)
    if not host.check and entry.deviation() is not None:
        check_rules(host, rules_file.with_name(f"{rules_file.name}.new"), text)
    changed = host.provide(entry)
    if systemd:
        changed = host.provide(Entry(unit, 0o644, firewall["service"])) or changed
    if stands and not changed:
        return
    host.note(f"table {' '.join(TABLE)}", "other rules" if stands else "not in place", "in place")
    if host.check:
        return
    if systemd:
        host.run("systemctl", "daemon-reload")
        host.run("systemctl", "enable", SERVICE)
        # One that lost its table is still active; one that stands takes new rules without a moment of being open.
        host.run("systemctl", "reload" if stands else "restart", SERVICE)
    else:
        # After a start of the host it is site.yml that puts them back, as it does the pods.
        host.run(NFT, "--file", str(rules_file))


def check_rules(host: Host, path: Path, text: str) -> None:
    """Has nft judge the rules before they replace others."""
    Entry(path, 0o600, text).apply()
    try:
        host.run(NFT, "--check", "--file", str(path))
    finally:
        path.unlink()


def apply(host: Host, asked: Mapping[str, Any]) -> list[str]:
    """Makes the host what it should be; returns the packages without which it cannot be."""
    missing = missing_packages(host, asked["packages"])
    if missing and not host.check:
        return missing
    systemd = Path("/run/systemd/system").is_dir()
    for path in asked["directories"]:
        # It may be a link to where there is more space.
        host.provide(Entry(Path(path).resolve(), 0o700))
    set_kernel(host, asked)
    configure_podman(host, asked, systemd)
    if systemd:
        configure_systemd(host, asked["units"])
    subnets = networks(host, asked["network"])
    if asked["firewall"]:
        guard(host, asked["firewall"], subnets, systemd)
    return missing


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "default": []},
            "directories": {"type": "list", "elements": "path", "default": []},
            **{name: {"type": "dict", "default": {}} for name in ("sysctl", "sysctl_least", "units")},
            **{
                name: {"type": "path"}
                for name in ("sysctl_file", "sysctl_before", "containers_conf", "registries_conf")
            },
            "registries": {"type": "str", "default": ""},
            "network": {"type": "str"},
            "firewall": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    host = Host(module)
    try:
        missing = apply(host, module.params)
    except OSError as problem:
        module.fail_json(msg=f"This host cannot be set up: {problem.strerror} ({problem.filename}).")
    except HostError as problem:
        module.fail_json(msg=f"This host cannot be set up: {problem}")
    diff = {"before": "".join(host.before), "after": "".join(host.after)}
    module.exit_json(changed=bool(host.after), missing=missing, diff=diff)


if __name__ == "__main__":
    main()
