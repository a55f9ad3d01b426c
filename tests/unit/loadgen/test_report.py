"""The report: one page that needs nothing beside it, says what was found, and survives odd runs."""

import csv
import re
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import msgspec
import pytest

from loadgen.attempted import Reported
from loadgen.charts import (
    MOST_POINTS,
    Axis,
    Limit,
    Line,
    LogAxis,
    TailAxis,
    latency_over_time,
    number,
    over_time,
    thin,
)
from loadgen.collector import Collector
from loadgen.figures import DatabaseSecond, RunFigures, WorkloadSecond
from loadgen.junit import Judged, junit_xml
from loadgen.mesh import Call, Mesh
from loadgen.pages import markdown
from loadgen.reconcile import Reconciled, ReconciledDocuments, Reconciliation, leave_unreconciled
from loadgen.report import write_report
from loadgen.settings import Objective, Settings, write_json
from loadgen.summary import Summary
from loadgen.verdict import Judgement, Verdict


class Page(HTMLParser):
    """The text of a page, and every address that it would load."""

    def __init__(self, html):
        super().__init__()
        self.text = ""
        self.addresses = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in {"src", "href", "srcset", "data"}]

    def handle_data(self, data):
        self.text += data


def words_of(directory):
    """The page's words, with a space wherever there is markup."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", directory.report.read_text())).split())


@pytest.fixture
def report(directory, make_report, make_second):
    """A function that reports on a run of some seconds and returns its summary and its page."""

    def make(seconds=12, errors=None, missing=0, reported=None, cpu_s=0.1, **found_in_mongodb):
        settings = msgspec.json.decode(directory.settings.read_bytes(), type=Settings)
        collector = Collector(settings, directory, 1000.0)
        for number_of in range(seconds):
            second = {1000 + number_of: make_second(relay=[5, 10], direct=[6, 12])}
            now = 1001.0 + number_of
            final = number_of == seconds - 1
            fields = {"seconds": second, "sent_at": now, "final": final, "requests_so_far": 4 * (number_of + 1)}
            fields["acknowledged"] = {"relay": bytes(2 * 12), "direct": bytes(2 * 12)}
            collector.take(make_report(number_of, errors=errors or {}, cpu_s=cpu_s, **fields), now=now)
        write_json(directory.load, collector.finish(1000.0 + seconds, 1000.0 + seconds))
        stored = 4 * seconds - missing
        found = ReconciledDocuments(4 * seconds, stored, missing, 0, 0, **found_in_mongodb)
        counted = Reconciled(2 * seconds, 2 * seconds, 0, 0, 0)
        write_json(directory.reconciliation, Reconciliation(found, counted, reported or Reported(4 * seconds)))
        return write_report(directory), Page(directory.report.read_text())

    return make


def test_the_page_loads_nothing(report, directory):
    _, page = report()
    assert page.addresses == []
    assert "url(" not in directory.report.read_text()
    assert "@import" not in directory.report.read_text()


def test_the_page_and_the_summary_agree(report, directory):
    summary, page = report()
    assert msgspec.json.decode(directory.summary.read_bytes(), type=Summary) == summary
    assert summary.verdict == "pass"
    assert "PASS" in page.text
    assert "48" in page.text


def test_reasons_stand_on_the_page(report):
    summary, page = report(missing=1)
    assert summary.verdict == "fail"
    assert summary.reasons[0] in page.text


def suites_of(directory):
    """JUnit's cases as {suite: {case: reason}}, having looked that the counts are those of the cases."""
    root = ElementTree.fromstring(directory.junit.read_bytes())  # noqa: S314 - it is ours
    for element in (root, *root):
        cases = list(element.iter("testcase"))
        assert int(element.get("tests")) == len(cases)
        assert int(element.get("failures")) == len([case for case in cases if case.find("failure") is not None])
    return {
        suite.get("name"): {case.get("name"): case.findtext("failure") for case in suite.iter("testcase")}
        for suite in root
    }


