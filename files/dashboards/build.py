"""Turns the data of a dashboard into Grafana's JSON, with Grafana's own library for that."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from grafana_foundation_sdk.builders import bargauge, common, dashboard, piechart, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.models import common as common_types
from grafana_foundation_sdk.models import dashboard as types
from grafana_foundation_sdk.models import piechart as pie_types

from dashboards.model import MIXED, Dashboard, Kind, Panel, Query, Variable

PanelBuilder = timeseries.Panel | stat.Panel | bargauge.Panel | piechart.Panel | table.Panel


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
        .variables([_variable(variable) for variable in described.variables])
        .link(
            dashboard.DashboardLink("courseload")
            .type(types.DashboardLinkType.DASHBOARDS)
            .tags(["courseload"])
            .keep_time(True)
        )
    )
    panels = described.panels()
    for place, title in enumerate(described.rows, 1):
        row = dashboard.Row(title).id(100 * place)
        inside = [_panel(number, panel) for number, panel in panels.items() if number // 100 == place]
        if title in described.collapsed:
            for panel in inside:
                row.with_panel(panel)
            built.with_row(row)
        else:
            built.with_row(row)
            for panel in inside:
                built.with_panel(panel)
    return json.dumps(built.build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _variable(variable: Variable) -> dashboard.CustomVariable:
    options = [
        types.VariableOption(selected=place == 0, text=text, value=value)
        for place, (text, value) in enumerate(variable.choices.items())
    ]
    return (
        dashboard.CustomVariable(variable.name)
        .label(variable.label)
        .values(", ".join(f"{text} : {value}" for text, value in variable.choices.items()))
        .options(options)
        .current(options[0])
        .allow_custom_value(variable.free)
    )


def _panel(number: int, panel: Panel) -> PanelBuilder:
    built = KINDS[panel.kind]()
    built.id(number).title(panel.title).datasource(_source(panel)).unit(panel.unit)
    built.description(panel.text + (f" Needs {panel.needs.value}." if panel.needs else ""))
    built.span(panel.width).height(panel.height)
    for ref_id, query in zip("ABCDEFGH", panel.queries, strict=False):
        built.with_target(_Target(query, ref_id))
    for step, options in _steps(panel):
        built.with_transformation(types.DataTransformerConfig(id_val=step, options=dict(options)))
    for column, unit in panel.units.items():
        built.override_by_name(column, [types.DynamicConfigValue(id_val="unit", value=unit)])
    if panel.highest is not None:
        built.min(0).max(panel.highest)
    if panel.decimals is not None:
        built.decimals(panel.decimals)
    if panel.empty is not None:
        built.no_value(panel.empty)
    if panel.words:
        built.mappings([_words(panel.words)])
    steps = [types.Threshold(value=None, color=panel.colour)]
    steps += [types.Threshold(value=value, color=color) for value, color in panel.limits]
    built.thresholds(dashboard.ThresholdsConfig().mode(types.ThresholdsMode.ABSOLUTE).steps(steps))
    if panel.limits and isinstance(built, timeseries.Panel):
        built.thresholds_style(common.GraphThresholdsStyleConfig().mode(common_types.GraphThresholdsStyleMode.DASHED))
    return built


def _source(panel: Panel) -> types.DataSourceRef:
    """The source that all questions of a panel go to, or the one that asks several."""
    source = panel.queries[0].datasource
    return source if all(query.datasource is source for query in panel.queries) else MIXED


def _steps(panel: Panel) -> list[tuple[str, dict[str, object]]]:
    """The panel's transformations, and last the one that gives its columns their order."""
    steps = [(step, dict(options)) for step, options in panel.steps]
    if panel.shows:
        order = {name: place for place, name in enumerate(panel.shows)}
        hidden = dict.fromkeys(panel.hides, True)
        steps.append(("organize", {"indexByName": order, "excludeByName": hidden, "renameByName": dict(panel.names)}))
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
    tooltip = common.VizTooltipOptions().mode(common_types.TooltipDisplayMode.MULTI)
    return (
        timeseries.Panel()
        .legend(_legend(common_types.LegendDisplayMode.LIST, []))
        .tooltip(tooltip.sort(common_types.SortOrder.DESCENDING))
        # A figure without a neighbour makes no line.
        .show_points(common_types.VisibilityMode.AUTO)
        .axis_soft_min(0)
    )


def _legend(mode: common_types.LegendDisplayMode, calcs: list[str]) -> common.VizLegendOptions:
    legend = common.VizLegendOptions().display_mode(mode).calcs(calcs)
    return legend.placement(common_types.LegendPlacement.BOTTOM).show_legend(True)


def _shares() -> timeseries.Panel:
    stacked = common.StackingConfig().mode(common_types.StackingMode.PERCENT)
    return _lines().fill_opacity(40).stacking(stacked)


def _columns() -> timeseries.Panel:
    return (
        _lines()
        .draw_style(common_types.GraphDrawStyle.BARS)
        .fill_opacity(60)
        .stacking(common.StackingConfig().mode(common_types.StackingMode.NORMAL))
        .legend(_legend(common_types.LegendDisplayMode.TABLE, ["min", "mean", "max", "sum"]))
    )


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
        # Otherwise the smallest that is shown has no bar.
        .min(0)
        # A course may be called 2000, and is no number for that.
        .override_by_field_type("string", [types.DynamicConfigValue(id_val="unit", value="string")])
    )


def _pie() -> piechart.Panel:
    legend = piechart.PieChartLegendOptions().display_mode(common_types.LegendDisplayMode.TABLE).show_legend(True)
    return (
        piechart.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(True))
        .display_labels([pie_types.PieChartLabels.NAME, pie_types.PieChartLabels.PERCENT])
        .legend(
            legend.placement(common_types.LegendPlacement.BOTTOM).values(
                [pie_types.PieChartLegendValues.VALUE, pie_types.PieChartLegendValues.PERCENT]
            )
        )
    )


KINDS: dict[Kind, Callable[[], PanelBuilder]] = {
    Kind.LINES: _lines,
    Kind.SHARES: _shares,
    Kind.COLUMNS: _columns,
    Kind.FIGURE: _figure,
    Kind.BARS: _bars,
    Kind.PIE: _pie,
    Kind.TABLE: table.Panel,
}
