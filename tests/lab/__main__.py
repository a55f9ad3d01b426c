"""bin/lab: brings the lab up and down, and opens its hosts."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from lab import hosts, release
from lab.hosts import Host
from lab.paths import INVENTORY
from lab.podman import PodmanError


def main() -> int:
    arguments = parse_arguments()
    try:
        return int(COMMANDS[arguments.command](arguments) or 0)
    except (PodmanError, RuntimeError, TimeoutError, ValueError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bin/lab", description="Hosts with systemd and SSH, as containers on this machine."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="make and start the hosts, and build what they need; twice is harmless")
    ssh = commands.add_parser("ssh", help="open a shell on a host, or run a command there")
    ssh.add_argument("host")
    ssh.add_argument("remote", nargs=argparse.REMAINDER, metavar="command")
    status = commands.add_parser("status", help="list the hosts and how they are")
    commands.add_parser("down", help="remove the hosts and everything that belongs to them")
    for command in (up, status):
        command.add_argument(
            "inventory", nargs="?", type=Path, default=INVENTORY, help="default: tests/lab/inventory.yml"
        )
    up.add_argument(
        "--suite",
        choices=hosts.SUITES,
        help=f"what new hosts have; default: lab_suite of each in the inventory, or {hosts.DEBIAN[0]}",
    )
    return parser.parse_args()


def up(arguments: argparse.Namespace) -> None:
    wanted = hosts.read(arguments.inventory, arguments.suite)
    release.current()
    hosts.up(wanted)
    report(wanted)
    print(f"Next: bin/ansible-playbook -i {arguments.inventory} site.yml")


def down(_: argparse.Namespace) -> None:
    hosts.down()


def ssh(arguments: argparse.Namespace) -> None:
    host = hosts.find(arguments.host)
    command = hosts.ssh_command(host, *arguments.remote)
    os.execvp(command[0], command)  # noqa: S606 (ssh takes this program's place and terminal)


def status(arguments: argparse.Namespace) -> None:
    report(hosts.read(arguments.inventory))


def report(listed: list[Host]) -> None:
    for host in listed:
        print(f"{host.name:<12}{host.address:<16}{','.join(host.groups):<16}{hosts.system_state(host) or 'off'}")


COMMANDS = {"up": up, "down": down, "ssh": ssh, "status": status}

if __name__ == "__main__":
    sys.exit(main())