def test_each_judgement_of_a_run_that_passed_is_a_test_case_of_junit(report, directory):
    report()
    suites = suites_of(directory)
    assert list(suites) == ["notes", "objectives", "routes", "load generator"]
    assert suites["notes"].keys() >= {"notes are acknowledged", "no acknowledged note is missing in MongoDB"}
    assert suites["load generator"].keys() >= {"all users are at work", "Worker 1 (host) has CPU to spare"}
    assert {reason for cases in suites.values() for reason in cases.values()} == {None}


def test_a_reason_is_the_failure_of_one_test_case(report, directory):
    summary, _ = report(missing=1)
    failed = {name: reason for cases in suites_of(directory).values() for name, reason in cases.items() if reason}
    assert failed == {"no acknowledged note is missing in MongoDB": summary.reasons[0]}


def test_the_names_of_test_cases_do_not_depend_on_how_the_run_went(report, directory):
    report()
    passed = {of: list(cases) for of, cases in suites_of(directory).items()}
    report(missing=1, altered=2, appeared=1, cpu_s=0.95, reported=Reported(read=47, unread=1, repeated=2))
    assert {of: list(cases) for of, cases in suites_of(directory).items()} == passed


def test_warnings_are_the_output_of_junit_and_stand_in_the_summary_for_people(report, directory):
    summary, _ = report(cpu_s=0.87)
    root = ElementTree.fromstring(directory.junit.read_bytes())  # noqa: S314 - it is ours
    assert root.findtext("testsuite/system-out") == summary.warnings[0]
    assert "- Warning: Worker 1 (host) used 87% of its core" in directory.markdown.read_text()


def test_junit_is_well_formed_whatever_an_error_says(report, directory):
    summary, _ = report()
    verdict = Verdict([Judgement("notes", "a & b", "OSError: \x00\x1b <&\ufffe")])
    judged = Judged("load test", summary.started_at, summary.duration_s)
    directory.junit.write_bytes(junit_xml(judged, verdict.judgements, verdict.warnings))
    assert suites_of(directory) == {"notes": {"a & b": "OSError: ?? <&?"}}


def test_the_summary_for_people_has_the_verdict_and_its_tables(report, directory):
    report()
    lines = directory.markdown.read_text().splitlines()
    assert lines[0] == "# Load test: PASS"
    assert (
        lines[2]
        == "10 users, 2 requests a second and user, constant, closed arrivals, 12 s, from 1970-01-01T00:16:40Z."
    )
    assert "| p99 | at most 250 ms | 12 ms | met |" in lines
    assert "| relay | 24 | 50.0 % | 5 | 10 | 10 | 10 |" in lines
    assert "| all | 48 |  | 6 | 12 | 12 | 12 |" in lines
    assert "4 requests/s, 0 failed (0 %)." in lines
    assert "0 notes were lost." in lines
    assert all(above.startswith("|") or not above for above, line in pairwise(lines) if line.startswith("|--"))


def test_a_table_of_the_summary_for_people_has_no_gaps(report, directory):
    report()
    for table in re.findall(r"(?:^\|.*\n)+", directory.markdown.read_text(), re.MULTILINE):
        rows = table.splitlines()
        assert len(rows) >= 3
        assert len({row.count("|") for row in rows}) == 1


def test_reasons_stand_in_the_summary_for_people_as_they_are(report, directory):
    report(missing=1)
    text = directory.markdown.read_text()
    assert text.startswith("# Load test: FAIL\n")
    assert "- 1 of 48 acknowledged notes are missing in MongoDB: " in text
    assert "1 notes were lost." in text
    assert markdown("HTTP *503* `a|b` <b>&lt;\n_x_") == r"HTTP \*503\* \`a\|b\` \<b\>\&lt; \_x\_"


def test_a_run_after_which_a_database_is_away_has_a_report_of_all_the_rest(report, directory):
    report()
    leave_unreconciled(directory, "Redis did not answer for 60 s (ConnectionError)")
    summary = write_report(directory)
    page = Page(directory.report.read_text())
    assert (summary.verdict, summary.reconciliation) == ("fail", None)
    assert "Redis did not answer for 60 s" in page.text
    assert "Lost notes" in page.text
    assert "not known" in page.text
    assert "Whether notes were lost is not known." in directory.markdown.read_text()
    assert directory.missing.read_text().splitlines() == ["database,route,id"]
    assert directory.differences.read_text().splitlines() == ["kind,id,field,sent,stored"]


