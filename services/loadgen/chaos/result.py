"""What a run of chaos.yml leaves: chaos.json, from which its page is drawn."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

import msgspec

from loadgen.capacity.result import Machine
from loadgen.collector import SecondRow
from loadgen.figures import replica_ranges
from loadgen.report import Data
from loadgen.settings import Settings
from loadgen.verdict import most_common_errors

SURVIVED, SKIPPED, UNPROVEN, UNDONE, SLOW, UNKNOWN, DOUBLED, LOST = (
    *("survived", "not possible here", "not proven", "not undone", "not recovered", "not known", "doubled", "lost"),
)
VERDICTS = (SURVIVED, SKIPPED, UNPROVEN, UNDONE, SLOW, UNKNOWN, DOUBLED, LOST)
"""What a trial came to, the worst last."""


class Fault(msgspec.Struct):
    """A fault as whoever made it tells it: see the module `inject_faults`. Times are seconds since the epoch."""

    name: str
    before: str
    during: str
    after: str
    began: float
    ended: float
    proven: bool
    undone: bool
    skipped: str
    error: str


class Wanted(msgspec.Struct):
    """What a trial is to be: its name, what it does in words, and how many seconds its faults are there."""

    name: str
    says: str
    seconds: float


class Impossible(msgspec.Struct):
    """A fault that was asked for and cannot be made here: what it would have done, and why it cannot."""

    name: str
    says: str
    why: str


class Second(msgspec.Struct):
    """One second of a trial: how many requests were answered, how many of them failed, and the p99 in ms."""

    second: int
    requests: int
    failures: int
    p99_ms: float


class Trial(msgspec.Struct):
    """A load test with a fault, or with several at once, and what became of its notes.

    `began` and `ended` are when the faults did, in seconds of the load test. Of all `requests`, so many as
    `failures` failed since `began`; `failed_before` had failed before, and `errors` has all of them by kind.
    `first_failure_s` and `last_failure_s` are seconds since `began`, None where none failed; `recovered_s` are
    those from `ended` to the last failure. `silent_s` is the longest time without a note acknowledged, `p99_ms` the
    p99 of the slowest second since `began`, `usual_p99_ms` that before it. `lost` and `doubled` are None where
    nobody could look. `settled` says whether the system served again, without a failure, before the time for that
    was over. The `verdict` is the worst that can be said of it, and `why` it is a failure, in a sentence; empty
    where it is none. `replicas` are the fewest and the most of each workload, where it was not one of each all the
    time.
    """

    name: str
    says: str
    faults: list[Fault]
    started_at: str
    began: float
    ended: float
    requests: int
    failures: int
    failed_before: int
    errors: dict[str, int]
    first_failure_s: int | None
    last_failure_s: int | None
    recovered_s: int
    silent_s: int
    p99_ms: float
    usual_p99_ms: float
    lost: int | None
    doubled: int | None
    settled: bool
    limit_s: float
    reasons: list[str]
    seconds: list[Second]
    verdict: str = SURVIVED
    why: str = ""
    replicas: dict[str, tuple[int, int]] = {}


class Chaos(msgspec.Struct):
    """All trials, and under what conditions: the `answer` in sentences, and `refusals` to call it a success.

    For the faults that are `impossible` here, there is no trial.
    """

    trials: list[Trial]
    impossible: list[Impossible]
    settings: Settings
    machine: Machine
    started_at: str
    seconds: float
    answer: list[str] = []
    refusals: list[str] = []

    @property
    def worst_first(self) -> list[Trial]:
        """The trials by what they came to, then by how long that took, then by how many requests failed."""
        return sorted(
            self.trials, key=lambda each: (-VERDICTS.index(each.verdict), -each.recovered_s, -each.failures, each.name)
        )

    @property
    def failed(self) -> list[Trial]:
        return [trial for trial in self.worst_first if trial.why]


def trial_of(wanted: Wanted, faults: list[Fault], data: Data, limit_s: float) -> Trial:
    """What a load test says of the faults that were made in it."""
    load, found = data.load, data.summary.reconciliation
    start = int(load.started_at)
    made = [fault for fault in faults if not fault.skipped]
    began = min((fault.began for fault in made), default=load.started_at) - start
    ended = max((fault.ended for fault in made), default=load.started_at) - start
    since = [row for row in load.series if row.second >= int(began)]
    failed = [row.second for row in since if row.failures]
    last = failed[-1] + 1 if failed else None
    trial = Trial(
        name=wanted.name,
        says=wanted.says,
        faults=faults,
        started_at=data.summary.started_at,
        began=round(began, 1),
        ended=round(ended, 1),
        requests=load.requests,
        failures=sum(row.failures for row in since),
        failed_before=load.failures - sum(row.failures for row in since),
        errors=dict(most_common_errors(load)),
        first_failure_s=max(0, failed[0] - int(began)) if failed else None,
        last_failure_s=last - int(began) if last is not None else None,
        recovered_s=max(0, last - int(ended)) if last is not None else 0,
        silent_s=_silent_s(since),
        p99_ms=max((row.latency_ms.p99 for row in since), default=0.0),
        usual_p99_ms=max((row.latency_ms.p99 for row in load.series if 0 < row.second < int(began)), default=0.0),
        lost=found.lost + found.mongodb.vanished if found else None,
        doubled=found.mongodb.duplicated + found.redis.duplicated if found else None,
        settled=not load.ended_early and load.ended_at - load.started_at < data.settings.duration_s,
        limit_s=limit_s,
        reasons=data.summary.reasons,
        seconds=[Second(row.second, row.requests, row.failures, row.latency_ms.p99) for row in load.series],
        replicas=replica_ranges(data.workloads),
    )
    trial.verdict = _verdict(trial)
    trial.why = _why(trial)
    return trial


def chaos_of(
    trials: Sequence[Trial], impossible: Sequence[Impossible], settings: Settings, machine: Machine, now: float
) -> Chaos:
    """All that is there so far; `now` is in seconds since the epoch."""
    started_at = min(trial.started_at for trial in trials)
    seconds = round(now - datetime.fromisoformat(started_at).timestamp(), 1)
    chaos = Chaos(list(trials), list(impossible), settings, machine, started_at, seconds)
    chaos.answer = [
        *(_told(trial) for trial in chaos.worst_first),
        *(f"{fault.name}: {SKIPPED} ({fault.why})" for fault in chaos.impossible),
    ]
    chaos.refusals = [f"{trial.name}: {trial.why}" for trial in chaos.failed]
    return chaos


def _told(trial: Trial) -> str:
    if trial.verdict == SKIPPED:
        return f"{trial.name}: {SKIPPED} ({trial.faults[0].skipped})"
    failed = f"{trial.failures:,} of {trial.requests:,} requests failed" if trial.failures else "no request failed"
    served = f", served again {trial.recovered_s} s after it" if trial.failures and trial.settled else ""
    return f"{trial.name}: {trial.verdict}, {failed}{served}"


def _verdict(trial: Trial) -> str:
    found = {
        LOST: bool(trial.lost),
        DOUBLED: bool(trial.doubled),
        UNKNOWN: trial.lost is None or not trial.faults,
        SLOW: not trial.settled or trial.recovered_s > trial.limit_s,
        UNDONE: not all(fault.undone for fault in trial.faults),
        UNPROVEN: any(not fault.proven and not fault.skipped for fault in trial.faults),
        SKIPPED: not any(fault.proven for fault in trial.faults),
    }
    return next((word for word, so in found.items() if so), SURVIVED)


def _why(trial: Trial) -> str:
    late = (
        f"the last failure came {trial.recovered_s} s after its end" if trial.settled else "requests failed to the last"
    )
    unproven = [fault for fault in trial.faults if not fault.proven and not fault.skipped]
    sentences = {
        LOST: f"{trial.lost or 0:,} acknowledged notes were lost.",
        DOUBLED: f"{trial.doubled or 0:,} notes were stored or counted twice.",
        UNKNOWN: f"What became of its notes is not known: {' '.join(trial.reasons) or 'no fault was made.'}",
        SLOW: f"It did not serve again within {trial.limit_s:g} s: {late}.",
        UNDONE: f"It was not undone: {'; '.join(f'{fault.name}: {fault.after}' for fault in trial.faults)}.",
        UNPROVEN: f"Nobody saw it: {'; '.join(f'{fault.name}: {fault.error or fault.during}' for fault in unproven)}.",
    }
    return sentences.get(trial.verdict, "")


def _silent_s(rows: Sequence[SecondRow]) -> int:
    """The longest time without a note acknowledged; the last second is not a whole one."""
    silent = groupby(rows[:-1], key=lambda row: row.requests == row.failures)
    return max((len(list(group)) for nothing, group in silent if nothing), default=0)
