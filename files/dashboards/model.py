"""What a dashboard is made of, as data: panels, and the questions that they put to the data sources."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from grafana_foundation_sdk.models.dashboard import DataSourceRef

from course.stored import COLLECTION

# The uids are fixed: roles/grafana/templates/datasources.yml.j2 provisions them.
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="courseload-prometheus")
MONGODB = DataSourceRef(type_val="haohanyang-mongodb-datasource", uid="courseload-mongodb")
REDIS = DataSourceRef(type_val="redis-datasource", uid="courseload-redis")

Pipeline = Sequence[Mapping[str, Any]]


class Need(Enum):
    """What a panel needs that not every installation has; without it there is nothing to show."""

    LOAD_TEST = "a load test that runs, or ran in the time that is shown"
    POSTGRESQL = "PostgreSQL under FerretDB, as with image_source packages: nothing tells figures of MongoDB itself"
    KUBERNETES = "figures of Kubernetes (those of its kubelets), which only a cluster has"
    MESH = "figures of Linkerd's proxies, which only a cluster with a mesh has"


class Kind(Enum):
    """How a panel shows what it gets."""

    LINES = "lines over time"
    SHARES = "areas over time that add up to the whole"
    FIGURE = "large figures, the latest of each"
    BARS = "a bar for each row"
    TABLE = "a row for each row"


@dataclass(frozen=True)
class Query:
    """A question to a data source, in the terms of its plugin."""

    datasource: DataSourceRef
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A panel; the grid is 24 wide. `unit` is one of Grafana's.

    `shows` are the columns, in their order, where the answer has columns that do not come in one; `steps` are
    Grafana's transformations, by id and with their options, and come before that.
    """

    title: str
    kind: Kind
    unit: str
    queries: Sequence[Query]
    text: str
    width: int = 8
    height: int = 8
    shows: Sequence[str] = ()
    steps: Sequence[tuple[str, Mapping[str, Any]]] = ()
    limits: Sequence[tuple[float, str]] = ()  # from that value on, that colour
    highest: float | None = None
    decimals: int | None = None
    words: Mapping[int, tuple[str, str]] | None = None  # what a value means, and its colour
    needs: Need | None = None


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """A dashboard: its rows of panels by their titles. `since` and `refresh` are durations, as Grafana writes them."""

    uid: str
    title: str
    text: str
    since: str
    refresh: str
    rows: Mapping[str, Sequence[Panel]]

    def panels(self) -> dict[int, Panel]:
        """The panels by their ids; the rows' own are the hundreds."""
        numbered = enumerate(self.rows.values(), 1)
        return {100 * row + place: panel for row, panels in numbered for place, panel in enumerate(panels, 1)}


def promql(expression: str, legend: str) -> Query:
    """An expression over the time that is shown; `{{label}}` in the legend stands for the value of a label."""
    return Query(
        PROMETHEUS, {"expr": expression, "legendFormat": legend, "range": True, "instant": False, "editorMode": "code"}
    )


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