def test_how_near_its_limit_the_generator_was_is_on_the_page(report, directory):
    summary, _ = report(cpu_s=0.42)
    assert "The busiest worker used 42 % of its core in its busiest seconds, and it used 42 %" in words_of(directory)
    assert "Worker Requests CPU Busiest 5 s Waited Pause Last report 1 48 42 % 42 % 2 % 1 ms arrived" in words_of(
        directory
    )
    assert (summary.generator.busiest_cpu, summary.warnings) == (0.42, [])
    assert "Warning" not in words_of(directory)


def test_a_warning_stands_on_the_page_of_a_run_that_passed(report, directory):
    summary, _ = report(cpu_s=0.87)
    assert summary.verdict == "pass"
    assert f"Warning: {summary.warnings[0]}" in words_of(directory)
    assert msgspec.json.decode(directory.summary.read_bytes())["warnings"] == summary.warnings


def test_what_a_server_sends_cannot_become_markup(report, directory):
    report(errors={"<script>": {"<img src=x>": 1}})
    html = directory.report.read_text()
    assert "<script>" not in html
    assert "<img" not in html


@pytest.mark.parametrize("seconds", [1, 2, 3])
def test_a_run_of_a_few_seconds_has_a_report(report, seconds):
    summary, _ = report(seconds=seconds)
    assert summary.requests == 4 * seconds


def test_a_run_without_a_single_answer_has_a_report_that_meets_nothing(report, directory):
    summary, page = report(seconds=0)
    assert summary.verdict == "fail"
    assert "No note was acknowledged" in page.text
    words = words_of(directory)
    assert "p99 at most 250 ms – missed failure ratio at most 1 % – missed" in words
    assert "p50 – p99 – Failures 0" in words


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("altered", "with other texts than sent 2 –"),
        ("misrouted", "stored as another route's 2 –"),
        ("appeared", "not this run's, and new 2 –"),
        ("vanished", "there before, and gone 2 –"),
    ],
)
def test_each_kind_of_difference_is_on_the_page_and_in_the_summary(report, directory, kind, row):
    summary, page = report(**{kind: 2})
    assert row in words_of(directory)
    assert summary.reasons[0] in page.text
    assert msgspec.json.decode(directory.summary.read_bytes())["reconciliation"]["mongodb"][kind] == 2


def test_ids_that_do_not_add_up_are_on_the_page(report):
    summary, page = report(reported=Reported(read=47, unread=1))
    text = " ".join(page.text.split())
    assert "The workers reported 48 ids, of which 47 were read back (1 are not there" in text
    assert summary.verdict == "fail"


def test_ids_that_add_up_are_on_the_page_without_a_fuss(report):
    _, page = report()
    assert "The workers reported 48 ids, of which 48 were read back." in " ".join(page.text.split())


def test_the_previous_run_is_compared_with(report, directory):
    earlier, first_page = report()
    assert "There is no previous run" in first_page.text
    write_json(directory.previous, msgspec.structs.replace(earlier, rps=2.0))
    _, page = report()
    assert "+100% better" in page.text


def test_a_previous_summary_of_another_shape_is_passed_over(report, directory):
    directory.previous.write_text('{"verdict": "pass"}')
    _, page = report()
    assert "There is no previous run" in page.text


def test_the_baseline_stands_beside_the_run_in_all_that_is_left(report, directory):
    earlier, page = report()
    assert "baseline" not in page.text
    assert "baseline" not in directory.markdown.read_text()
    before = msgspec.structs.replace(earlier, latency_ms=msgspec.structs.replace(earlier.latency_ms, p99=6.0))
    write_json(directory.baseline_runs, [before] * 3)
    summary, page = report()
    assert summary.verdict == "fail"
    assert "Compared with the 3 runs of the baseline" in page.text
    assert "p99, ms 12 6 6.3 worse" in words_of(directory)
    assert "| p99 | 12 ms | 6 ms | 6.3 ms | **worse** |" in directory.markdown.read_text()
    assert suites_of(directory)["baseline"]["p99 is no worse than the baseline's"] == summary.reasons[0]
    assert msgspec.json.decode(directory.summary.read_bytes(), type=Summary) == summary


