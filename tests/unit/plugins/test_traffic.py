"""What the proxies of the mesh have counted, in a time and in words."""

from __future__ import annotations

from typing import Any

from courseload import traffic

WORKLOADS = ("relay", "mongodb")


def call(called: str, secured: int, plain: int, of: str = "requests") -> dict[str, Any]:
    return {"caller": "ingress", "called": called, "of": of, "secured": secured, "plain": plain}


def counted(split: dict[str, int], *calls: dict[str, Any]) -> dict[str, Any]:
    return {"split": split, "calls": list(calls), "unsecured": [], "silent": {}}


def told(**proxies: dict[str, Any]) -> dict[str, Any]:
    """What the module returns where these pods have these proxies; the counts of all together are not read here."""
    return counted({}) | {"proxies": proxies}


BEFORE = told(
    kept=counted({"relay": 10}, call("relay", 5, 1)),
    restarted=counted({"direct": 50}, call("mongodb", 2, 0, "connections")),
)
AFTER = told(
    kept=counted({"relay": 14}, call("relay", 9, 1)),
    restarted=counted({"direct": 20}, call("mongodb", 1, 0, "connections"), call("elsewhere", 3, 0)),
)


def test_a_run_is_the_difference_of_two_counts_and_a_proxy_that_restarted_began_anew() -> None:
    assert traffic.since(BEFORE, AFTER, WORKLOADS) == {
        "split": {"relay": 4, "direct": 20},
        "calls": [call("relay", 4, 0), call("mongodb", 1, 0, "connections")],
        "silent": {},
    }


def test_what_a_pod_counted_that_ended_meanwhile_is_not_known_and_is_not_taken_from_what_others_did() -> None:
    moved = told(
        new=counted({"relay": 14}, call("relay", 12, 0)), newer=counted({}, call("relay", 2, 0, "connections"))
    )
    run = traffic.since(BEFORE, moved, WORKLOADS)
    assert run == {
        "split": {"relay": 14},
        "calls": [call("relay", 12, 0)],
        "silent": {"kept": traffic.ENDED, "restarted": traffic.ENDED},
    }
    assert traffic.of_run(run).endswith(" Not counted: kept, restarted: it ended during the run.")


def test_without_a_first_count_all_of_the_second_is_the_runs() -> None:
    failed = {"failed": True, "msg": "no answer"}
    assert traffic.since(failed, AFTER, WORKLOADS)["split"] == {"relay": 14, "direct": 20}


def test_without_a_second_count_the_reason_is_told() -> None:
    run = traffic.since(BEFORE, {"failed": True, "msg": "no answer"}, WORKLOADS)
    assert run == {"split": {}, "calls": [], "silent": {"the mesh": "no answer"}}
    assert traffic.of_run(run) == "What the mesh counted is not known: the mesh: no answer"
    assert traffic.since(BEFORE, {}, WORKLOADS)["silent"] == {"the mesh": "it did not answer"}


def test_the_words_on_a_run_say_how_much_went_without_tls() -> None:
    run = traffic.since(BEFORE, AFTER, WORKLOADS)
    assert traffic.of_run(run) == (
        "Shared by the mesh, as its proxies counted: relay 4, direct 20; "
        "none of what the workloads sent each other was without mutual TLS."
    )
    assert "; 7 of what" in traffic.of_run(run | {"calls": [call("relay", 4, 7)]})


def test_the_words_on_all_so_far_name_the_workloads_own_calls() -> None:
    now = counted(
        {"relay": 14, "direct": 20}, call("relay", 9, 1), call("mongodb", 1, 0, "connections"), call("elsewhere", 3, 0)
    )
    assert traffic.so_far(now, WORKLOADS) == (
        "relay 14, direct 20 requests so far. "
        "With mutual TLS: ingress to relay 9 requests, ingress to mongodb 1 connections; "
        "without: ingress to relay 1 requests, none of them now."
    )
    assert traffic.so_far(counted({"relay": 1}, call("relay", 1, 0)), WORKLOADS).endswith("without: none.")


def test_what_is_connected_without_tls_and_what_is_silent_is_named() -> None:
    now = counted({}) | {"unsecured": [call("relay", 0, 0), call("elsewhere", 0, 0)], "silent": {"pod": "no proxy"}}
    assert traffic.without_tls(now, WORKLOADS) == ["ingress to relay"]
    assert traffic.silent(now) == ["pod: no proxy"]
