"""The module host_state: what is not as it should be is told and changed, and nothing else."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from courseload import sysctl
from courseload.podman_settings import UNLIMITED, Limits, containers_conf
from helpers.playbook import Play, play
from helpers.plugins import load

host_state = load("modules", "host_state")

PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Configure
      host_state:
        packages: "{{ packages | default([]) }}"
        directories: ["{{ base }}/etc", "{{ base }}/state/build"]
        containers_conf: "{{ base }}/podman/containers.conf"
        registries_conf: "{{ base }}/podman/registries.conf"
        registries: "{{ registries | default('') }}"
      register: configured

    - name: Name what is missing
      ansible.builtin.debug: {msg: "missing {{ configured.missing }}"}
"""


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    path = tmp_path / "playbook.yml"
    path.write_text(PLAYBOOK)
    return path


def modes(base: Path) -> dict[str, str]:
    return {str(path.relative_to(base)): f"{path.stat().st_mode & 0o7777:04o}" for path in base.rglob("*")}


def configure(playbook: Path, *options: str, **variables: Any) -> Play:
    done = play(playbook, *options, base=str(playbook.parent / "base"), **variables)
    assert done.ok, done.output
    return done


class TestVisit:
    def test_check_mode_tells_what_would_be_changed_and_changes_nothing(self, playbook: Path) -> None:
        done = configure(playbook, "--check", "--diff")
        assert done.changes == ["Configure"]
        assert f"{playbook.parent}/base/state/build: absent" in done.output
        assert not (playbook.parent / "base").exists()

    def test_what_is_missing_is_made_and_the_second_visit_changes_nothing(self, playbook: Path) -> None:
        mirror = "# The mirror that Podman asks before the registries themselves.\n"
        assert configure(playbook, registries=mirror).changes == ["Configure"]
        base = playbook.parent / "base"
        assert modes(base) == {
            "etc": "0700",
            "state": "0755",
            "state/build": "0700",
            "podman": "0755",
            "podman/containers.conf": "0644",
            "podman/registries.conf": "0644",
        }
        assert (base / "podman/registries.conf").read_text() == mirror
        assert configure(playbook, registries=mirror).changes == []
        (base / "podman/containers.conf").write_text("of somebody else")
        (base / "etc").chmod(0o755)
        done = configure(playbook, "--diff", registries=mirror)
        assert "other content" in done.output
        assert modes(base)["etc"] == "0700"
        assert "of somebody else" not in done.output, "content may be a secret"

    def test_a_directory_may_be_a_link_to_where_there_is_space(self, playbook: Path) -> None:
        (playbook.parent / "disk").mkdir(mode=0o700)
        (playbook.parent / "base").mkdir()
        (playbook.parent / "base/etc").symlink_to(playbook.parent / "disk")
        assert configure(playbook).changes == ["Configure"]
        assert configure(playbook).changes == []
        assert (playbook.parent / "base/etc").is_symlink()

    def test_the_mirror_goes_with_its_setting_and_a_file_of_somebody_else_stays(self, playbook: Path) -> None:
        configure(playbook, registries="# The mirror that Podman asks\n")
        file = playbook.parent / "base/podman/registries.conf"
        assert configure(playbook).changes == ["Configure"]
        assert not file.exists()
        file.write_text("unqualified-search-registries = []\n")
        assert configure(playbook).changes == []
        assert file.exists()

    def test_where_packages_are_missing_they_are_named_and_nothing_is_changed(self, playbook: Path) -> None:
        if not Path("/usr/bin/dpkg-query").exists():
            pytest.skip("this machine has no packages of Debian")
        done = configure(playbook, packages=["dpkg", "there-is-no-such-package"])
        assert "missing ['there-is-no-such-package']" in done.output
        assert done.changes == []
        assert not (playbook.parent / "base").exists()


