"""The system's tests run against courseload on this machine, in the order of their files."""

import pytest

from helpers import courseload, machine


@pytest.fixture(scope="session", autouse=True)
def system() -> None:
    if why := machine.obstacle():
        pytest.skip(f"courseload {why}")
    if not courseload.pods():
        pytest.skip("courseload is not installed on this machine: `bin/test system` sets it up first")
    courseload.wait_until_it_serves(60)
