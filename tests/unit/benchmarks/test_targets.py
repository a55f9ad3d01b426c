"""What the rounds of the benchmark say of each target."""

from collections.abc import Sequence
from typing import Any

import pytest

from bench import report, targets
from bench.measure import INGRESS, ITSELF, Cell, Measurement
from bench.targets import Target


def measured(writes: float = 1000, p99: float = 10, **others: Any) -> Measurement:
    figures: dict[str, Any] = {
        "writes_per_s": writes,
        "p50_ms": 2.0,
        "p99_ms": p99,
        "max_ms": 3 * p99,
        "created": 4000,
        "errors": 0,
        "stored": 4000,
        "counted": None,
        "in_agreement": True,
        "cpu_us": {"route": 50.0, "ledger": 20.0, "MongoDB": 80.0, "wrk": 9.0},
        "rest_s": 0.1,
        "idle": 0.02,
        "memory_mib": {"relay": 60.0, "ledger": 70.0},
    }
    return Measurement(**figures | others)


def rounds(**writes: Sequence[float]) -> dict[Cell, list[Measurement]]:
    """The rounds of contestants by themselves, at 64 connections; `_` in a name stands for `-`."""
    return {Cell(name.replace("_", "-"), ITSELF, 64): [measured(w) for w in found] for name, found in writes.items()}


def test_a_ratio_is_taken_within_each_round_and_the_median_decides():
    # Each round by itself: 2, 1 and 0.5. The medians of the two sides would say 1.5.
    found = rounds(relay=[2000, 300, 1500], go_relay=[1000, 300, 3000])
    judged = next(Target("relay", "go-relay", targets.WRITES, at_least=1.1).judge(found))
    assert (judged["median"], judged["min"], judged["max"]) == (1.0, 0.5, 2.0)
    assert not judged["pass"]


@pytest.mark.parametrize("rival", ["go", "rust"])
@pytest.mark.parametrize(("writes", "good"), [(1000, True), (999, False)])
def test_ours_must_write_no_less_than_who_keeps_the_same_contract(rival: str, writes: float, good: bool):
    found = {t["what"]: t for t in targets.judge(rounds(relay=[writes], **{f"{rival}_relay": [1000]}))}
    assert found[f"writes_per_s: relay / {rival}-relay"]["pass"] is good


def test_the_ingress_is_held_against_both_routes_without_it():
    found = {
        Cell("both", ITSELF, 64): [measured(1000, p99=10)],
        Cell("both", INGRESS, 64): [measured(840, p99=15)],
    }
    judged = {t["what"]: t for t in targets.judge(found)}
    assert not judged["writes_per_s: both, ingress / itself"]["pass"]
    assert judged["p99_ms: both, ingress / itself"]["pass"]


def test_each_number_of_connections_is_judged_by_itself():
    found = rounds(relay=[900], go_relay=[1000]) | {
        Cell("relay", ITSELF, 256): [measured(1200)],
        Cell("go-relay", ITSELF, 256): [measured(1000)],
    }
    judged = [t for t in targets.judge(found) if t["what"] == "writes_per_s: relay / go-relay"]
    assert [(t["connections"], t["pass"]) for t in judged] == [(64, False), (256, True)]


def test_a_request_at_a_time_is_asked_its_latency_and_nothing_else():
    found = {Cell(name, ITSELF, 1): [measured()] for name in ("relay", "plain-relay", "go-relay")}
    asked = [t["what"] for t in targets.judge(found) if "connections" in t]
    assert asked == ["p50_ms: relay / plain-relay"]


def test_a_service_that_needs_too_much_memory_misses_its_target():
    found = {Cell("relay", ITSELF, 64): [measured(), measured(memory_mib={"relay": 60.0, "ledger": 150.0})]}
    judged = {t["what"]: t["pass"] for t in targets.judge(found)}
    assert judged["peak MiB: relay"]
    assert not judged["peak MiB: ledger"]


def test_a_note_that_was_lost_misses_the_target():
    lost = measured(stored=3999, in_agreement=False)
    judged = {t["what"]: t for t in targets.judge({Cell("direct", ITSELF, 64): [measured(), lost]})}
    assert not judged["stored - acknowledged: direct"]["pass"]


def test_the_cpu_of_a_note_is_everybodys_but_the_load_generators():
    assert measured().cpu_total_us == 150.0


def test_a_round_that_others_disturbed_is_named():
    found = {Cell("relay", INGRESS, 64): [measured(), measured(rest_s=60.0)]}
    assert report.disturbed(found, 4) == ["round 2, relay, ingress, 64 at all: 60.0 CPU seconds"]


def test_the_table_has_a_row_for_each_cell_with_the_cpu_by_group():
    kind = {"contestant": "relay", "place": ITSELF, "connections": 64, "rate": 2000}
    cells = [{**kind, **report.summary([measured(), measured(1500)])}]
    head, row = (line.split("  ") for line in report.reached(cells).splitlines())
    assert [cell.strip() for cell in row if cell][:5] == ["relay", "itself", "64", "2,000", "1,250 (1,000-1,500)"]
    assert "150 (150-150)" in [cell.strip() for cell in row]
    assert [cell.strip() for cell in head if cell][-1] == "idle %"
