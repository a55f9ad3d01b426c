"""The page of all runs: each is there, whatever it has left, and the page needs nothing from elsewhere."""

import json
import re
import subprocess
import sys
from html import unescape
from xml.etree import ElementTree

import pytest

from helpers.machine import REPOSITORY
from loadgen.index import read_runs, write_index

SUMMARY = {
    "verdict": "pass",
    "started_at": "2026-11-24T04:00:00Z",
    "users": 100,
    "rate": 2.0,
    "duration_s": 60.0,
    "rps": 199.9,
    "failure_ratio": 0.001,
    "latency_ms": {"p50": 4.2, "p99": 23.4},
    "reconciliation": {"mongodb": {"missing": 0}, "redis": {"missing": 0}},
}


@pytest.fixture
def leave(tmp_path):
    """A function that leaves a run with a report and, unless that is None, a summary."""

    def leave_run(name, summary=SUMMARY, report=True):
        directory = tmp_path / name
        directory.mkdir()
        if report:
            (directory / "report.html").touch()
        if summary is not None:
            (directory / "summary.json").write_text(summary if isinstance(summary, str) else json.dumps(summary))

    return leave_run


def page_of(reports):
    return write_index(reports).read_text()


def rows_of(page):
    """The table's rows as words, the newest run first."""
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    return [" ".join(unescape(re.sub(r"<[^>]+>", " ", row)).split()) for row in body.split("</tr>") if row.strip()]


def charts_of(page):
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]  # noqa: S314 - ours


def test_a_run_is_listed_with_its_figures_and_a_link(leave, tmp_path):
    leave("20261124T040000Z-100u")
    page = page_of(tmp_path)
    assert rows_of(page) == ["1 2026-11-24 04:00:00 pass 100 2 60 200 4.2 23.4 0.1 % 0"]
    assert re.findall(r'href="([^"]+)"', page) == ["20261124T040000Z-100u/report.html"]


def test_the_newest_run_is_first_and_the_trend_goes_from_the_oldest(leave, tmp_path):
    for day, rps in ((23, 100.0), (25, 300.0), (24, 200.0)):
        summary = SUMMARY | {"started_at": f"2026-11-{day}T04:00:00Z", "rps": rps, "rate": 0}
        leave(f"202611{day}T040000Z-100u", summary)
    page = page_of(tmp_path)
    assert [row.split()[:3] for row in rows_of(page)] == [
        ["3", "2026-11-25", "04:00:00"],
        ["2", "2026-11-24", "04:00:00"],
        ["1", "2026-11-23", "04:00:00"],
    ]
    throughput, latency = charts_of(page)
    (line,) = throughput.findall("polyline")
    heights = [float(point.split(",")[1]) for point in line.get("points").split()]
    assert heights == sorted(heights, reverse=True), "more is higher"
    assert latency.get("aria-label") == "Latency by run. p50: 4.2 to 4.2 ms; p99: 23 to 23 ms"


def test_what_was_asked_for_is_charted_beside_what_was_answered(leave, tmp_path):
    leave("20261124T040000Z-100u")
    throughput, _ = charts_of(page_of(tmp_path))
    assert throughput.get("aria-label").endswith("requests/s: 200 to 200 requests/s; asked for: 200 to 200 requests/s")


@pytest.mark.parametrize("change", [{"shape": "spike"}, {"rate": 0}])
def test_nothing_is_said_to_be_asked_for_where_that_is_no_one_number(leave, tmp_path, change):
    leave("20261124T040000Z-100u", SUMMARY | change)
    throughput, _ = charts_of(page_of(tmp_path))
    assert "asked for" not in throughput.get("aria-label")


def test_a_load_that_is_not_constant_and_closed_is_named(leave, tmp_path):
    leave("20261124T040000Z-100u", SUMMARY | {"shape": "spike", "arrivals": "open"})
    assert rows_of(page_of(tmp_path))[0].startswith("1 2026-11-24 04:00:00 spike, open pass ")


def test_lost_notes_and_a_run_that_failed_stand_out(leave, tmp_path):
    lost = {"mongodb": {"missing": 1}, "redis": {"missing": 2}}
    leave("20261124T040000Z-100u", SUMMARY | {"verdict": "fail", "reconciliation": lost})
    page = page_of(tmp_path)
    assert '<span class="bad">fail</span>' in page
    assert '<span class="bad">3</span>' in page


def test_what_became_of_the_notes_may_not_be_known(leave, tmp_path):
    leave("20261124T040000Z-100u", SUMMARY | {"verdict": "fail", "reconciliation": None})
    assert rows_of(page_of(tmp_path))[0].endswith(" 0.1 % –")


@pytest.mark.parametrize("summary", [None, "", "{", "[]", "{}", '{"latency_ms": 3, "users": "many", "verdict": []}'])
def test_a_run_without_a_summary_that_can_be_read_is_listed_as_well(leave, tmp_path, summary):
    leave("20261123T040000Z-100u")
    leave("20261124T040000Z-100u", summary)
    page = page_of(tmp_path)
    assert rows_of(page)[0] == "2 2026-11-24 04:00:00 no summary – – – – – – – –"
    assert len(charts_of(page)) == 2


def test_a_run_whose_report_was_not_fetched_has_no_link(leave, tmp_path):
    leave("20261124T040000Z-100u", report=False)
    assert "href" not in page_of(tmp_path)


def test_without_a_run_there_is_a_page_that_says_so(tmp_path):
    page = page_of(tmp_path)
    assert "There is no run yet." in page
    assert charts_of(page) == []


def test_what_is_no_run_is_not_listed(leave, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "index.html").touch()
    leave("20261124T040000Z-100u")
    assert [run.directory for run in read_runs(tmp_path)] == ["20261124T040000Z-100u"]


def test_the_page_loads_nothing_and_takes_no_markup_from_a_run(leave, tmp_path):
    leave("20261124T040000Z-<b>", SUMMARY | {"started_at": "<script>"})
    page = page_of(tmp_path)
    assert not re.search(r"<script|<b>| src=|url\(|@import|https?:", page)
    assert 'href="20261124T040000Z-%3Cb%3E/report.html"' in page


def test_a_long_history_is_listed_whole_and_charted_in_part(leave, tmp_path):
    for number in range(130):
        leave(f"20261124T04{number:04d}Z-100u")
    page = page_of(tmp_path)
    assert len(rows_of(page)) == 130
    assert len(charts_of(page)[0].find("polyline").get("points").split()) == 120


def test_the_control_machine_writes_it_with_no_more_than_ansible_has(leave, tmp_path):
    """Of the load test's own libraries it has none: it must do without msgspec, hdrhistogram and locust."""
    leave("20261124T040000Z-100u")
    code = (
        "import sys, runpy; sys.modules.update(dict.fromkeys(['msgspec', 'hdrh', 'locust', 'gevent']));"
        f"sys.argv = ['index', {str(tmp_path)!r}]; runpy.run_module('loadgen.index', run_name='__main__')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(REPOSITORY / "services")})
    assert "2026-11-24 04:00:00" in (tmp_path / "index.html").read_text()
