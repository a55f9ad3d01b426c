"""The capacity: a search on a system whose knee is known, what it refuses to answer, and what it says gave in."""

import json
from pathlib import Path

import msgspec
import pytest
from markupsafe import escape

from loadgen import __main__ as loadgen
from loadgen.capacity.certificate import render, write_certificate
from loadgen.capacity.evidence import take_evidence, what_gave_in
from loadgen.capacity.result import Capacity, Evidence, StepResult
from loadgen.capacity.run import Plan, StepFailed, find_capacity, step_settings
from loadgen.capacity.search import HOLD, OVERLOAD, Limits, Step
from loadgen.capacity.system import System
from loadgen.latency import Latency
from loadgen.settings import SEARCH, write_json
from unit.loadgen.conftest import SETTINGS
from unit.loadgen.fake_prometheus import FakePrometheus

SYSTEM = System(
    pods={"mongodb": 1, "redis": 1, "ledger": 1, "relay": 3, "direct": 3, "ingress": 2},
    single_threaded=("relay", "ledger", "direct"),
    workers=SETTINGS.workers,
)
PLAN = Plan(Limits(start_rate=100, step_s=10, hold_s=60, precision=0.05), limit_s=3600, system=SYSTEM)
BUSY = Evidence(
    host_cpu={"here": 0.97},
    host_cores={"here": 2},
    cpu_cores={"relay": 0.5, "direct": 0.4, "ledger": 0.3, "ingress": 0.2, "prometheus": 0.01},
    replicas={"relay": 1},
    p99_s={"direct to mongodb": 0.2},
)


def system(knee: float, generator: float = 1e9, evidence: Evidence = BUSY):
    """A system that meets the objectives up to a rate, and a load generator that is good for another."""

    def try_step(_: int, step: Step) -> StepResult:
        met = step.rate <= knee
        return StepResult(
            step=step,
            met=met,
            reasons=[] if met else ["p99 was 900 ms, the SLO is 500 ms."],
            started_at="2026-11-24T04:00:00Z",
            rps=min(step.rate, knee),
            latency_ms=Latency(5, 8, 10 if met else 900, 950),
            failure_ratio=0.0,
            unsent=0,
            lost=0,
            generator_cpu=min(1.0, step.rate / generator),
            generator_cores=0.4,
            generator_limited=step.rate > 0.9 * generator,
            evidence=evidence,
            mean_ms=10 if met else 400,
        )

    return try_step


def test_the_answer_is_proven_and_what_gave_in_is_looked_at_above_it():
    found = find_capacity(SETTINGS, PLAN, system(1234))
    assert found.proven
    assert not found.refusal
    assert found.met is not None
    assert 1234 / 1.06 <= found.met <= 1234
    assert found.steps[-1].step.kind == OVERLOAD
    assert found.steps[-1].step.rate == found.missed
    assert found.answer == [
        f"{found.met:,g} notes a second met the objectives, held and confirmed three times; {found.missed:,g} a second "
        "did not.",
        "What gave in first: here had no CPU left: 97% was in use. Cores used: relay 0.50, direct 0.40, ledger 0.30, "
        "ingress 0.20, all else (databases, load generator, kernel) 0.53.",
    ]


def test_where_the_generator_is_the_limit_there_is_no_answer():
    found = find_capacity(SETTINGS, PLAN, system(10_000, generator=900))
    assert not found.proven
    assert found.refusal.startswith("The load generator was the limit at 1,600 a second")
    assert "takes 3 workers" in found.refusal
    assert found.answer == [found.refusal]


def test_a_worker_that_its_cpu_limit_holds_back_is_named_as_such():
    def try_step(number: int, step: Step) -> StepResult:
        result: StepResult = system(10)(number, step)
        return msgspec.structs.replace(result, generator_limited=True, generator_cpu=0.6, generator_held_back=0.41)

    found = find_capacity(SETTINGS, PLAN, try_step)
    assert "a second: a CPU limit held a worker back 41% of the time. To look at" in found.refusal


