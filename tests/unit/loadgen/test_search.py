"""The search for the capacity: it finds a knee that is known, whatever it is, and proves what it found."""

from collections.abc import Callable

import pytest

from loadgen.capacity.search import (
    BISECTION,
    CONFIRMATION,
    CONFIRMATIONS,
    DOUBLING,
    HOLD,
    OVERLOAD,
    Limits,
    Search,
    Step,
)

LIMITS = Limits(start_rate=200, step_s=10, hold_s=60, precision=0.05)


def search(meets: Callable[[Step], bool]) -> tuple[Search, list[Step]]:
    """The search on a system that meets the objectives at such steps, and the steps that it took."""
    found, steps = Search(LIMITS), list[Step]()
    while step := found.next_step():
        assert len(steps) < 100, "the search does not end"
        steps.append(step)
        found.take(step, met=meets(step))
    return found, steps


@pytest.mark.parametrize("knee", [1.5, 7, 60, 199, 200, 201, 399, 1234, 3210, 50_000])
def test_the_knee_is_found_within_the_precision(knee):
    found, _ = search(lambda step: step.rate <= knee)
    assert found.proven
    assert found.met is not None
    assert found.missed is not None
    assert found.met <= knee < found.missed
    assert found.missed <= found.met * (1 + LIMITS.precision) * 1.01


def test_it_doubles_then_bisects_then_holds_and_confirms():
    _, steps = search(lambda step: step.rate <= 1234)
    kinds = [step.kind for step in steps]
    assert kinds == sorted(kinds, key=[DOUBLING, BISECTION, HOLD, CONFIRMATION, OVERLOAD].index)
    assert kinds.count(OVERLOAD) == 1
    assert [step.rate for step in steps if step.kind == DOUBLING] == [200, 400, 800, 1600]
    assert kinds.count(CONFIRMATION) == CONFIRMATIONS
    assert [step.seconds for step in steps if step.kind == HOLD] == [60]


def test_a_rate_that_was_met_by_luck_is_not_the_answer():
    """What can be taken for ten seconds, and not for a minute, as with a queue that grows."""
    found, steps = search(lambda step: step.rate <= (1000 if step.seconds > 10 else 1300))
    assert found.proven
    assert found.met is not None
    assert found.met <= 1000
    assert len([step for step in steps if step.kind == HOLD]) > 1


def test_a_rate_that_was_missed_by_bad_luck_is_looked_at_again():
    """Another program worked for ten seconds, just when 800 a second were tried."""
    seen = list[float]()

    def meets(step: Step) -> bool:
        seen.append(step.rate)
        return step.rate <= 1234 and not (step.rate == 800 and seen.count(800) == 1)

    found, steps = search(meets)
    assert found.proven is not None
    assert 1234 / 1.06 <= found.proven <= 1234
    assert [step.rate for step in steps if step.kind == OVERLOAD] != [found.missed], "800 was tried again before"


def test_a_system_that_takes_nothing_has_no_answer():
    found, steps = search(lambda _: False)
    assert not found.proven
    assert found.met is None
    assert steps[-1].rate == 1


def test_where_time_is_short_the_highest_rate_so_far_is_proven():
    found = Search(LIMITS)
    for rate in (200, 400, 800):
        step = Step(DOUBLING, rate, 10)
        assert found.next_step() == step
        found.take(step, met=True)
    found.hurry()
    assert found.next_step() == Step(HOLD, 800, 60)
