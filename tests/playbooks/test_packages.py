"""Debian packages that a host lacks come from the bundle where there is one, and from nothing else."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from helpers import machine
from helpers.debian_packages import archive, build
from helpers.machine import REPOSITORY
from helpers.playbook import Play, play, write_playbook

# A host of its own, which reaches no network, as far as packages go; what is written there lies beside the test.
HOST = r"""
mount --make-rprivate /
for place in etc usr var; do
  mkdir -p $scratch/$place/new $scratch/$place/work
  mount -t overlay none -o lowerdir=/$place,upperdir=$scratch/$place/new,workdir=$scratch/$place/work /$place
done
mount -t tmpfs none /var/tmp
list() { find /etc/apt /var/lib/apt/lists /var/cache/apt /var/tmp -type f | sort | xargs -d '\n' sha256sum; }
list > $scratch/before
"$@"
code=$?
list > $scratch/after
dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' 'courseload-*' > $scratch/installed
exit $code
"""
INSTALL = """\
- name: Gather the system
  ansible.builtin.setup: {gather_subset: ["!all", "!min", distribution, platform]}
- name: Provide
  ansible.builtin.include_role: &packages {name: host, tasks_from: packages}
- name: Provide again
  ansible.builtin.include_role: *packages
"""
CHECK = """\
- name: Gather the system
  ansible.builtin.setup: {gather_subset: ["!all", "!min", distribution, platform]}
- name: Check
  ansible.builtin.include_role: {name: host, tasks_from: packages_preflight}
  vars: {__host_packages: "{{ host_packages }}"}
"""
WANTED = "courseload-wanted"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A directory with a package, and the one that it needs."""
    if why := machine.obstacle():
        pytest.skip(f"packages cannot be installed here: it {why}")
    directory = tmp_path / "debs"
    directory.mkdir()
    build(directory, WANTED, depends="courseload-needed")
    build(directory, "courseload-needed")
    return directory


def bundle(packages: Path, release: str) -> Path:
    """A bundle with these packages."""
    directory = packages.parent / "bundle"
    directory.mkdir()
    architecture = machine.run("dpkg", "--print-architecture")
    archive(packages, directory / f"packages/{release}-{architecture}.tar")
    (directory / "bundle.yml").touch()
    listed = machine.run("sh", "-c", f"cd {shlex.quote(str(directory))} && sha256sum bundle.yml packages/*")
    (directory / "SHA256SUMS").write_text(listed + "\n")
    return directory


def here() -> str:
    """The release of this machine."""
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    assert release
    return release[1]


def provide(
    packages: Path, *options: str, release: str, wanted: str = WANTED, apart: bool = False, tasks: str = INSTALL
) -> Play:
    within: list[str] = []
    if apart:
        within = ["unshare", "--mount", "--net"]
        if subprocess.run([*within, "true"], check=False, capture_output=True).returncode:
            pytest.skip("this machine has no namespaces for us")
        if subprocess.run(["/usr/bin/python3", "-c", "import apt"], check=False, capture_output=True).returncode:
            pytest.skip("this machine has no python3-apt, and a bundle of a test cannot bring it")
        within += ["bash", "-c", f"scratch={shlex.quote(str(packages.parent))}\n{HOST}", "bash"]
    playbook = write_playbook(packages.parent, tasks)
    inventory = str(REPOSITORY / "inventory/local.yml")
    settings = {"bundle_dir": str(bundle(packages, release)), "host_packages": [wanted]}
    return play(playbook, *options, inventory=inventory, within=within, **settings)


def test_what_is_missing_is_installed_once_and_nothing_else_stays(packages: Path) -> None:
    done = provide(packages, release=here(), apart=True)
    assert done.ok, done.output
    assert done.changes == ["Install the packages that are missing"]
    scratch = packages.parent
    assert (scratch / "installed").read_text() == "installed courseload-needed\ninstalled courseload-wanted\n"
    assert (scratch / "after").read_text() == (scratch / "before").read_text(), "sources and lists are as they were"


def test_a_host_with_newer_packages_than_the_bundle_is_told(packages: Path) -> None:
    build(packages, WANTED, depends="dpkg (= 0.1)")
    done = provide(packages, release=here(), apart=True)
    assert not done.ok
    assert f"{WANTED} could not be installed on localhost from the bundle" in done.reasons[-1]
    assert "make the bundle anew" in done.reasons[-1]
    scratch = packages.parent
    assert (scratch / "installed").read_text() == ""
    assert (scratch / "after").read_text() == (scratch / "before").read_text(), "nothing of the attempt stays"


def test_check_mode_says_what_would_be_installed(packages: Path) -> None:
    done = provide(packages, "--check", release=here())
    assert done.ok, done.output
    assert set(done.changes) == {"Report what check mode does not install"}
    assert f"{WANTED} would be installed from the bundle" in done.output


@pytest.mark.parametrize(("tasks", "options"), [(INSTALL, []), (INSTALL, ["--check"]), (CHECK, [])])
def test_a_host_of_another_release_is_told_what_to_do(packages: Path, tasks: str, options: list[str]) -> None:
    done = provide(packages, *options, release="potato", tasks=tasks)
    assert not done.ok
    assert f"{WANTED} is missing on localhost" in done.reasons[-1]
    assert "the bundle has packages for potato on " in done.reasons[-1]
    assert f"bundle_releases={here()}" in done.reasons[-1]
    assert done.changes == []


@pytest.mark.parametrize("tasks", [INSTALL, CHECK])
def test_a_host_that_has_all_packages_needs_none_of_the_bundle(packages: Path, tasks: str) -> None:
    done = provide(packages, release="potato", wanted="dpkg", tasks=tasks)
    assert done.ok, done.output
    assert done.changes == []
