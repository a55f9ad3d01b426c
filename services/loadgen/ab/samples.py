"""A sample of an A/B comparison: one load test of one side."""

import msgspec

from loadgen.capacity.result import StepResult
from loadgen.capacity.run import WARM_UP_S
from loadgen.capacity.search import Step
from loadgen.settings import CLOSED, OPEN, Settings

A, B = SIDES = ("a", "b")


class Sample(msgspec.Struct):
    """A side's load test of a round, the first of which is 1."""

    round: int
    side: str
    result: StepResult


def sample_settings(settings: Settings, step: Step, name: str) -> Settings:
    """The load test of a sample: at a rate with open arrivals, or, at rate 0, as fast as users get their answers."""
    at_full_speed = not step.rate
    users = settings.users if at_full_speed else settings.workers
    return msgspec.structs.replace(
        settings,
        run=f"{settings.run}-{name}",
        users=users,
        spawn_rate=float(users),
        rate=0.0 if at_full_speed else step.rate / users,
        duration_s=float(WARM_UP_S + step.seconds),
        arrivals=CLOSED if at_full_speed else OPEN,
        warm_up_s=WARM_UP_S,
        abort=False,
    )
