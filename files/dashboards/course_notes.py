"""Course notes: the notes themselves, as MongoDB and Redis have them side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from course import stored
from dashboards.model import Dashboard, Kind, Panel, pipeline, promql, redis_command, redis_key

# Neither database has an index for these questions: each reads every note that there is.
EVERY_NOTE = "It reads every note, so it costs a database that is large and under load."
TEXTS = {"region": "region", "facultad": "faculty", "carrera": "career", "curso": "course"}
MOST = 10
LATEST = 20

SHOWN_TIME: dict[str, Any] = {
    "$match": {
        "at": {
            "$gte": {"$date": {"$numberLong": "$__from"}},
            "$lte": {"$date": {"$numberLong": "$__to"}},
        }
    }
}


def side_by_side() -> Iterator[Panel]:
    """For each text of a note, how many have which: in MongoDB on the left, in Redis on the right."""
    for field, name in TEXTS.items():
        yield Panel(
            title=f"MongoDB, by {name}",
            kind=Kind.BARS,
            unit="short",
            text=f"The {MOST} of each {name} with the most notes, whichever route they took. {EVERY_NOTE}",
            width=12,
            queries=[
                pipeline(
                    {"$group": {"_id": f"${field}", "notes": {"$sum": 1}}},
                    {"$sort": {"notes": -1, "_id": 1}},
                    {"$limit": MOST},
                    {"$project": {"_id": 0, field: "$_id", "notes": 1}},
                )
            ],
            shows=[field, "notes"],
        )
        yield Panel(
            title=f"Redis, by {name}",
            kind=Kind.BARS,
            unit="short",
            text=f"The {MOST} of each {name} with the most notes, of the direct route, which alone counts in Redis.",
            width=12,
            queries=[redis_key("hgetall", f"{stored.COUNT}:{field}")],
            # Redis gives one row with a column for each; the bars are rows.
            steps=[
                ("reduce", {"reducers": ["lastNotNull"]}),
                ("sortBy", {"sort": [{"field": "Last *", "desc": True}]}),
                ("limit", {"limitField": MOST}),
            ],
        )


DASHBOARD = Dashboard(
    uid="courseload-notes",
    title="Course notes",
    text="The notes that were stored, and how fast they come.",
    since="15m",
    refresh="1m",
    rows={
        "How many": [
            Panel(
                title="In MongoDB",
                kind=Kind.FIGURE,
                unit="short",
                text=f"All notes, of both routes. {EVERY_NOTE}",
                width=6,
                height=4,
                queries=[pipeline({"$count": "notes"})],
                shows=["notes"],
            ),
            Panel(
                title="In MongoDB, of the direct route",
                kind=Kind.FIGURE,
                unit="short",
                text="To be compared with Redis, which has counted the same notes since it was last empty.",
                width=6,
                height=4,
                queries=[pipeline({"$match": {"route": "direct"}}, {"$count": "notes"})],
                shows=["notes"],
            ),
            Panel(
                title="Counted in Redis",
                kind=Kind.FIGURE,
                unit="short",
                text="Notes of the direct route, each counted once.",
                width=6,
                height=4,
                queries=[redis_key("get", stored.COUNT)],
            ),
            Panel(
                title="Notes a minute",
                kind=Kind.FIGURE,
                unit="short",
                decimals=0,
                text="Stored just now, by both routes.",
                width=6,
                height=4,
                queries=[promql("60 * sum(route:notes:rate30s)", "notes a minute")],
            ),
        ],
        "How fast": [
            Panel(
                title="Notes a minute, by route",
                kind=Kind.LINES,
                unit="short",
                text="As the services acknowledge them.",
                width=12,
                queries=[promql("60 * route:notes:rate30s", "{{route}}")],
            ),
            Panel(
                title="Notes of each minute, by route",
                kind=Kind.LINES,
                unit="short",
                text=f"As MongoDB has them. {EVERY_NOTE}",
                width=12,
                queries=[
                    pipeline(
                        SHOWN_TIME,
                        {
                            "$group": {
                                "_id": {"minute": {"$dateTrunc": {"date": "$at", "unit": "minute"}}, "route": "$route"},
                                "notes": {"$sum": 1},
                            }
                        },
                        {"$sort": {"_id.minute": 1}},
                        {"$project": {"_id": 0, "minute": "$_id.minute", "route": "$_id.route", "notes": 1}},
                    )
                ],
                steps=[("partitionByValues", {"fields": ["route"], "keepFields": False, "naming": {"asLabels": True}})],
                shows=["minute", "notes"],
            ),
        ],
        "The latest": [
            Panel(
                title="Latest notes in MongoDB",
                kind=Kind.TABLE,
                unit="string",
                text=f"Of both routes, in the time that is shown. {EVERY_NOTE}",
                width=12,
                height=10,
                queries=[
                    pipeline(
                        SHOWN_TIME,
                        {"$sort": {"at": -1, "_id": 1}},
                        {"$limit": LATEST},
                        {
                            "$project": {
                                "_id": 0,
                                "at": 1,
                                "route": 1,
                                **dict.fromkeys(TEXTS, 1),
                                "id": {"$toString": "$_id"},
                            }
                        },
                    )
                ],
                shows=["at", "route", *TEXTS, "id"],
            ),
            Panel(
                title="Latest notes in Redis",
                kind=Kind.TABLE,
                unit="string",
                text="Of the direct route: the head of the list in which Redis keeps the latest hundred.",
                width=12,
                height=10,
                queries=[redis_command(f"LRANGE {stored.LATEST} 0 {LATEST - 1}")],
                steps=[("extractFields", {"source": "Value", "format": "json", "replace": True})],
                shows=[*TEXTS, "id"],
            ),
        ],
        "MongoDB and Redis side by side": list(side_by_side()),
    },
)
