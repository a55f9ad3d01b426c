"""What a dashboard is made of, as data: panels, and the questions that they put to the data sources."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from grafana_foundation_sdk.models.dashboard import DataSourceRef

from course.stored import COLLECTION

# The uids are fixed: roles/grafana/templates/datasources.yml.j2 provisions them.
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="courseload-prometheus")
MONGODB = DataSourceRef(type_val="haohanyang-mongodb-datasource", uid="courseload-mongodb")
REDIS = DataSourceRef(type_val="redis-datasource", uid="courseload-redis")
MIXED = DataSourceRef(type_val="datasource", uid="-- Mixed --")  # Grafana's own: each question has its own source

Pipeline = Sequence[Mapping[str, Any]]


class Need(Enum):
    """What a panel needs that not every installation has; without it there is nothing to show."""

    LOAD_TEST = "a load test that runs, or ran in the time that is shown"
    RUNNING_TEST = "a load test that runs at the moment"
    POSTGRESQL = "PostgreSQL under FerretDB, as with image_source packages: nothing tells figures of MongoDB itself"
    KUBERNETES = "figures of Kubernetes (those of its kubelets), which only a cluster has"
    MESH = "figures of Linkerd's proxies, which only a cluster with a mesh has"


class Kind(Enum):
    """How a panel shows what it gets."""

    LINES = "lines over time"
    SHARES = "areas over time that add up to the whole"
    COLUMNS = "bars over time that stand on each other, and what they add up to"
    FIGURE = "large figures, the latest of each"
    BARS = "a bar for each row"
    PIE = "a slice for each row"
    TABLE = "a row for each row"


@dataclass(frozen=True)
class Query:
    """A question to a data source, in the terms of its plugin."""

    datasource: DataSourceRef
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A panel; the grid is 24 wide. `unit` is one of Grafana's, and `units` are those of single columns.

    `shows` are the columns, in their order, where the answer has columns that do not come in one; `hides` are those
    that it has besides, and `names` what columns are called. `steps` are Grafana's transformations, by id and with
    their options, and come before that. `empty` stands where there is no figure.
    """

    title: str
    kind: Kind
    unit: str
    queries: Sequence[Query]
    text: str
    width: int = 8
    height: int = 8
    units: Mapping[str, str] = field(default_factory=dict)
    shows: Sequence[str] = ()
    hides: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    steps: Sequence[tuple[str, Mapping[str, Any]]] = ()
    colour: str = "green"  # below all limits
    limits: Sequence[tuple[float, str]] = ()  # from that value on, that colour
    highest: float | None = None
    decimals: int | None = None
    empty: str | None = None
    words: Mapping[int, tuple[str, str]] | None = None  # what a value means, and its colour
    needs: Need | None = None


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A choice at the top of a dashboard, by its texts, the first of which is the default; `${name}` is its value.

    The name must be no word that a question has after a `$`: Grafana would put the value in its place.
    """

    name: str
    label: str
    choices: Mapping[str, str]
    free: bool = False  # whether another value may be typed


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """A dashboard: its rows of panels by their titles. `since` and `refresh` are durations, as Grafana writes them.

    The rows in `collapsed` show their panels, and ask for them, once somebody opens them.
    """

    uid: str
    title: str
    text: str
    since: str
    refresh: str
    rows: Mapping[str, Sequence[Panel]]
    collapsed: Collection[str] = ()
    variables: Sequence[Variable] = ()

    def panels(self) -> dict[int, Panel]:
        """The panels by their ids; the rows' own are the hundreds."""
        numbered = enumerate(self.rows.values(), 1)
        return {100 * row + place: panel for row, panels in numbered for place, panel in enumerate(panels, 1)}


def promql(expression: str, legend: str, step: str = "") -> Query:
    """An expression over the time that is shown; `{{label}}` in the legend stands for the value of a label.

    `$__rate_interval` in it is as long as the time between two points, and at least four scrapes, or four of `step`.
    """
    fields = {"expr": expression, "legendFormat": legend, "range": True, "instant": False, "editorMode": "code"}
    return Query(PROMETHEUS, fields | ({"interval": step} if step else {}))


def promql_now(expression: str, legend: str) -> Query:
    """An expression at the end of the time that is shown: over all of it, what is gone would still be seen."""
    return Query(
        PROMETHEUS, {"expr": expression, "legendFormat": legend, "range": False, "instant": True, "editorMode": "code"}
    )


def promql_table(expression: str) -> Query:
    """The same as rows, with a column for each label."""
    return Query(PROMETHEUS, {**promql_now(expression, "").fields, "format": "table"})


def pipeline(*stages: Mapping[str, Any], collection: str = COLLECTION) -> Query:
    """An aggregation pipeline; `$__from` and `$__to` in it stand for the time that is shown, in milliseconds."""
    text = json.dumps(stages, indent=2)
    return Query(MONGODB, {"collection": collection, "queryLanguage": "json", "queryText": text})


def redis_key(command: str, key: str) -> Query:
    """A command of one key, which gives one row."""
    return Query(REDIS, {"type": "command", "command": command, "keyName": key})


def redis_command(text: str) -> Query:
    """A command as one types it, whose answer is a column called Value."""
    return Query(REDIS, {"type": "cli", "query": text})
