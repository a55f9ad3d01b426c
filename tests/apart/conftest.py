"""What these tests have of courseload on this machine is its images: whether it serves does not concern them."""

import pytest

from helpers import courseload, machine


@pytest.fixture(scope="session", autouse=True)
def images() -> None:
    if why := machine.obstacle():
        pytest.skip(f"courseload {why}")
    if not courseload.pods():
        pytest.skip("courseload is not installed on this machine: `bin/test apart` sets it up first")
