"""What counts as an unlikely split: nothing that chance makes, and all that it does not."""

import math
import random

import pytest

from loadgen.split import FALSE_ALARM, is_unlikely


@pytest.mark.parametrize(
    ("taken", "of", "weight"),
    [(0, 0, 0.5), (0, 1, 0.5), (1, 1, 0.5), (0, 80, 0.01), (80, 80, 0.99), (0, 20, 0.5), (0, 1443, 0.01), (1, 1, 1)],
)
def test_what_few_requests_do_by_chance_is_not_unlikely(taken, of, weight):
    assert not is_unlikely(taken, of, weight)


@pytest.mark.parametrize(
    ("taken", "of", "weight"),
    [(0, 21, 0.5), (21, 21, 0.5), (0, 1444, 0.01), (0, 1200, 0.5), (1, 5_000_000, 0.01), (1, 1, 0), (0, 1, 1)],
)
def test_what_chance_does_not_explain_is_unlikely(taken, of, weight):
    assert is_unlikely(taken, of, weight)


@pytest.mark.parametrize(("of", "weight"), [(1, 0.5), (21, 0.5), (30, 0.3), (80, 0.01), (1444, 0.01), (900, 0.9)])
def test_the_bound_holds_what_it_promises(of, weight):
    """The exact probability of all that is called unlikely, added up over the binomial distribution."""
    unlikely = [taken for taken in range(of + 1) if is_unlikely(taken, of, weight)]
    assert math.fsum(probability(taken, of, weight) for taken in unlikely) < FALSE_ALARM


def probability(taken, of, weight):
    ways = math.lgamma(of + 1) - math.lgamma(taken + 1) - math.lgamma(of - taken + 1)
    return math.exp(ways + taken * math.log(weight) + (of - taken) * math.log(1 - weight))


@pytest.mark.parametrize("weight", [0.01, 0.3, 0.5])
def test_a_split_that_is_drawn_request_by_request_raises_no_alarm(weight):
    """5,000 runs of 1 to 400 requests each, as Linkerd shares them."""
    draw = random.Random(1)  # noqa: S311 - a simulation
    for _ in range(5000):
        of = draw.randint(1, 400)
        assert not is_unlikely(sum(draw.random() < weight for _ in range(of)), of, weight)


def test_a_route_that_was_away_for_a_fifth_of_a_run_is_noticed():
    assert is_unlikely(400, 1000, 0.5)
