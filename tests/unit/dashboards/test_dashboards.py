"""Grafana's dashboards by themselves: the JSON is what the code says, and hangs together.

Whether the questions in it have answers is seen in tests/system, where there is something to ask.
"""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from bson import json_util

import dashboards
from dashboards import routes
from dashboards.model import MIXED, MONGODB, PROMETHEUS, REDIS
from helpers.panels import filled_in, questions, with_collapsed

REPOSITORY = Path(dashboards.__file__).parents[2]
RULES = REPOSITORY / "roles/prometheus/templates/recording.yml.j2"
DATASOURCES = {source.uid: source.type_val for source in (PROMETHEUS, MONGODB, REDIS)}
FILES = {path.stem: json.loads(path.read_text()) for path in sorted(Path(dashboards.__file__).parent.glob("*.json"))}
ALL = {name: list(with_collapsed(dashboard)) for name, dashboard in FILES.items()}
PANELS: dict[str, dict[str, Any]] = {
    f"{name}: {panel['title']} ({panel['id']})": panel
    for name, panels in ALL.items()
    for panel in panels
    if panel["type"] != "row"
}
TARGETS = [target for panel in PANELS.values() for target in panel["targets"]]

of_each_dashboard = pytest.mark.parametrize("name", FILES)


def test_the_json_is_what_the_code_says() -> None:
    generated = dashboards.generated()
    assert {path.stem for path in generated} == FILES.keys()
    differing = [path.name for path, text in generated.items() if path.read_text(encoding="utf-8") != text]
    assert differing == [], "write them anew: PYTHONPATH=files:services .venv/bin/python -m dashboards"


def test_there_are_the_four_dashboards_each_under_a_uid_of_its_own() -> None:
    titles = {dashboard["uid"]: dashboard["title"] for dashboard in FILES.values()}
    assert sorted(titles.values()) == ["Cluster", "Course notes", "Load test", "Routes"]


@of_each_dashboard
def test_no_two_panels_have_the_same_id(name: str) -> None:
    ids = [panel["id"] for panel in ALL[name]]
    assert len(set(ids)) == len(ids) > 4


@of_each_dashboard
def test_no_two_panels_overlap_and_none_leaves_the_grid(name: str) -> None:
    places = {panel["id"]: panel["gridPos"] for panel in ALL[name]}
    overlapping = [
        (one, other)
        for (one, a), (other, b) in combinations(places.items(), 2)
        if a["x"] < b["x"] + b["w"]
        and b["x"] < a["x"] + a["w"]
        and a["y"] < b["y"] + b["h"]
        and b["y"] < a["y"] + a["h"]
    ]
    assert overlapping == []
    assert [panel for panel, place in places.items() if place["x"] + place["w"] > 24] == []


@of_each_dashboard
def test_no_row_is_empty(name: str) -> None:
    types = [panel["type"] for panel in ALL[name]]
    assert types[0] == "row"
    assert ("row", "row") not in zip(types, [*types[1:], "row"], strict=True)