def test_what_is_proven_stays_the_answer_whatever_ends_the_search_above_it():
    def try_step(number: int, step: Step) -> StepResult:
        result: StepResult = system(1234)(number, step)
        return msgspec.structs.replace(result, generator_limited=step.kind == OVERLOAD)

    found = find_capacity(SETTINGS, PLAN, try_step)
    assert found.proven
    assert not found.refusal
    assert found.met is not None
    assert found.met <= 1234
    assert found.answer[0].startswith(f"{found.met:,g} notes a second met the objectives")
    assert found.answer[1].startswith("The load generator was the limit")


def test_where_overload_cannot_be_seen_a_hold_that_missed_tells_what_gave_in():
    def try_step(number: int, step: Step) -> StepResult:
        if step.kind == OVERLOAD:
            raise StepFailed("The overload could not be run.")
        knee = 1234 if step.seconds >= 60 else 1400  # what is held for long is less than what short steps meet
        result: StepResult = system(knee)(number, step)
        return result

    found = find_capacity(SETTINGS, PLAN, try_step)
    assert found.met == pytest.approx(1234, rel=0.06)
    assert found.finding
    assert found.finding.what == "CPU of a host"


def test_short_steps_do_not_tell_what_gave_in():
    def try_step(number: int, step: Step) -> StepResult:
        if step.kind == OVERLOAD:
            raise StepFailed("The overload could not be run.")
        result: StepResult = system(1234)(number, step)
        return result

    assert find_capacity(SETTINGS, PLAN, try_step).finding is None


def test_a_step_that_cannot_be_run_ends_the_search_with_a_page(tmp_path):
    def fails(number: int, step: Step) -> StepResult:
        raise StepFailed(f"Step {number} could not be run to its end.")

    found = find_capacity(SETTINGS, PLAN, fails)
    write_certificate(tmp_path, found)
    assert found.answer == ["Step 1 could not be run to its end."]
    assert "Step 1 could not be run" in (tmp_path / "certificate.html").read_text()


def test_a_system_that_takes_nothing_has_no_answer():
    found = find_capacity(SETTINGS, PLAN, system(0.1))
    assert found.refusal == "Even 1 a second missed the objectives: p99 was 900 ms, the SLO is 500 ms."


def test_where_the_time_is_over_there_is_no_answer():
    found = find_capacity(SETTINGS, msgspec.structs.replace(PLAN, limit_s=1.0), system(1234))
    assert len(found.steps) == 1
    assert found.refusal.startswith("The time was over")


def test_where_time_is_short_the_search_goes_over_to_the_proof():
    found = find_capacity(SETTINGS, msgspec.structs.replace(PLAN, limit_s=150.0), system(1234))
    assert [result.step.kind for result in found.steps][:2] == ["doubling", HOLD]
    assert found.proven
    assert found.met == 100
    assert found.answer[0].endswith("; higher rates were not looked at.")


def test_a_step_is_a_load_test_with_a_user_for_each_worker_and_open_arrivals():
    settings = step_settings(msgspec.structs.replace(SETTINGS, workers=4), 7, Step(HOLD, 1000.0, 60))
    assert (settings.users, settings.rate, settings.arrivals) == (4, 250.0, "open")
    assert settings.duration_s == settings.warm_up_s + 60
    assert settings.run == f"{SETTINGS.run}-7"


@pytest.mark.parametrize(
    ("evidence", "what"),
    [
        (BUSY, "CPU of a host"),
        (msgspec.structs.replace(BUSY, throttled={"direct": 0.0, "relay": 0.4}), "CPU limit of relay"),
        (msgspec.structs.replace(BUSY, throttled={"relay": 0.1}), "CPU of a host"),
        (msgspec.structs.replace(BUSY, host_cpu={"here": 0.5}, cpu_cores={"relay": 0.95}), "CPU of relay"),
        (msgspec.structs.replace(BUSY, host_cpu={"here": 0.5}, cpu_cores={"ingress": 0.95}), "mongodb"),
        (msgspec.structs.replace(BUSY, host_cpu={"here": 0.5}, own_errors=0.07), "ingress"),
        (msgspec.structs.replace(BUSY, own_errors=0.07), "CPU of a host"),
        (Evidence(p99_s={"relay to ledger": 0.5, "ledger to mongodb": 0.49, "direct to mongodb": 0.3}), "mongodb"),
        (Evidence(p99_s={"relay to ledger": 0.5, "ledger to mongodb": 0.02, "direct to redis": 0.3}), "ledger"),
        (Evidence(cpu_cores={"direct": 2.8}, replicas={"direct": 3}), "replicas of direct"),
        (Evidence(cpu_cores={"direct": 1.9}, replicas={"direct": 2}), "CPU of direct"),
        (Evidence(p99_s={"direct to mongodb": 0.3}, disk_busy={"here": 0.97}), "disk of here"),
        (Evidence(p99_s={"direct to mongodb": 0.3}, disk_busy={"here": 0.5}), "mongodb"),
        (Evidence(), None),
    ],
)
def test_what_gave_in_first_is_the_cpu_that_was_short_or_who_kept_others_waiting(evidence, what):
    found = what_gave_in(evidence, SYSTEM)
    assert (found.what if found else None) == what


