"""Rendering takes seconds, so every test reads the same manifests, whichever process it runs in."""

import fcntl
from collections.abc import Callable
from functools import cache

import msgspec
import pytest

from helpers.manifests import IMAGE_SOURCES, Rendered, render


@pytest.fixture(scope="session")
def renderings(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str], Rendered]:
    """Renders for a source of images, once for each: who asks second waits, and reads what is rendered by then."""
    own = tmp_path_factory.getbasetemp()
    common = own if worker_id == "master" else own.parent

    @cache
    def rendering(image_source: str) -> Rendered:
        file = common / f"rendered-{image_source}.json"
        with file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not file.exists():
                done = render(tmp_path_factory.mktemp("manifests"), image_source)
                file.write_bytes(msgspec.json.encode(done))
            return msgspec.json.decode(file.read_bytes(), type=Rendered)

    return rendering


@pytest.fixture(scope="session", params=IMAGE_SOURCES)
def rendered(request: pytest.FixtureRequest, renderings: Callable[[str], Rendered]) -> Rendered:
    """What is rendered, for each source of images."""
    return renderings(request.param)
