"""What the panels of Grafana's dashboards ask, taken out of the JSON that Grafana reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import dashboards
from dashboards.model import Need
from helpers.machine import REPOSITORY

SHOWN_S = 600  # the time that is shown
GENERATED = REPOSITORY / "files/dashboards"

Panel = dict[str, Any]
Target = dict[str, Any]
Row = dict[str, Any]


def generated(name: str) -> dict[str, Any]:
    """A dashboard as Grafana reads it."""
    found: dict[str, Any] = json.loads((GENERATED / f"{name}.json").read_text())
    return found


def with_collapsed(dashboard: dict[str, Any]) -> Iterator[Panel]:
    """The rows and panels of a dashboard in their order; a collapsed row has its panels in itself."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def panels(name: str, need: Need | None) -> list[Panel]:
    """The panels of a dashboard that need that, and nothing else."""
    needs = {number: panel.needs for number, panel in dashboards.DASHBOARDS[name].panels().items()}
    found = with_collapsed(generated(name))
    asked = [panel for panel in found if panel["type"] != "row" and needs[panel["id"]] is need]
    assert asked
    return asked


def expression(target: Target) -> str:
    """A question to Prometheus with Grafana's variable filled in.

    What is asked of one moment only is put to all that is shown as well: a load test may have ended by now.
    """
    text: str = target["expr"].replace("$__rate_interval", "30s")
    assert "$" not in text, f"a variable that is not filled in: {text}"
    return text


def questions(name: str, text: str, **shown: str) -> list[str]:
    """What a question of a dashboard becomes with each choice of its variables; first with the defaults."""
    choices = {
        variable["name"]: [option["value"] for option in variable["options"]]
        for variable in generated(name)["templating"]["list"]
    }
    defaults = shown | {variable: values[0] for variable, values in choices.items()}
    chosen = [{variable: value} for variable, values in choices.items() for value in values[1:]]
    return list(dict.fromkeys(filled_in(text, defaults | other) for other in [{}, *chosen]))


def filled_in(text: str, values: dict[str, str]) -> str:
    """A text with the values of variables in place, as Grafana does it: anything after a `$` that is one's name."""
    return re.sub(
        r"\$(\w+)|\$\{(\w+)(?::\w+)?\}",
        lambda found: values.get(found[1] or found[2], found[0]),
        text,
    )


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
