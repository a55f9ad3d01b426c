"""Runs the search: each step is a load test of its own, with open arrivals, reconciled note by note."""

import math
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec

from loadgen.capacity.evidence import take_evidence, what_gave_in
from loadgen.capacity.growth import LEAST_SECONDS, growth_of
from loadgen.capacity.result import Capacity, Finding, StepResult, held_step, this_machine
from loadgen.capacity.scalability import scalability_of
from loadgen.capacity.search import CONFIRMATIONS, LEAST_RATE, Limits, Search, Step
from loadgen.capacity.system import System
from loadgen.progress import say
from loadgen.report import Data
from loadgen.settings import OPEN, RunDirectory, Settings
from loadgen.verdict import HELD_BACK, SATURATED_CPU

WARM_UP_S = 3
MOST_CPU = 0.7  # of a worker's core, in advice on how many workers a rate needs
OVERHEAD_S = 12.0  # of a step beside its load: the workers' start, the last answers, the reconciliation

TryStep = Callable[[int, Step], StepResult]


class StepFailed(Exception):
    """A step could not be run to its end; the message says which, and where to look."""


class Plan(msgspec.Struct, frozen=True):
    """How a search goes, of what system, and for how many seconds at most; a step that is under way then still ends."""

    limits: Limits
    limit_s: float
    system: System


def find_capacity(settings: Settings, plan: Plan, try_step: TryStep) -> Capacity:
    """Searches until the answer is proven, or there is no more time, or the load generator is the limit."""
    limits, limit_s = plan.limits, plan.limit_s
    started, overhead_s = time.time(), OVERHEAD_S
    search, results, stopped = Search(limits), list[StepResult](), ""
    while step := search.next_step():
        left_s = started + limit_s - time.time()
        if left_s < _proof_s(limits, overhead_s):
            search.hurry()
            step = search.next_step()
        if step is None or (results and left_s < step.seconds):
            break
        began = time.time()
        try:
            result = _tried(len(results) + 1, step, try_step, results)
        except StepFailed as problem:
            stopped = str(problem)
            break
        overhead_s = max(OVERHEAD_S, time.time() - began - WARM_UP_S - step.seconds)
        if result.generator_limited:
            stopped = _too_few_workers(settings, result)
            break
        search.take(step, met=result.met)
    refusal = "" if search.proven is not None else stopped or _why_no_answer(search, results, limit_s)
    above = _above(results, search.missed)
    finding = what_gave_in(above.evidence, plan.system) if above else None
    return Capacity(
        answer=[refusal] if refusal else _answer(search, stopped, finding),
        met=search.met if search.proven is None else search.proven,
        missed=search.missed,
        proven=search.proven is not None,
        refusal=refusal,
        finding=finding,
        steps=results,
        scalability=scalability_of(results),
        growth=growth_of(held_step(results, search.proven), finding, plan.system, settings.workers),
        replicas=plan.system.replicas,
        settings=_of_every_step(settings),
        machine=this_machine(),
        started_at=datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(time.time() - started, 1),
    )


def _above(results: Sequence[StepResult], missed: float | None) -> StepResult | None:
    """The last step above the answer that was missed for so long that Prometheus's figures are of it alone."""
    long_enough = [result for result in results if not result.met and result.step.seconds >= LEAST_SECONDS]
    return next((result for result in long_enough[::-1] if missed is not None and result.step.rate >= missed), None)


def _answer(search: Search, stopped: str, finding: Finding | None) -> list[str]:
    """The answer, what ended the search early if something did, and what gave in."""
    above = f"{search.missed:,g} a second did not" if search.missed else "higher rates were not looked at"
    found = f"{search.proven:,g} notes a second met the objectives, held and confirmed three times; {above}."
    gave_in = f"What gave in first: {finding.sentence}" if finding else ""
    return [sentence for sentence in (found, stopped, gave_in) if sentence]


def _why_no_answer(search: Search, results: Sequence[StepResult], limit_s: float) -> str:
    if search.met is None and search.missed is not None and search.missed <= LEAST_RATE:
        return f"Even {search.missed:,g} a second missed the objectives: {' '.join(results[-1].reasons)}"
    return f"The time was over ({limit_s:g} s) before an answer was proven."


def step_settings(settings: Settings, name: int | str, step: Step) -> Settings:
    """The load test of one step: a user for each worker, whose notes come at random times."""
    return msgspec.structs.replace(
        _of_every_step(settings),
        run=f"{settings.run}-{name}",
        users=settings.workers,
        spawn_rate=float(settings.workers),
        rate=step.rate / settings.workers,
        duration_s=float(WARM_UP_S + step.seconds),
    )


def _of_every_step(settings: Settings) -> Settings:
    """What all load tests of a search have in common; none ends early, for what a rate does is wanted whole."""
    return msgspec.structs.replace(settings, arrivals=OPEN, warm_up_s=WARM_UP_S, abort=False)


def result_of(step: Step, directory: RunDirectory) -> StepResult:
    """What a step's load test left."""
    data = msgspec.json.decode(directory.data.read_bytes(), type=Data)
    summary, generator = data.summary, data.summary.generator
    found = summary.reconciliation
    busiest, held_back = (generator.busiest_cpu, generator.held_back) if generator else (0.0, 0.0)
    return StepResult(
        step=step,
        met=summary.verdict == "pass",
        reasons=summary.reasons,
        started_at=summary.started_at,
        rps=summary.rps,
        latency_ms=summary.latency_ms,
        failure_ratio=summary.failure_ratio,
        unsent=summary.unsent,
        lost=found.lost if found else None,
        generator_cpu=busiest,
        generator_cores=round(generator.cpu * generator.workers, 3) if generator else 0.0,
        generator_limited=busiest > SATURATED_CPU or held_back > HELD_BACK,
        generator_held_back=held_back,
        evidence=take_evidence(data.settings.prometheus, data.load.ended_at),
        mean_ms=data.load.total.mean_ms,
    )


def _tried(number: int, step: Step, try_step: TryStep, results: list[StepResult]) -> StepResult:
    say(f"step {number}, {step.kind}: {step.rate:,g} a second for {step.seconds} s")
    result = try_step(number, step)
    results.append(result)
    verdict = "met" if result.met else "missed"
    say(f"step {number}: {verdict}, p99 {result.latency_ms.p99:g} ms, {result.rps:g} a second answered")
    return result


def _proof_s(limits: Limits, overhead_s: float) -> float:
    """How long it takes to prove an answer, and to see what gives in above it."""
    load = limits.hold_s + CONFIRMATIONS * limits.step_s + limits.overload_s
    return load + (CONFIRMATIONS + 2) * (WARM_UP_S + overhead_s)


def _too_few_workers(settings: Settings, result: StepResult) -> str:
    needed = math.ceil(settings.workers * result.generator_cpu / MOST_CPU * 2)
    return (
        f"The load generator was the limit at {result.step.rate:,g} a second: {result.generator_limit}. To look at "
        f"twice that rate takes {needed} workers with as much CPU (one for each core of the hosts in the group load; "
        f"there are {settings.workers})."
    )