def test_the_evidence_is_what_prometheus_knows_at_the_end_of_a_step():
    prometheus = FakePrometheus()
    prometheus.tell("host:cpu_used:ratio30s", {"host": "here"}, 0.97)
    prometheus.tell("count", {"host": "here"}, 2)
    prometheus.tell("workload:cpu_cores:rate30s", {"workload": "relay"}, 0.5)
    prometheus.tell("workload:replicas:count", {"workload": "relay"}, 2)
    prometheus.tell("workload_database:seconds:p99_30s", {"workload": "relay", "database": "ledger"}, 0.02)
    prometheus.tell("workload:cpu_throttled:ratio30s", {"workload": "relay"}, 0.4)
    prometheus.tell("ingress:own_errors:ratio30s", {}, 0.07)
    prometheus.tell("host:disk_busy:ratio30s", {"host": "here"}, 0.97)
    with prometheus.server() as address:
        found = take_evidence(address, 1000.0)
    assert found == Evidence(
        host_cpu={"here": 0.97},
        host_cores={"here": 2},
        cpu_cores={"relay": 0.5},
        replicas={"relay": 2},
        p99_s={"relay to ledger": 0.02},
        throttled={"relay": 0.4},
        own_errors=0.07,
        disk_busy={"here": 0.97},
    )


def test_without_prometheus_nothing_is_known():
    assert take_evidence("", 1000.0) == Evidence()
    assert take_evidence("http://127.0.0.1:9", 1000.0) == Evidence()


def test_the_certificate_is_written_whole(tmp_path):
    found = find_capacity(SETTINGS, PLAN, system(1234))
    write_certificate(tmp_path, found)
    assert msgspec.json.decode((tmp_path / "capacity.json").read_bytes(), type=Capacity) == found
    assert len((tmp_path / "steps.csv").read_text().splitlines()) == len(found.steps) + 1
    assert 'failures="0"' in (tmp_path / "junit.xml").read_text()
    page = (tmp_path / "certificate.html").read_text()
    assert found.answer[0] in page
    assert page.count("<tr>") > len(found.steps)
    assert "<dt>Per second of CPU</dt>" in page
    assert found.scalability.law
    assert "Throughput by the law" in page
    assert found.growth.needed
    assert "Hosts for several times the rate" in page
    for sentence in (*found.scalability.sentences, *found.growth.sentences):
        assert escape(sentence) in page
    assert "<script" not in page


def test_a_certificate_without_an_answer_says_why():
    page = render(find_capacity(SETTINGS, PLAN, system(10_000, generator=900, evidence=Evidence())))
    assert "NO ANSWER" in page
    assert "No rate was held and confirmed, so nothing is said of more hosts." in page
    assert "Too few steps for the universal scalability law" in page
    assert "What was busy" not in page


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        (1000, 1000, "No difference"),
        (1000, 1030, "No difference"),
        (1000, 2000, "More than"),
        (2000, 1000, "Less than"),
    ],
)
def test_two_capacities_differ_only_where_their_intervals_do_not_overlap(tmp_path, before, now, says):
    earlier, found = (find_capacity(SETTINGS, PLAN, system(knee)) for knee in (before, now))
    write_json(tmp_path / "earlier.json", earlier)
    write_certificate(tmp_path, found)
    assert says in found.answer[-1]
    assert "<h2>Compared with" in (tmp_path / "certificate.html").read_text()


