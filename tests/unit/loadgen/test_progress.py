"""The line of progress: short, and with the replicas where they are known."""

import pytest

from loadgen.collector import Collector
from loadgen.progress import line


@pytest.fixture
def tell(settings, directory):
    """A function that tells of a run in which nothing was answered yet."""
    return lambda replicas: line(Collector(settings, directory, 1000.0), settings, 10, 42, replicas)


def test_without_a_cluster_there_is_no_word_of_replicas(tell):
    assert tell({}) == "10/10 users | 0 requests/s | p99 - | 0 failed | relay - / direct - | 0:42 left"


def test_replicas_of_the_routes_are_told_where_they_are_known(tell):
    text = tell({"direct": 3, "ledger": 1, "relay": 2})
    assert text.endswith(" | replicas relay 2 direct 3 | 0:42 left")


def test_a_line_fits_where_it_is_shown(tell):
    assert len(tell({"direct": 3, "relay": 2})) < 140