def limits_of(directory, title):
    return [text.text for text in chart_of(directory, title).findall("text") if "limit" in (text.get("class") or "")]


def test_each_chart_of_latency_has_the_limits_that_are_about_it(report, directory, settings):
    objectives = [("total", "p95", 100), ("total", "p99", 250), ("relay", "p99", 250), ("relay", "p99.9", 900)]
    asked = tuple(Objective(of=of, what=what, at_most=limit) for of, what, limit in objectives)
    write_json(directory.settings, msgspec.structs.replace(settings, objectives=asked))
    report()
    assert limits_of(directory, "Latency percentiles") == ["p95: at most 100 ms", "p99: at most 250 ms"]
    assert limits_of(directory, "p99 latency by route") == ["p99, p99 of relay: at most 250 ms"]
    assert len(limits_of(directory, "Latency distribution by route")) == 3


def test_limits_that_are_near_each_other_are_named_at_different_ends():
    line = Line("p99", "line-1", [(0, 1.0), (1, 2000.0)])
    svg = ElementTree.fromstring(latency_over_time("A", "ms", [line], [Limit("one", 500), Limit("two", 600)]))  # noqa: S314 - it is ours
    one, two = (text for text in svg.findall("text") if text.text in {"one", "two"})
    assert float(one.get("x", 0)) - float(two.get("x", 480)) > 400


def test_what_prometheus_knows_is_charted_and_in_the_data(report, directory, know):
    waits = [DatabaseSecond(second=5 * at, p99_seconds=0.004) for at in range(3)]
    know(
        {"relay": seconds(3, cpu_cores=0.5, memory_bytes=3 * 2**20, batch_notes=2, write_seconds=0.006)},
        {"relay to redis": waits},
    )
    _, page = report()
    charts = {svg.findtext("title"): svg.get("aria-label") for svg in charts_of(directory)}
    assert charts["CPU by workload"].endswith(". relay: 0.5 to 0.5 cores")
    assert charts["Memory by workload"].endswith(". relay: 3 to 3 MiB")
    assert charts["Notes per batch"].endswith(". relay: 2 to 2 notes")
    assert charts["p99 of a write"].endswith(". relay: 6 to 6 ms")
    assert charts["p99 of the databases"].endswith(". relay to redis: 4 to 4 ms")
    assert "What Prometheus saw" in page.text
    data = msgspec.json.decode(directory.data.read_bytes())
    assert [row["cpu_cores"] for row in data["workloads"]["relay"]] == [0.5, 0.5, 0.5]
    assert [row["p99_seconds"] for row in data["databases"]["relay to redis"]] == [0.004, 0.004, 0.004]


def seconds(count, **figures):
    return [WorkloadSecond(second=5 * at, **figures) for at in range(count)]


def counted(*replicas):
    return [WorkloadSecond(second=5 * at, replicas=count) for at, count in enumerate(replicas) if count]


@pytest.fixture
def know(directory):
    """A function that leaves figures as Prometheus told them."""

    def leave(workloads=(), databases=(), **fields):
        write_json(directory.figures, RunFigures(workloads=dict(workloads), databases=dict(databases), **fields))

    return leave


def test_workloads_are_there_as_csv(report, directory, know):
    know({"relay": seconds(2, cpu_cores=0.5), "ledger": seconds(1, replicas=1, memory_bytes=1000)})
    report()
    with (directory.path / "workloads.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["second", "workload", "replicas", "cpu_cores", "memory_bytes", "batch_notes", "write_seconds"],
        ["0", "relay", "", "0.5", "", "", ""],
        ["5", "relay", "", "0.5", "", "", ""],
        ["0", "ledger", "1", "", "1000.0", "", ""],
    ]


