"""The lab's tests run in the order of their files, on a lab that they make and remove."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path

import pytest

from helpers.manifests import IMAGE_SOURCES, Rendered, render
from lab import hosts, release, system, traces
from lab.cluster import Kubectl, RemoteError
from lab.hosts import Host
from lab.paths import INVENTORY
from lab.podman import containers, settle
from lab.traces import Traces


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the state of the cluster to the report of a test that failed."""
    report = yield
    kubectl = getattr(item, "funcargs", {}).get("kubectl")
    if report.failed and kubectl:
        try:
            report.sections.append(("the cluster", kubectl.state()))
        except (RemoteError, subprocess.TimeoutExpired) as error:
            report.sections.append(("the cluster", f"says nothing: {error}"))
    return report


@pytest.fixture(scope="session")
def renderings(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Rendered]:
    """Renders for a source of images, once for each."""
    return cache(lambda image_source: render(tmp_path_factory.mktemp(image_source), image_source))


@pytest.fixture(scope="session", params=IMAGE_SOURCES)
def rendered(request: pytest.FixtureRequest, renderings: Callable[[str], Rendered]) -> Rendered:
    """What is rendered, for each source of images."""
    return renderings(request.param)


@pytest.fixture(scope="session")
def before() -> Iterator[Traces]:
    """What was on this machine before the lab. Whatever happens, the lab is removed in the end."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    settle()
    if shutil.which("podman") and containers():
        pytest.exit("a lab is up already, and the tests need one of their own: `bin/lab down` first", returncode=2)
    yield traces.find()
    hosts.down()


@pytest.fixture(scope="session")
def built() -> release.Release:
    return release.build()


@pytest.fixture(scope="session")
def earlier() -> release.Release:
    """The patch release before `built`."""
    return release.build(release.EARLIER)


@pytest.fixture(scope="session")
def bundle(built: release.Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What playbooks/bundle.yml collects on this machine, which has a network."""
    directory = tmp_path_factory.mktemp("bundle") / "bundle"
    # For the only hosts that lack packages, which have another release than this machine.
    releases = hosts.USED[1].suite
    done = system.run("playbooks/bundle.yml", release=built, bundle_dir=str(directory), bundle_releases=releases)
    assert done.ok, done.output[-4000:]
    return directory


@pytest.fixture(scope="session")
def lab(before: Traces) -> dict[str, Host]:
    """The hosts of the default inventory, by name."""
    wanted = hosts.read(INVENTORY)
    hosts.up(wanted)
    return {host.name: host for host in wanted}


@pytest.fixture(scope="session")
def server(lab: dict[str, Host]) -> Host:
    return lab["server1"]


@pytest.fixture(scope="session")
def agents(lab: dict[str, Host]) -> list[Host]:
    return [host for host in lab.values() if "agents" in host.groups]


@pytest.fixture(scope="session")
def kubectl(server: Host) -> Kubectl:
    return Kubectl(server)
