"""The verdict of a run: pass, or fail with the reasons as sentences that say what to do."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import msgspec

from loadgen.attempted import Reported
from loadgen.collector import CPU_WINDOW_S, Load, WorkerRow
from loadgen.objectives import Outcome, outcomes, tolerated_failures
from loadgen.reconcile import Reconciled, ReconciledDocuments, Reconciliation
from loadgen.regression import Compared
from loadgen.settings import NO_ROUTE, Objective, Settings
from loadgen.split import is_unlikely
from loadgen.targets import parse_targets
from loadgen.words import differing

SATURATED_CPU = 0.90
NEAR_CPU = 0.85
HELD_BACK = 0.25  # of the time: what a CPU limit does now and then is a burst's
SILENT_S = 5.0
CLOCK_AHEAD_S = 1.0
OWN_DELAY_SHARE = 0.5


class Judgement(msgspec.Struct):
    """One thing that a run is judged by: `of` what, its `name` as it should be, and the reason if it was not so."""

    of: str
    name: str
    reason: str = ""


class Verdict(msgspec.Struct):
    """All that the run was judged by, in the order of its reading; `warnings` are no reason to fail.

    `compared` is what was compared with a baseline.
    """

    judgements: list[Judgement]
    warnings: list[str] = []
    compared: list[Compared] = []

    @property
    def reasons(self) -> list[str]:
        """Why the run failed; empty exactly when it passed."""
        return [judgement.reason for judgement in self.judgements if judgement.reason]

    @property
    def verdict(self) -> str:
        """`pass` or `fail`."""
        return "fail" if self.reasons else "pass"


Judged = Iterator[tuple[str, str]]
"""What was judged, as it should be, and why it was not so: empty where it was."""


def judge(
    settings: Settings, load: Load, reconciliation: Reconciliation | str, compared: Sequence[Compared] = ()
) -> Verdict:
    """Judges a run by its notes, its objectives, its baseline, and by whether the generator itself kept up.

    A text in place of the reconciliation is why there is none.
    """
    judged = {
        "notes": _of_notes(settings, load, reconciliation),
        "objectives": _of_objectives(settings, load),
        "baseline": _of_baseline(compared),
        "routes": _of_routes(settings, load),
        "load generator": chain(_of_users(settings, load), _of_workers(load)),
    }
    judgements = [Judgement(of, name, reason) for of, found in judged.items() for name, reason in found]
    return Verdict(judgements, list(_warnings(load)), list(compared))


def failure_ratio(load: Load) -> float:
    """Failed requests by all requests, 0 when there were none."""
    return load.failures / load.requests if load.requests else 0.0


def _of_notes(settings: Settings, load: Load, reconciliation: Reconciliation | str) -> Judged:
    target = parse_targets(settings.target)[0]
    yield (
        "notes are acknowledged",
        _if(
            not sum(load.acknowledged.values()),
            f"No note was acknowledged: check that {target}/course answers, and run site.yml if it does not.",
        ),
    )
    yield (
        "the databases answer after the run",
        _if(
            isinstance(reconciliation, str),
            f"Whether every acknowledged note is stored is not known: {reconciliation} after the run. "
            "See what it lacks, or run site.yml, which says so; then repeat the run.",
        ),
    )
    if isinstance(reconciliation, str):
        return
    yield from _of_reports(reconciliation.reported)
    yield from _of_database(
        "MongoDB",
        reconciliation.mongodb,
        "documents were stored that no request accounts for, with texts that this run sends",
    )
    yield from _of_documents(reconciliation.mongodb)
    yield from _of_database("Redis's counters", reconciliation.redis, "notes too many were counted")


def _of_reports(reported: Reported) -> Judged:
    yield (
        "every reported id is read back",
        _if(
            reported.unread,
            f"{reported.unread:,} ids that the workers reported could not be read back, so what became of as many "
            "notes is not known: see whether the disk of the ops host is full, and repeat the run.",
        ),
    )
    yield (
        "every id that is read back was reported",
        _if(
            reported.unreported,
            f"{reported.unreported:,} ids more were read back than the workers say they reported: a report was lost on "
            "its way, so not all is counted here; repeat the run.",
        ),
    )
    yield (
        "no id is reported twice",
        _if(
            reported.repeated,
            f"{reported.repeated:,} ids were reported more than once, so as many notes had the key of another: "
            "they are in differences.csv; repeat the run.",
        ),
    )


def _of_database(name: str, found: Reconciled, too_many: str) -> Judged:
    yield (
        f"no acknowledged note is missing in {name}",
        _if(
            found.missing,
            f"{found.missing:,} of {found.acknowledged:,} acknowledged notes are missing in {name}: a service answered "
            "201 before the database had the note for good. The ids that are nowhere are in missing.csv.",
        ),
    )
    yield (
        f"no note is twice in {name}",
        _if(
            found.duplicated,
            f"{name}: {found.duplicated:,} {too_many}. Either notes were written twice, or something else "
            "wrote during the run; repeat the run with the system to itself.",
        ),
    )


def _of_documents(found: ReconciledDocuments) -> Judged:
    yield (
        "every note is stored as it was sent",
        _if(
            found.altered,
            f"MongoDB: {found.altered:,} notes have other texts than were sent: a service mixed notes up or cut them. "
            "What was sent and what is stored is in differences.csv.",
        ),
    )
    yield (
        "every note is stored as its route's",
        _if(
            found.misrouted,
            f"MongoDB: {found.misrouted:,} notes are stored as those of another route than the one that acknowledged "
            "them: a service wrote what it was not asked to. They are in differences.csv.",
        ),
    )
    yield (
        "no other document appears",
        _if(
            found.appeared,
            f"MongoDB: {found.appeared:,} documents appeared that are not this run's: something else wrote meanwhile. "
            "Their ids are in differences.csv; repeat the run with the system to itself.",
        ),
    )
    yield (
        "no earlier document vanishes",
        _if(
            found.vanished,
            f"MongoDB: {found.vanished:,} documents that were there before the run are gone: something deleted them, "
            "or the database lost them. Their ids are in differences.csv.",
        ),
    )


def _of_objectives(settings: Settings, load: Load) -> Judged:
    """Without a single request there is nothing to judge, and the notes tell why."""
    for outcome in outcomes(settings, load) if load.requests else []:
        yield f"{outcome.name} is {outcome.limit_text}", _if(not outcome.met, _missed(outcome, load))
    yield (
        "the requests that are due are sent",
        _if(
            load.unsent > tolerated_failures(settings) * (load.requests + load.unsent),
            f"{load.unsent:,} requests were due but never sent, because answers came too late to keep the asked pace: "
            "ask for fewer users or a lower rate, or give the system more room.",
        ),
    )
    yield "the run goes on to its end", _if(load.ended_early, f"The run ended early: {load.ended_early}.")


def _missed(outcome: Outcome, load: Load) -> str:
    """What was measured, beside the limit."""
    of = "" if outcome.of_total else f" of {outcome.of}"
    if outcome.measured is None:
        return f"No request took the route {outcome.of}, so its {outcome.what.replace('_', ' ')} is not known."
    scale = 100 if outcome.what == "failure_ratio" else 1
    was, limit = differing(scale * outcome.measured, scale * outcome.limit)
    if outcome.what == "throughput":
        return f"{was} notes/s{of} were acknowledged, the objective is at least {limit}."
    if outcome.what == "failure_ratio":
        kinds = ", ".join(f"{count:,} × {kind}" for kind, count in _errors_of(outcome, load)[:3])
        return f"{was}% of the requests{of} failed ({kinds}), the objective is at most {limit}%."
    delay = _own_delay(load, outcome.measured)
    return f"{outcome.name} was {was} ms, the objective is at most {limit} ms{delay}."


def _errors_of(objective: Objective, load: Load) -> list[tuple[str, int]]:
    if objective.of_total:
        return most_common_errors(load)
    return sorted(load.errors.get(objective.of, {}).items(), key=lambda item: -item[1])


def _of_baseline(compared: Iterable[Compared]) -> Judged:
    for figure in compared:
        was, mean, limit = map(figure.text, (figure.measured, figure.mean, figure.limit))
        worse = (
            f"{figure.name} was {was}, worse than the baseline: {mean} on average in {figure.runs} runs, whose spread "
            f"reaches to {limit}."
        )
        yield f"{figure.name} is no worse than the baseline's", _if(figure.worse, worse)


def _own_delay(load: Load, latency_ms: float) -> str:
    """A hint when the generator itself was kept from running for long: the delay may be its own."""
    pause = max((worker.longest_pause_ms for worker in load.workers), default=0.0)
    if pause < OWN_DELAY_SHARE * latency_ms:
        return ""
    return f" (a worker was itself kept from running for up to {pause:,.0f} ms: this machine is short of CPU)"


def _of_routes(settings: Settings, load: Load) -> Judged:
    requests = {route: load.routes[route].requests if route in load.routes else 0 for route in settings.weights}
    routed = sum(detail.requests for name, detail in load.routes.items() if name != NO_ROUTE)
    weights = sum(settings.weights.values())
    for route, weight in settings.weights.items():
        if weight > 0:
            yield (
                f"requests take the route {route}",
                _if(
                    not requests[route] and is_unlikely(0, routed, weight / weights),
                    f"No request took the route {route}, though its weight is {weight}: see whether {route} is ready.",
                ),
            )
        else:
            yield (
                f"no request takes the route {route}",
                _if(
                    requests[route],
                    f"{requests[route]:,} requests took the route {route}, though its weight is 0: run site.yml again.",
                ),
            )
    others = {name: detail.requests for name, detail in sorted(load.routes.items())}
    told = [
        f"{number:,} requests took the route {route}, which is not in `routes`: run site.yml again."
        for route, number in others.items()
        if route not in {*settings.weights, NO_ROUTE}
    ]
    yield "no request takes another route", " ".join(told)


def _of_users(settings: Settings, load: Load) -> Judged:
    yield (
        "all users are at work",
        _if(
            load.users_reached < settings.users and not load.ended_early,
            f"Only {load.users_reached:,} of {settings.users:,} users were at work at any time: raise spawn_rate or "
            "duration, or look whether a worker was lost.",
        ),
    )


def _of_workers(load: Load) -> Judged:
    for number, worker in enumerate(load.workers, start=1):
        yield from _of_worker(f"Worker {number} ({host_of(worker)})", worker)


def _of_worker(name: str, worker: WorkerRow) -> Judged:
    lost = _if(
        not worker.complete,
        f"{name} was lost: its last reports did not arrive ({worker.silent_s:.0f} s of silence), so what it saw "
        "is not all counted here; look at its log and its memory limit, and repeat the run.",
    )
    silent = _if(
        worker.silent_s > SILENT_S,
        f"{name} was silent for {worker.silent_s:.0f} s: the load was not what was asked for; give it more CPU.",
    )
    yield f"{name} reports to the end", lost or silent
    yield (
        f"{name} has CPU to spare",
        _if(
            worker.busiest_cpu > SATURATED_CPU,
            f"{name} used {worker.busiest_cpu:.0%} of its core: the generator was the limit, not the system; "
            "use more workers or hosts, or a lower rate.",
        ),
    )
    yield (
        f"{name} has a CPU limit that it does not reach",
        _if(
            worker.held_back > HELD_BACK,
            f"{name} was held back by its CPU limit {worker.held_back:.0%} of the time: the generator was the limit, "
            "not the system; raise or remove the limit of its pods.",
        ),
    )
    ahead_s = worker.clock_ahead_s or 0.0
    way = "ahead of" if ahead_s > 0 else "behind"
    yield (
        f"{name} has the master's time",
        _if(
            abs(ahead_s) > CLOCK_AHEAD_S,
            f"{name} has a clock that is {abs(ahead_s):.1f} s {way} the master's: "
            "the seconds of the report cannot be trusted; set up time synchronisation on the load hosts.",
        ),
    )


def _if(so: object, reason: str) -> str:
    """The reason, where it is one."""
    return reason if so else ""


def _warnings(load: Load) -> Iterator[str]:
    for number, worker in enumerate(load.workers, start=1):
        if NEAR_CPU <= worker.busiest_cpu <= SATURATED_CPU:
            yield (
                f"Worker {number} ({host_of(worker)}) used {worker.busiest_cpu:.0%} of its core in its busiest "
                f"{CPU_WINDOW_S:.0f} s, and above {SATURATED_CPU:.0%} the generator is the limit: "
                "add workers or load hosts before you ask for more."
            )


def host_of(worker: WorkerRow) -> str:
    """The host a worker ran on; Locust names workers `host_<hexadecimal number>`."""
    return worker.name.rpartition("_")[0] or worker.name


def most_common_errors(load: Load) -> list[tuple[str, int]]:
    """(kind, how often) over all routes, the most frequent first."""
    counts: dict[str, int] = {}
    for kinds in load.errors.values():
        for kind, count in kinds.items():
            counts[kind] = counts.get(kind, 0) + count
    return sorted(counts.items(), key=lambda item: -item[1])
