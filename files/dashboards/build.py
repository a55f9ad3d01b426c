"""Turns the data of a dashboard into Grafana's JSON, with Grafana's own library for that."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from grafana_foundation_sdk.builders import bargauge, common, dashboard, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.models import common as common_types
from grafana_foundation_sdk.models import dashboard as types

from dashboards.model import Dashboard, Kind, Panel, Query

PanelBuilder = timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel
NEUTRAL = "green"


class _Target(Builder[UnknownDataquery]):
    """A query with its name in its panel; plain fields, since the library does not know the plugins' queries."""

    def __init__(self, query: Query, ref_id: str) -> None:
        self._fields = {"datasource": query.datasource, "refId": ref_id, **query.fields}

    def build(self) -> UnknownDataquery:
        return UnknownDataquery(self._fields)


def as_json(described: Dashboard) -> str:
    """The dashboard as Grafana reads it."""
    built = (
        dashboard.Dashboard(described.title)
        .uid(described.uid)
        .description(described.text)
        .tags(["courseload"])
        .readonly()
        .time(f"now-{described.since}", "now")
        .timezone("browser")
        .refresh(described.refresh)
        .tooltip(types.DashboardCursorSync.CROSSHAIR)
        .annotations([])
        .variables([])
        .link(
            dashboard.DashboardLink("courseload")
            .type(types.DashboardLinkType.DASHBOARDS)
            .tags(["courseload"])
            .keep_time(True)
        )
    )
    panels = described.panels()
    for row, title in enumerate(described.rows, 1):
        built.with_row(dashboard.Row(title).id(100 * row))
        for number in (number for number in panels if number // 100 == row):
            built.with_panel(_panel(number, panels[number]))
    return json.dumps(built.build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _panel(number: int, panel: Panel) -> PanelBuilder:
    built = KINDS[panel.kind]()
    built.id(number).title(panel.title).datasource(panel.queries[0].datasource).unit(panel.unit)
    built.description(panel.text + (f" Needs {panel.needs.value}." if panel.needs else ""))
    built.span(panel.width).height(panel.height)
    for ref_id, query in zip("ABCDEFGH", panel.queries, strict=False):
        built.with_target(_Target(query, ref_id))
    for step, options in _steps(panel):
        built.with_transformation(types.DataTransformerConfig(id_val=step, options=dict(options)))
    if panel.highest is not None:
        built.min(0).max(panel.highest)
    if panel.decimals is not None:
        built.decimals(panel.decimals)
    if panel.words:
        built.mappings([_words(panel.words)])
    steps = [types.Threshold(value=None, color=NEUTRAL)]
    steps += [types.Threshold(value=value, color=color) for value, color in panel.limits]
    built.thresholds(dashboard.ThresholdsConfig().mode(types.ThresholdsMode.ABSOLUTE).steps(steps))
    if panel.limits and isinstance(built, timeseries.Panel):
        built.thresholds_style(common.GraphThresholdsStyleConfig().mode(common_types.GraphThresholdsStyleMode.DASHED))
    return built


def _steps(panel: Panel) -> list[tuple[str, dict[str, object]]]:
    """The panel's transformations, and last the one that gives its columns their order."""
    steps = [(step, dict(options)) for step, options in panel.steps]
    if panel.shows:
        order = {name: place for place, name in enumerate(panel.shows)}
        steps.append(("organize", {"indexByName": order, "excludeByName": {}, "renameByName": {}}))
    return steps


def _words(words: Mapping[int, tuple[str, str]]) -> types.ValueMap:
    values = enumerate(words.items())
    return types.ValueMap(
        {
            str(value): types.ValueMappingResult(text=text, color=color, index=place)
            for place, (value, (text, color)) in values
        }
    )


def _lines() -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(common_types.LegendDisplayMode.LIST)
    return (
        timeseries.Panel()
        .legend(legend.placement(common_types.LegendPlacement.BOTTOM).show_legend(True).calcs([]))
        .tooltip(common.VizTooltipOptions().mode(common_types.TooltipDisplayMode.MULTI))
        .show_points(common_types.VisibilityMode.NEVER)
        .axis_soft_min(0)
    )


def _shares() -> timeseries.Panel:
    stacked = common.StackingConfig().mode(common_types.StackingMode.PERCENT)
    return _lines().fill_opacity(40).stacking(stacked)


def _figure() -> stat.Panel:
    return (
        stat.Panel()
        .color_mode(common_types.BigValueColorMode.VALUE)
        .graph_mode(common_types.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    )


def _bars() -> bargauge.Panel:
    return (
        bargauge.Panel()
        .orientation(common_types.VizOrientation.HORIZONTAL)
        .display_mode(common_types.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(True))
    )


def _table() -> table.Panel:
    return table.Panel().override_by_name("at", [types.DynamicConfigValue(id_val="unit", value="dateTimeAsIso")])


KINDS: dict[Kind, Callable[[], PanelBuilder]] = {
    Kind.LINES: _lines,
    Kind.SHARES: _shares,
    Kind.FIGURE: _figure,
    Kind.BARS: _bars,
    Kind.TABLE: _table,
}
