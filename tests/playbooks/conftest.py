"""Rendering takes seconds, so every test reads the same manifests."""

from collections.abc import Callable
from functools import cache

import pytest

from helpers.manifests import IMAGE_SOURCES, Rendered, render


@pytest.fixture(scope="session")
def renderings(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Rendered]:
    """Renders for a source of images, once for each."""
    return cache(lambda image_source: render(tmp_path_factory.mktemp("manifests"), image_source))


@pytest.fixture(scope="session", params=IMAGE_SOURCES)
def rendered(request: pytest.FixtureRequest, renderings: Callable[[str], Rendered]) -> Rendered:
    """What is rendered, for each source of images."""
    return renderings(request.param)