@pytest.mark.parametrize(
    ("replicas", "says"), [("", "one of each"), ("max", "the most that they may have, all the time")]
)
def test_the_certificate_says_how_many_replicas_there_were(replicas, says):
    held_at = msgspec.structs.replace(PLAN, system=msgspec.structs.replace(SYSTEM, replicas=replicas))
    found = find_capacity(SETTINGS, held_at, system(1234))
    assert found.replicas == replicas
    assert f"<dt>Replicas of the routes</dt><dd>{says}</dd>" in render(found)


def test_a_comparison_says_where_replicas_were_others(tmp_path):
    found = find_capacity(SETTINGS, PLAN, system(1000))
    write_json(tmp_path / "earlier.json", msgspec.structs.replace(found, replicas="min"))
    write_certificate(tmp_path, msgspec.structs.replace(found, replicas="max"))
    page = (tmp_path / "certificate.html").read_text()
    assert "No difference: the two intervals overlap. Replicas of the routes: max, and min before." in page


def test_a_search_without_an_answer_is_compared_with_nothing(tmp_path):
    found = find_capacity(SETTINGS, PLAN, system(0.1))
    write_json(tmp_path / "earlier.json", find_capacity(SETTINGS, PLAN, system(1000)))
    write_certificate(tmp_path, found)
    assert found.answer == [found.refusal]
    assert f'<failure message="{found.refusal}">' in (tmp_path / "junit.xml").read_text()


CAPACITY = [
    "capacity",
    "--target=http://ingress:8080",
    *("--pool=100", "--seed=1", "--workers=1", "--weights=relay=50,direct=50"),
    *("--start-rate=100", "--step=10", "--hold=60", "--precision=0.05", "--limit=3600"),
    '--objectives=[{"of": "total", "what": "p99", "at_most": 250}]',
    f"--system={json.dumps(msgspec.to_builtins(SYSTEM))}",
]


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """The stages that a search ran, by name, directory, the search that each was told, and the ids there were."""
    ran = []

    def command(stage, option, environment=None):
        directory = Path(option.removeprefix("--directory="))
        searched = (environment or {}).get(SEARCH)
        ran.append((stage, directory, searched, sorted(path.parent.name for path in tmp_path.rglob("stored.ids"))))
        if stage == "reconcile":
            (directory / "stored.ids").touch()
        return 1 if (stage, directory.name) == ("figures", "03") else 0

    monkeypatch.setattr(loadgen, "_command", command)
    monkeypatch.setattr("loadgen.capacity.run.result_of", lambda step, _: system(1234)(0, step))
    return ran


def test_a_search_reads_all_ids_once_and_leaves_each_steps_ids_to_those_after_it(tmp_path, stages):
    loadgen.capacity(loadgen._parser().parse_args([*CAPACITY, f"--directory={tmp_path}"]))
    assert stages[0] == ("baseline", tmp_path, None, [])
    assert [(directory.name, search, there) for stage, directory, search, there in stages[1:] if stage == "drive"] == [
        ("01", str(tmp_path), []),
        ("02", str(tmp_path), ["01"]),
        ("03", str(tmp_path), ["01", "02"]),
    ]
    # The third step could not be run to its end.
    assert not list(tmp_path.rglob("*.ids"))
    assert (tmp_path / "certificate.html").exists()


def test_a_search_that_cannot_read_what_is_stored_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(loadgen, "_command", lambda *_, **__: 7)
    with pytest.raises(SystemExit) as ended:
        loadgen.capacity(loadgen._parser().parse_args([*CAPACITY, f"--directory={tmp_path}"]))
    assert ended.value.code == 7
    assert not (tmp_path / "steps").exists()


def test_a_search_goes_as_it_is_asked_for(tmp_path, monkeypatch):
    plans = []

    def find(settings, plan, try_step):
        plans.append(plan)
        return find_capacity(settings, plan, system(1234))

    monkeypatch.setattr(loadgen, "_command", lambda *_, **__: 0)
    monkeypatch.setattr("loadgen.capacity.run.find_capacity", find)
    asked = [*CAPACITY, "--start-rate=70", "--step=7", "--hold=77", "--precision=0.7", f"--directory={tmp_path}"]
    loadgen.capacity(loadgen._parser().parse_args(asked))
    (plan,) = plans
    assert plan.limits == Limits(start_rate=70, step_s=7, hold_s=77, precision=0.7)
    assert plan.limits.overload_s >= 30, "Prometheus's figures are of 30 s"