def test_the_range_of_a_routes_replicas_is_in_the_summary_and_on_the_page(report, know):
    know({"relay": counted(1, 2, 3), "direct": counted(2, 2, 2), "ledger": counted(1)})
    summary, page = report()
    assert {name: route.replicas for name, route in summary.routes.items()} == {"relay": (1, 3), "direct": (2, 2)}
    assert "relay1–3 replicas" in page.text


def test_where_there_was_one_of_each_no_replicas_are_told(report, know):
    know({"relay": counted(1, 1), "direct": counted(1, 1)})
    summary, page = report()
    assert summary.routes["relay"].replicas is None
    assert "replica" not in page.text.lower()


def test_without_prometheus_there_is_no_word_of_it(report):
    summary, page = report()
    assert summary.routes["relay"].replicas is None
    assert "Prometheus" not in page.text


def test_why_figures_are_missing_stands_on_the_page_and_in_the_data(report, directory, know):
    know(missing="It <never> answered.")
    _, page = report()
    assert "It <never> answered." in page.text
    assert "A figure every" not in page.text
    assert msgspec.json.decode(directory.data.read_bytes())["missing"] == "It <never> answered."


def test_every_workload_has_a_line_of_its_own(report, directory, know):
    names = ["relay", "direct", "ledger", "mongodb", "redis", "ingress"]
    know({name: counted(2, 2, 2) for name in names})
    report()
    chart = chart_of(directory, "Replicas")
    lines = chart.findall("polyline")
    assert len({line.get("class") for line in lines}) == len(names)
    assert len({line.get("points") for line in lines}) == len(names), "equal numbers do not hide each other"
    legend = {text.text: (float(text.get("x")), float(text.get("y"))) for text in chart.findall("text")}
    assert all(x + 7 * len(name) < 480 for name, (x, _) in legend.items() if name in names), "the legend has room"
    assert float(chart.get("viewBox").split()[3]) > max(y for _, y in legend.values())


def test_there_are_no_more_lines_than_can_be_told_apart_and_the_routes_are_among_them(report, directory, know):
    know({name: seconds(3, cpu_cores=0.5) for name in ["relay", "direct", *"abcdefgh"]})
    report()
    chart = chart_of(directory, "CPU by workload")
    assert len(chart.findall("polyline")) == 6
    assert {"relay", "direct"} <= {text.text for text in chart.findall("text")}


def test_a_workload_looks_the_same_in_every_chart(report, directory, know):
    workloads = {
        "relay": seconds(2, cpu_cores=0.1),
        "ledger": seconds(2, cpu_cores=0.1, batch_notes=2),
        "direct": seconds(2, batch_notes=2),
    }
    waits = [DatabaseSecond(second=at, p99_seconds=0.004) for at in (0, 5)]
    know(workloads, {"direct to mongodb": waits, "direct to redis": waits, "ledger to mongodb": waits})
    report()
    cpu = [line.get("class") for line in chart_of(directory, "CPU by workload").findall("polyline")]
    batches = [line.get("class") for line in chart_of(directory, "Notes per batch").findall("polyline")]
    databases = [line.get("class") for line in chart_of(directory, "p99 of the databases").findall("polyline")]
    assert cpu[1] == batches[0] == databases[2]
    assert batches[1] == databases[0]
    assert len(set(databases)) == 3


def test_a_workload_that_was_not_seen_for_a_while_has_a_gap(report, directory, know):
    know({"relay": counted(2, 2, None, 2, 2)})
    report()
    assert len(chart_of(directory, "Replicas").findall("polyline")) == 2


def test_a_figure_that_is_not_there_is_a_gap_too(report, directory, know):
    rows = seconds(5, cpu_cores=0.5)
    rows[2].cpu_cores = None
    know({"relay": rows})
    report()
    assert len(chart_of(directory, "CPU by workload").findall("polyline")) == 2


def test_a_workload_of_which_a_figure_is_not_known_has_no_line_of_it(report, directory, know):
    know({"relay": counted(2, 2)})
    report()
    assert "CPU by workload" not in {svg.findtext("title") for svg in charts_of(directory)}


