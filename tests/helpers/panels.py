"""What the panels of Grafana's dashboards ask, taken out of the JSON that Grafana reads."""

from __future__ import annotations

import json
import re
from typing import Any

import dashboards
from dashboards.model import Need
from helpers.machine import REPOSITORY

SHOWN_S = 600  # the time that is shown
GENERATED = REPOSITORY / "files/dashboards"

Panel = dict[str, Any]
Target = dict[str, Any]
Row = dict[str, Any]


def panels(name: str, need: Need | None) -> list[Panel]:
    """The panels of a dashboard that need that, and nothing else."""
    needs = {number: panel.needs for number, panel in dashboards.DASHBOARDS[name].panels().items()}
    found = json.loads((GENERATED / f"{name}.json").read_text())["panels"]
    asked = [panel for panel in found if panel["type"] != "row" and needs[panel["id"]] is need]
    assert asked
    return asked


def assert_prometheus_answers(panel: Panel, target: Target, rows: list[Row]) -> None:
    """There are rows, with the labels that the legend names, and with figures."""
    assert rows, f"no rows: {target['expr']}"
    labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
    for row in rows:
        assert labels <= row["metric"].keys(), f"the legend wants {labels}, and there is only {row['metric']}"
    assert any(value != "NaN" for row in rows for _, value in row["values"]), f"no figures: {target['expr']}"
    if "mappings" in panel["fieldConfig"]["defaults"]:
        (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
        values = {value for row in rows for _, value in row["values"]}
        assert values <= mapping["options"].keys(), f"no word for some of {values}"
