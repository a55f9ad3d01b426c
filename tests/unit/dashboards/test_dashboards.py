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
from dashboards.model import MONGODB, PROMETHEUS, REDIS

REPOSITORY = Path(dashboards.__file__).parents[2]
RULES = REPOSITORY / "roles/prometheus/templates/recording.yml.j2"
DATASOURCES = {source.uid: source.type_val for source in (PROMETHEUS, MONGODB, REDIS)}
FILES = {path.stem: json.loads(path.read_text()) for path in sorted(Path(dashboards.__file__).parent.glob("*.json"))}
PANELS: dict[str, dict[str, Any]] = {
    f"{name}: {panel['title']} ({panel['id']})": panel
    for name, dashboard in FILES.items()
    for panel in dashboard["panels"]
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
    ids = [panel["id"] for panel in FILES[name]["panels"]]
    assert len(set(ids)) == len(ids) > 4


@of_each_dashboard
def test_no_two_panels_overlap_and_none_leaves_the_grid(name: str) -> None:
    places = {panel["id"]: panel["gridPos"] for panel in FILES[name]["panels"]}
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
    types = [panel["type"] for panel in FILES[name]["panels"]]
    assert types[0] == "row"
    assert ("row", "row") not in zip(types, [*types[1:], "row"], strict=True)


def test_every_panel_says_what_it_shows_and_in_which_unit() -> None:
    assert [name for name, panel in PANELS.items() if not panel["fieldConfig"]["defaults"].get("unit")] == []
    assert [name for name, panel in PANELS.items() if not panel.get("description", "").endswith(".")] == []


def test_every_panel_asks_one_data_source_and_one_that_there_is() -> None:
    for name, panel in PANELS.items():
        asked = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert [source for source in asked if DATASOURCES.get(source["uid"]) != source["type"]] == [], name
        # Grafana asks only one of them unless it is told that they are mixed.
        assert len({source["uid"] for source in asked}) == 1, name


def test_no_question_of_a_panel_is_empty_or_without_a_name_of_its_own() -> None:
    for name, panel in PANELS.items():
        targets = panel["targets"]
        assert len({target["refId"] for target in targets}) == len(targets) > 0, name
        for target in targets:
            assert target.get("expr") or target.get("queryText") or target.get("query") or target.get("keyName"), name
            assert target["datasource"]["uid"] != PROMETHEUS.uid or target["legendFormat"], name


def test_what_a_panel_needs_is_said_in_its_description() -> None:
    for name, described in dashboards.DASHBOARDS.items():
        texts = {panel["id"]: panel.get("description", "") for panel in FILES[name]["panels"]}
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
            stages = json_util.loads(text.replace("$__from", "0").replace("$__to", "1"))
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