def chart_of(directory, title):
    return next(svg for svg in charts_of(directory) if svg.findtext("title") == title)


def charts_of(directory):
    svgs = re.findall(r"<svg.*?</svg>", directory.report.read_text(), re.DOTALL)
    return [ElementTree.fromstring(svg) for svg in svgs]  # noqa: S314 - it is ours


def test_the_series_is_there_as_csv(report, directory):
    report()
    with (directory.path / "series.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {row["requests"] for row in rows} == {"4"}
    assert rows[0]["relay_requests"] == "2"


def test_every_chart_is_well_formed_and_has_a_title():
    line = Line("a <b>", "line-1", [(0, 1.0), (1, 2000.0), (2, 0.0)])
    for svg in (over_time("A & B", "x", [line]), latency_over_time("A & B", "ms", [line], [Limit("p99", 250)])):
        root = ElementTree.fromstring(svg)  # noqa: S314 - it is ours
        assert root.findtext("title") == "A & B"
        assert root.get("role") == "img"


@pytest.mark.parametrize("high", [1, 3, 10, 11])
def test_an_axis_of_whole_numbers_has_no_others(high):
    texts = [tick.text for tick in Axis(high, to_tick=True, whole=True).ticks()]
    assert all(text.isdigit() for text in texts)
    assert int(texts[-1]) >= high


@pytest.mark.parametrize("high", [0.3, 1, 7, 99, 100, 12345])
def test_an_axis_holds_its_highest_value_within_few_ticks(high):
    axis = Axis(high, to_tick=True)
    assert axis.place(high) <= 1
    assert 3 <= len(axis.ticks()) <= 6


def test_a_log_axis_covers_all_values_and_puts_zero_at_the_bottom():
    axis = LogAxis([0.4, 1800])
    assert [tick.text for tick in axis.ticks()] == ["0.1", "1", "10", "100", "1,000", "10k"]
    assert axis.place(0) == 0


def test_each_further_nine_takes_the_same_room():
    axis = TailAxis()
    steps = [axis.place(99.9) - axis.place(99), axis.place(99) - axis.place(90)]
    assert steps[0] == pytest.approx(steps[1])


def test_a_line_has_a_gap_where_there_is_no_value():
    points = [(0, 1.0), (1, 2.0), (2, None), (3, 1.0), (4, 1.0), (5, None), (6, 1.0)]
    svg = over_time("Latency", "ms", [Line("p99", "line-1", points)])
    assert svg.count("<polyline") == 2
    assert svg.count("<circle") == 1


def test_thinning_keeps_the_worst_or_the_mean():
    points = [(second, float(second % 2)) for second in range(4 * MOST_POINTS)]
    assert {y for _, y in thin(points, worst=True)} == {1.0}
    assert {y for _, y in thin(points, worst=False)} == {0.5}
    assert len(thin(points, worst=True)) <= MOST_POINTS


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.25, "0.25"), (12, "12"), (1500, "1,500"), (20_000, "20k")])
def test_numbers_are_written_short(value, text):
    assert number(value) == text


def test_the_page_says_who_shared_the_traffic(report, directory):
    _, page = report()
    assert "there is no mesh" in page.text
    calls = [Call("ingress", "relay", "requests", 24, 0), Call("ledger", "mongodb", "connections", 3, 1)]
    write_json(directory.mesh, Mesh({"relay": 24, "direct": 25}, calls, {"relay-x": "it has no proxy"}))
    _, page = report()
    text = " ".join(page.text.split())
    assert "Shared by the mesh: its proxies counted 24 requests to relay, 25 requests to direct." in text
    assert "ingress to relay 24 requests, ledger to mongodb 3 connections (1 without)." in text
    assert "relay-x was not counted: it has no proxy" in text
    assert "there is no mesh" not in text


def test_a_mesh_that_did_not_tell_is_no_reason_not_to_report(report, directory):
    write_json(directory.mesh, Mesh({}, [], {"the mesh": "no route to host"}))
    _, page = report()
    assert "the mesh was not counted: no route to host" in " ".join(page.text.split())
    assert "Shared by" not in page.text