class TestKernel:
    @pytest.fixture
    def proc(self, tmp_path: Path) -> Path:
        for name, value in {
            "kernel/panic": "0",
            "vm/panic_on_oom": "0",
            "fs/inotify/max_user_instances": "2048",
        }.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"{value}\n")
        return tmp_path

    def test_what_is_wrong_now_or_at_the_next_start_is_set_and_other_lines_stay(self, proc: Path) -> None:
        text = "vm.swappiness = 1\nkernel.panic=10\n"
        exact, least = {"kernel.panic": 10, "vm.panic_on_oom": 0}, {"fs.inotify.max_user_instances": 1024}
        found = sysctl.pending(exact, least, text, proc)
        assert [(each.name, each.now, each.value) for each in found] == [
            ("kernel.panic", "0", "10"),
            ("vm.panic_on_oom", "0", "0"),
            ("fs.inotify.max_user_instances", "2048", "2048"),
        ]
        for each in found:
            each.apply()
        text = sysctl.written(text, found)
        assert text.splitlines()[0] == "vm.swappiness = 1"
        assert (proc / "kernel/panic").read_text() == "10\n"
        assert sysctl.pending(exact, least, text, proc) == []

    def test_what_is_lower_than_the_least_is_raised(self, proc: Path) -> None:
        (found,) = sysctl.pending({}, {"fs.inotify.max_user_instances": "4096"}, "", proc)
        assert found.value == "4096"

    def test_what_was_there_first_is_remembered_once(self, proc: Path) -> None:
        first = sysctl.remembered("", sysctl.pending({"kernel.panic": 10, "vm.panic_on_oom": 0}, {}, "", proc))
        assert first == "kernel.panic=0\n", "what is not changed need not be put back"
        (proc / "kernel/panic").write_text("5\n")
        assert sysctl.remembered(first, sysctl.pending({"kernel.panic": 10}, {}, "", proc)) == first

    def test_a_setting_that_the_kernel_does_not_have_is_an_error(self, proc: Path) -> None:
        with pytest.raises(FileNotFoundError):
            sysctl.pending({"kernel.nothing": 1}, {}, "", proc)


def test_podman_gets_what_differs_from_its_defaults() -> None:
    plain = containers_conf(Limits(UNLIMITED, UNLIMITED), cgroup2=True, systemd=True)
    assert plain.splitlines()[1:] == ["[containers]", "[engine]"]
    low = containers_conf(Limits(20000, 50000), cgroup2=False, systemd=False)
    assert 'default_ulimits = ["nofile=20000:20000", "nproc=10000:10000"]\n' in low
    assert 'runtime = "runc"\n' in low
    assert 'cgroup_manager = "cgroupfs"\nevents_logger = "file"\n' in low
    assert '["nofile=20000:20000"]' in containers_conf(Limits(20000, UNLIMITED), cgroup2=True, systemd=True)
    assert "ulimits" not in containers_conf(Limits(1048576, 10), cgroup2=True, systemd=True)


class Machine:
    """Stands in for AnsibleModule: answers commands by how they begin, and keeps them."""

    def __init__(self, answers: dict[str, str | None], *, check: bool = False) -> None:
        self.answers, self.check_mode = answers, check
        self.commands: list[str] = []

    def get_bin_path(self, name: str) -> str | None:
        return name

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        line = " ".join(command)
        self.commands.append(line)
        answer = next((text for begin, text in self.answers.items() if line.startswith(begin)), "")
        return (1, "", "no") if answer is None else (0, answer, "")

    def told(self) -> list[str]:
        """The commands that change something."""
        queries = ("systemctl --quiet", "unshare", "/usr/sbin/nft --stateless", "/usr/sbin/nft --check")
        return [line for line in self.commands if not line.startswith(queries)]


def test_the_limits_are_those_that_systemd_gives_to_the_pods() -> None:
    limits = """\
Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max processes             96365                unlimited            processes
Max open files            1024                 524288               files
"""
    machine = Machine({"systemd-run": limits})
    assert astuple(host_state.limits_of_pods(host_state.Host(machine), systemd=True)) == (524288, UNLIMITED)
    machine = Machine({"cat": limits.replace("524288", "1048576")})
    assert astuple(host_state.limits_of_pods(host_state.Host(machine), systemd=False)) == (1048576, UNLIMITED)


def test_files_for_systemd_are_written_and_it_reads_them_once(tmp_path: Path) -> None:
    units = {str(tmp_path / "libpod-.scope.d/courseload.conf"): "[Unit]\n"}
    checked, first, second = Machine({}, check=True), Machine({}), Machine({})
    for machine in (checked, first, second):
        host_state.configure_systemd(host_state.Host(machine), units)
        assert (machine is checked) != (tmp_path / "libpod-.scope.d/courseload.conf").exists()
    assert [machine.commands for machine in (checked, first, second)] == [[], ["systemctl daemon-reload"], []]


