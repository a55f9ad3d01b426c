"""What an A/B comparison leaves: ab.json, from which its page is drawn."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from loadgen.ab.figures import Figure, figures_of
from loadgen.ab.samples import A, B, Sample
from loadgen.capacity.result import Machine, lost_notes
from loadgen.settings import Settings

LEAST_ROUNDS = 2  # of one there is no spread
TOLD = 4
"""How many figures are told as sentences: the first ones, which are of the whole system."""


class Comparison(msgspec.Struct):
    """Two sides by turns: what was set on each, what was measured, and what that says in sentences.

    `refusal` is why nothing can be said, empty where something can.
    """

    sides: dict[str, dict[str, object]]
    answer: list[str]
    refusal: str
    figures: list[Figure]
    samples: list[Sample]
    settings: Settings
    machine: Machine
    started_at: str
    seconds: float

    @property
    def lost(self) -> int:
        """Acknowledged notes that a database does not have as they were sent."""
        return lost_notes([sample.result for sample in self.samples])


def compared(
    sides: Mapping[str, dict[str, object]],
    samples: Sequence[Sample],
    settings: Settings,
    machine: Machine,
    now: float,
) -> Comparison:
    """What the samples say until now, in seconds since the epoch; a round that lacks one of its two is left out."""
    started_at = min(sample.result.started_at for sample in samples)
    whole = paired(samples)
    refusal = _why_not(samples, len(whole) // 2)
    figures = [] if refusal else figures_of(whole)
    return Comparison(
        sides=dict(sides),
        answer=[refusal] if refusal else [figure.sentence for figure in figures[:TOLD]],
        refusal=refusal,
        figures=figures,
        samples=list(samples),
        settings=settings,
        machine=machine,
        started_at=started_at,
        seconds=round(now - datetime.fromisoformat(started_at).timestamp(), 1),
    )


def paired(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of the rounds that have both sides."""
    of_side = {side: {sample.round for sample in samples if sample.side == side} for side in (A, B)}
    return [sample for sample in samples if sample.round in of_side[A] & of_side[B]]


def _why_not(samples: Sequence[Sample], rounds: int) -> str:
    limited = next((sample for sample in samples if sample.result.generator_limited), None)
    if limited:
        return (
            f"The load generator was the limit in round {limited.round}, on side {limited.side}: "
            f"{limited.result.generator_limit}. Give it more hosts or cores (group load), or ask for less (ab_users, "
            "ab_rate)."
        )
    if rounds < LEAST_ROUNDS:
        return f"{rounds} of at least {LEAST_ROUNDS} rounds are there: nothing can be said yet."
    return ""
