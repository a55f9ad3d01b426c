"""A sample of an A/B comparison: one load test of one side."""

import msgspec

from loadgen.capacity.result import StepResult
from loadgen.capacity.run import step_settings
from loadgen.capacity.search import Step
from loadgen.settings import CLOSED, Settings

A, B = SIDES = ("a", "b")


class Sample(msgspec.Struct):
    """A side's load test of a round, the first of which is 1."""

    round: int
    side: str
    result: StepResult


def sample_settings(settings: Settings, step: Step, name: str) -> Settings:
    """The load test of a sample: at a rate with open arrivals, or, at rate 0, as fast as users get their answers."""
    at_a_rate = step_settings(settings, name, step)
    if step.rate:
        return at_a_rate
    users = settings.users
    return msgspec.structs.replace(at_a_rate, users=users, spawn_rate=float(users), arrivals=CLOSED)