class TestFirewall:
    @pytest.fixture
    def wanted(self, tmp_path: Path) -> dict[str, Any]:
        return {
            "rules": str(tmp_path / "firewall.nft"),
            "unit": str(tmp_path / "courseload-firewall.service"),
            "service": "[Unit]\n",
            "ports": None,
        }

    def guard(self, machine: Machine, wanted: dict[str, Any], *, systemd: bool = True) -> list[str]:
        host = host_state.Host(machine)
        host_state.guard(host, wanted, [("podman1", "10.89.0.0/24")], systemd)
        return list(host.before)

    def test_what_stands_is_left_alone(self, wanted: dict[str, Any]) -> None:
        self.guard(Machine({}), wanted)
        machine = Machine({})
        assert self.guard(machine, wanted) == []
        assert machine.told() == []

    def test_new_rules_for_one_that_stands_come_without_a_moment_of_being_open(self, wanted: dict[str, Any]) -> None:
        self.guard(Machine({}), wanted)
        machine = Machine({})
        assert len(self.guard(machine, wanted | {"ports": []})) == 2
        assert machine.told()[-1] == "systemctl reload courseload-firewall"

    @pytest.mark.parametrize(
        "answers",
        [
            {"systemctl --quiet is-enabled": None},
            {"systemctl --quiet is-active": None},
            {"/usr/sbin/nft --stateless": None},
            {"/usr/sbin/nft --stateless": "flushed"},
            {"unshare": None},
        ],
        ids=str,
    )
    def test_one_that_does_not_stand_is_started_again(
        self, wanted: dict[str, Any], answers: dict[str, str | None]
    ) -> None:
        self.guard(Machine({}), wanted)
        machine = Machine(answers)
        assert self.guard(machine, wanted) == ["table inet courseload: not in place\n"]
        assert machine.told() == [
            "systemctl daemon-reload",
            "systemctl enable courseload-firewall",
            "systemctl restart courseload-firewall",
        ]

    def test_without_systemd_there_is_no_unit(self, wanted: dict[str, Any]) -> None:
        machine = Machine({})
        self.guard(machine, wanted, systemd=False)
        assert machine.told() == [f"/usr/sbin/nft --file {wanted['rules']}"]
        assert not Path(wanted["unit"]).exists()

    def test_check_mode_writes_and_loads_nothing(self, wanted: dict[str, Any]) -> None:
        machine = Machine({"/usr/sbin/nft": None}, check=True)
        assert len(self.guard(machine, wanted)) == 3
        assert machine.told() == []
        assert not Path(wanted["rules"]).exists()

    def test_rules_that_nft_refuses_replace_no_others(self, wanted: dict[str, Any]) -> None:
        Path(wanted["rules"]).write_text("good")
        with pytest.raises(host_state.HostError, match="--check"):
            self.guard(Machine({"/usr/sbin/nft --check": None}), wanted)
        assert Path(wanted["rules"]).read_text() == "good"
        assert [path.name for path in Path(wanted["rules"]).parent.iterdir()] == ["firewall.nft"]


def test_a_network_that_is_missing_is_made_with_our_label_and_learned_of() -> None:
    class Podman(Machine):
        def run_command(self, command: list[str]) -> tuple[int, str, str]:
            made = any(line.startswith("podman network create") for line in self.commands)
            code, out, err = super().run_command(command)
            if command[2] == "inspect":
                described = [{"network_interface": "podman7", "subnets": [{"subnet": "10.89.0.0/24"}]}]
                return (0, json.dumps(described), "") if made else (125, "", "no such network")
            return code, out, err

    machine = Podman({})
    assert host_state.networks(host_state.Host(machine), "courseload") == [("podman7", "10.89.0.0/24")]
    assert "podman network create --label=part-of=courseload courseload" in machine.commands
    checked = Podman({}, check=True)
    assert host_state.networks(host_state.Host(checked), "courseload") == []
    assert not any("create" in line for line in checked.commands)