def test_the_rows_that_one_machine_has_nothing_for_are_collapsed_and_hold_their_panels() -> None:
    rows = [panel for panel in FILES["cluster"]["panels"] if panel["type"] == "row"]
    assert [row["title"] for row in rows if row["collapsed"]] == ["Nodes and pods", "Mesh"]
    # Grafana drops what an open row holds, and never shows what a collapsed one does not.
    assert [row["title"] for row in rows if bool(row["panels"]) != row["collapsed"]] == []
    outside = {panel["id"] // 100 for panel in FILES["cluster"]["panels"] if panel["type"] != "row"}
    assert outside == {row["id"] // 100 for row in rows if not row["collapsed"]}


def test_every_panel_says_what_it_shows_and_in_which_unit() -> None:
    assert [name for name, panel in PANELS.items() if not panel["fieldConfig"]["defaults"].get("unit")] == []
    assert [name for name, panel in PANELS.items() if not panel.get("description", "").endswith(".")] == []


def test_every_question_goes_to_a_data_source_that_there_is() -> None:
    for name, panel in PANELS.items():
        asked = [target["datasource"] for target in panel["targets"]]
        assert [source for source in asked if DATASOURCES.get(source["uid"]) != source["type"]] == [], name
        # Grafana asks only one of them unless it is told that they are mixed.
        uids = {source["uid"] for source in asked}
        assert panel["datasource"]["uid"] == (uids.pop() if len(uids) == 1 else MIXED.uid), name


def test_no_question_of_a_panel_is_empty_or_without_a_name_of_its_own() -> None:
    for name, panel in PANELS.items():
        targets = panel["targets"]
        assert len({target["refId"] for target in targets}) == len(targets) > 0, name
        for target in targets:
            assert target.get("expr") or target.get("queryText") or target.get("query") or target.get("keyName"), name
            table = target.get("format") == "table"
            assert target["datasource"]["uid"] != PROMETHEUS.uid or table or target["legendFormat"], name


def test_a_figure_is_asked_for_as_it_is_now_and_a_line_as_it_was() -> None:
    asked = {
        name: {(target["instant"], target["range"]) for target in panel["targets"] if "expr" in target}
        for name, panel in PANELS.items()
    }
    assert {name for name, ways in asked.items() if (False, True) in ways} == {
        name for name, panel in PANELS.items() if asked[name] and panel["type"] == "timeseries"
    }
    assert {name for name, ways in asked.items() if (True, False) in ways} == {
        name for name, panel in PANELS.items() if asked[name] and panel["type"] in ("stat", "table")
    }


def test_no_peak_falls_between_two_points_of_a_line() -> None:
    windows = {
        window for target in TARGETS for window in re.findall(r"\[(.+?)\]", target.get("expr", "")) if target["range"]
    }
    assert windows == {"$__rate_interval", "10m"}  # the restarts in ten minutes, as their title says


def test_a_bar_begins_at_nothing_and_its_name_takes_no_unit() -> None:
    bars = [panel["fieldConfig"] for panel in PANELS.values() if panel["type"] == "bargauge"]
    assert len(bars) == 8
    for config in bars:
        assert config["defaults"]["min"] == 0
        (override,) = config["overrides"]
        assert override["matcher"] == {"id": "byType", "options": "string"}
        assert override["properties"] == [{"id": "unit", "value": "string"}]


def test_figures_that_are_to_be_compared_are_written_out() -> None:
    asked = {
        name: panel["fieldConfig"]["defaults"]["unit"]
        for name, panel in PANELS.items()
        if panel["type"] in ("stat", "bargauge", "piechart")
        and any(target["datasource"]["uid"] in (MONGODB.uid, REDIS.uid) for target in panel["targets"])
    }
    assert len(asked) == 12
    assert set(asked.values()) == {"locale"}


@pytest.mark.parametrize(
    ("days", "colour"), [(-1, "red"), (0, "red"), (6, "red"), (8, "orange"), (29, "orange"), (31, "green")]
)
def test_a_certificate_is_green_only_while_there_is_time(days: int, colour: str) -> None:
    (panel,) = (panel for name, panel in PANELS.items() if "Certificates" in name)
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    reached = [step["color"] for step in steps if step["value"] is None or step["value"] <= days * 86400]
    assert reached[-1] == colour


@of_each_dashboard
def test_a_variable_changes_only_what_names_it_in_braces(name: str) -> None:
    variables = [variable["name"] for variable in FILES[name]["templating"]["list"]]
    texts = [json.dumps(panel) for panel in FILES[name]["panels"]]
    named = {variable for text in texts for variable in re.findall(r"\$\{(\w+)", text)}
    assert named == set(variables)
    # Grafana would put its value in the place of a field or an operator of the same name.
    bare = {word for text in texts for word in re.findall(r"\$(\w+)", text)}
    assert bare & set(variables) == set()


def test_all_regions_are_shown_until_one_is_chosen() -> None:
    (panel,) = (panel for panel in ALL["course-notes"] if "by region: $" in panel["title"])
    everywhere, *regions = (
        json_util.loads(text)[1]["$match"]["$expr"]["$in"]
        for text in questions("course-notes", panel["targets"][0]["queryText"], __from="0", __to="1")
    )
    assert everywhere[0] in everywhere[1]
    assert ["NORTE", ["*", "$region"]] in regions
    assert all(chosen not in among for chosen, among in regions)


def test_a_category_is_chosen_by_the_field_of_a_note() -> None:
    (panel,) = (panel for panel in ALL["course-notes"] if panel["title"].startswith("Notes and share"))
    grouped = [
        json_util.loads(text)[0]["$group"]["_id"]
        for text in questions("course-notes", panel["targets"][0]["queryText"])
    ]
    assert grouped == ["$region", "$facultad", "$carrera", "$curso"]


def test_what_a_panel_needs_is_said_in_its_description() -> None:
    for name, described in dashboards.DASHBOARDS.items():
        texts = {panel["id"]: panel.get("description", "") for panel in ALL[name]}
        for number, panel in described.panels().items():
            assert panel.needs is None or panel.needs.value in texts[number], f"{name}: {panel.title}"


def test_every_rule_that_a_panel_asks_for_is_recorded() -> None:
    asked = {word for target in TARGETS for word in re.findall(r"\w+:\w+:\w+", target.get("expr", ""))}
    recorded = set(re.findall(r"record: (\S+)", RULES.read_text()))
    assert asked - recorded == set()
    assert len(asked) > 10


def test_a_pipeline_is_one_and_ends_with_the_columns_that_its_panel_shows() -> None:
    for name, panel in PANELS.items():
        for text in (target["queryText"] for target in panel["targets"] if "queryText" in target):
            stages = json_util.loads(filled_in(text, {"__from": "0", "__to": "1"}))
            (last,) = stages[-1].items()
            columns = {last[1]} if last[0] == "$count" else {name for name, kept in last[1].items() if kept}
            assert shown(panel), name
            assert shown(panel) <= columns, name


def shown(panel: dict[str, Any]) -> set[str]:
    """The columns that a panel puts into an order."""
    ordered = [step["options"]["indexByName"] for step in panel["transformations"] if step["id"] == "organize"]
    return {name for names in ordered for name in names}


def test_the_lines_drawn_are_the_limits_that_are_set() -> None:
    workloads = yaml.safe_load((REPOSITORY / "group_vars/all/workloads.yml").read_text())["workloads"]
    for name in ("relay", "direct"):
        scale = workloads[name]["scale"]
        assert (scale["cpu_percent"], scale["max"]) == (routes.CPU_TARGET * 100, routes.MOST)
    objectives = yaml.safe_load((REPOSITORY / "roles/settings/defaults/main/load_test.yml").read_text())
    assert objectives["slo_p99_ms"] == routes.SLOW_S * 1000
    assert objectives["slo_failure_ratio"] == routes.FAILING
