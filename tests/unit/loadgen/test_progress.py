"""The line of progress: short, and with the replicas where they are known."""

import pytest

from loadgen.collector import Collector
from loadgen.progress import line, shares


@pytest.fixture
def tell(settings, directory):
    """A function that tells of a run in which nothing was answered yet."""
    return lambda replicas: line(Collector(settings, directory, 1000.0), settings, 10, 42, replicas)


def test_there_is_no_word_of_replicas_that_are_not_known(tell):
    assert tell({}) == "10/10 users | 0 requests/s | p99 - | 0 failed | relay - / direct - | 0:42 left"


def test_one_of_each_is_not_worth_a_word(tell):
    assert "replicas" not in tell({"direct": 1, "ledger": 1, "relay": 1})
    assert "| replicas relay 1 direct 1 |" in tell({"direct": 1, "ingress": 2, "relay": 1})


def test_replicas_of_the_routes_are_told_where_anything_has_several(tell):
    text = tell({"direct": 3, "ledger": 1, "relay": 2})
    assert text.endswith(" | replicas relay 2 direct 3 | 0:42 left")


def test_a_line_fits_where_it_is_shown(tell):
    assert len(tell({"direct": 3, "relay": 2})) < 140


def test_what_is_little_is_not_called_nothing():
    assert shares({"relay": 999, "direct": 1}, ["relay", "direct"]) == "relay > 99 % / direct < 1 %"
    assert shares({"relay": 1}, ["relay", "direct"]) == "relay 100 % / direct 0 %"
