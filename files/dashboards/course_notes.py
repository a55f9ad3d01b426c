"""Course notes: the notes themselves, as MongoDB and Redis have them side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from course import stored
from course.questions import COUNTED, TEXTS, notes_of_each_minute, notes_of_each_text
from dashboards.model import (
    Dashboard,
    Kind,
    Panel,
    Variable,
    pipeline,
    promql,
    promql_now,
    redis_command,
    redis_key,
)
from loadgen.pool import REGIONS

# Neither database has an index for these questions: each reads every note that there is.
EVERY_NOTE = "It reads every note, so it costs a database that is large and under load."
MOST = 10
LATEST = 10

EVERYWHERE = "*"
MINE = Variable(
    name="mine",
    label="Region",
    choices={"all regions": EVERYWHERE, **{region: region for region in REGIONS}},
    free=True,
)
CATEGORY = Variable(name="by", label="Category", choices={name: field for field, name in TEXTS.items()})

SHOWN_TIME: dict[str, Any] = {
    "$match": {
        "at": {
            "$gte": {"$date": {"$numberLong": "$__from"}},
            "$lte": {"$date": {"$numberLong": "$__to"}},
        }
    }
}
OF_DIRECT: dict[str, Any] = {"$match": COUNTED}


def notes_by(field: str, *stages: dict[str, Any]) -> list[dict[str, Any]]:
    """Stages of a pipeline that count notes by a field; those given come between, while it is `_id`."""
    return [
        {"$group": {"_id": f"${field}", "notes": {"$sum": 1}}},
        *stages,
        {"$project": {"_id": 0, field: "$_id", "notes": 1}},
    ]


def how_many() -> Iterator[Panel]:
    """Totals, and whether the two databases agree."""
    yield Panel(
        title="In MongoDB",
        kind=Kind.FIGURE,
        unit="locale",
        text=f"All notes, of both routes. {EVERY_NOTE}",
        width=5,
        height=4,
        queries=[pipeline({"$count": "notes"})],
        shows=["notes"],
        empty="0",
    )
    yield Panel(
        title="In the time shown",
        kind=Kind.FIGURE,
        unit="locale",
        text=f"Notes in MongoDB that came in the time that is shown, by both routes. {EVERY_NOTE}",
        width=5,
        height=4,
        queries=[pipeline(SHOWN_TIME, {"$count": "notes"})],
        shows=["notes"],
        empty="0",
    )
    yield Panel(
        title="Of the direct route, in both databases",
        kind=Kind.FIGURE,
        unit="locale",
        text="What Redis has counted since it was last empty, beside MongoDB. The difference is 0 while no notes come: "
        f"otherwise there are those that came between the two questions. {EVERY_NOTE}",
        width=10,
        height=4,
        queries=[pipeline(OF_DIRECT, {"$count": "notes"}), redis_key("get", stored.COUNT)],
        # Both answers as columns of one row, and a third for what is between them.
        steps=[
            ("concatenate", {"frameNameMode": "drop"}),
            (
                "calculateField",
                {
                    "mode": "binary",
                    "binary": {"left": _column("notes"), "operator": "-", "right": _column("Value")},
                    "alias": "difference",
                    "replaceFields": False,
                },
            ),
        ],
        shows=["notes"],
        names={"notes": "MongoDB", "Value": "Redis"},
        empty="0",
    )
    yield Panel(
        title="Notes a minute",
        kind=Kind.FIGURE,
        unit="short",
        decimals=0,
        text="Stored just now, by both routes.",
        width=4,
        height=4,
        queries=[promql_now("60 * sum(route:notes:rate30s)", "notes a minute")],
    )


def _column(name: str) -> dict[str, Any]:
    return {"matcher": {"id": "byName", "options": name}}


def split() -> Iterator[Panel]:
    """Which route the notes took."""
    yield Panel(
        title="Notes by route, in the time shown",
        kind=Kind.PIE,
        unit="locale",
        text=f"As MongoDB has them. The weights are the setting routes. {EVERY_NOTE}",
        queries=[pipeline(SHOWN_TIME, *notes_by("route", {"$sort": {"_id": 1}}))],
        shows=["route", "notes"],
    )
    yield Panel(
        title="Share of the notes, by route",
        kind=Kind.SHARES,
        unit="percentunit",
        text="Of the notes that the services acknowledge.",
        queries=[
            promql("route:notes:rate30s / on () group_left () (sum(route:notes:rate30s) > 0)", "{{route}}"),
        ],
    )
    yield Panel(
        title="Notes a minute, by route",
        kind=Kind.LINES,
        unit="short",
        text="As the services acknowledge them.",
        queries=[promql("60 * route:notes:rate30s", "{{route}}")],
    )
    yield of_each_minute("Notes of each minute, by route", "", "route", width=24)


def of_each_minute(title: str, text: str, field: str, *which: dict[str, Any], width: int) -> Panel:
    """Notes in the time that is shown, by a field of theirs."""
    return Panel(
        title=title,
        kind=Kind.COLUMNS,
        unit="short",
        text=f"As MongoDB has them; the totals are of the time that is shown. {text}{EVERY_NOTE}",
        width=width,
        height=10,
        queries=[pipeline(SHOWN_TIME, *which, *notes_of_each_minute(field))],
        steps=[("partitionByValues", {"fields": [field], "keepFields": False, "naming": {"asLabels": True}})],
        shows=["minute", "notes"],
    )


def most_and_least() -> Panel:
    """What has the most notes and the fewest, a row for each category."""
    ends = ("most", "least")
    by_category = {"different": {"$sum": 1}, "notes": {"$sum": "$notes"}}
    shown: dict[str, Any] = {"category": "$_id", "different": 1}
    for end, pick in zip(ends, ("$first", "$last"), strict=True):
        by_category |= {end: {pick: "$_id.text"}, f"{end}_notes": {pick: "$notes"}}
        shown |= {end: 1, f"{end}_notes": 1, f"{end}_share": {"$divide": [f"${end}_notes", "$notes"]}}
    return Panel(
        title="Most and least",
        kind=Kind.TABLE,
        unit="string",
        text="Of all notes, of both routes: how many different regions, faculties, careers and courses they name, and "
        f"which of each has the most and the fewest. {EVERY_NOTE}",
        width=24,
        height=6,
        queries=[
            pipeline(
                *notes_of_each_text(TEXTS),
                {"$sort": {"notes": -1, "_id.text": 1}},
                {"$group": {"_id": "$_id.category", **by_category}},
                {"$sort": {"_id": 1}},
                {"$project": {"_id": 0, **shown}},
            )
        ],
        units={"different": "locale"}
        | {f"{end}_notes": "locale" for end in ends}
        | {f"{end}_share": "percentunit" for end in ends},
        shows=list(shown),
        names={f"{end}_{of}": f"{end}: {of}" for end in ends for of in ("notes", "share")},
    )


def shares() -> Panel:
    """The notes of each text, and their part of all."""
    return Panel(
        title=f"Notes and share, by ${{{CATEGORY.name}:text}}",
        kind=Kind.TABLE,
        unit="string",
        text=f"Of all notes, of both routes. The category is chosen at the top. {EVERY_NOTE}",
        width=12,
        height=10,
        queries=[
            pipeline(
                {"$group": {"_id": f"$${{{CATEGORY.name}}}", "notes": {"$sum": 1}}},
                {"$sort": {"notes": -1, "_id": 1}},
                {
                    "$group": {
                        "_id": None,
                        "total": {"$sum": "$notes"},
                        "each": {"$push": {"text": "$_id", "notes": "$notes"}},
                    }
                },
                {"$unwind": "$each"},
                {
                    "$project": {
                        "_id": 0,
                        "text": "$each.text",
                        "notes": "$each.notes",
                        "share": {"$divide": ["$each.notes", "$total"]},
                    }
                },
            )
        ],
        units={"notes": "locale", "share": "percentunit"},
        shows=["text", "notes", "share"],
    )


def by_region() -> Panel:
    """One's own region over time, or all of them."""
    return of_each_minute(
        f"Notes of each minute, by region: ${{{MINE.name}:text}}",
        "The region is chosen at the top; one that is not there can be typed. ",
        "region",
        {"$match": {"$expr": {"$in": [f"${{{MINE.name}}}", [EVERYWHERE, "$region"]]}}},
        width=12,
    )


def latest() -> Iterator[Panel]:
    """The notes that came last, in the width that their columns need."""
    yield Panel(
        title="Latest notes in MongoDB",
        kind=Kind.TABLE,
        unit="string",
        text=f"Of both routes, in the time that is shown. {EVERY_NOTE}",
        width=24,
        height=12,
        queries=[
            pipeline(
                SHOWN_TIME,
                {"$sort": {"at": -1, "_id": 1}},
                {"$limit": LATEST},
                {"$project": {"_id": 0, "at": 1, "route": 1, **dict.fromkeys(TEXTS, 1), "id": {"$toString": "$_id"}}},
            )
        ],
        units={"at": "dateTimeAsIso"},
        shows=["at", "route", *TEXTS, "id"],
    )
    yield Panel(
        title="Latest notes in Redis",
        kind=Kind.TABLE,
        unit="string",
        text="Of the direct route: the head of the list in which Redis keeps the latest hundred.",
        width=24,
        height=12,
        queries=[redis_command(f"LRANGE {stored.LATEST} 0 {LATEST - 1}")],
        steps=[("extractFields", {"source": "Value", "format": "json", "replace": True})],
        shows=[*TEXTS, "id"],
    )


def side_by_side() -> Iterator[Panel]:
    """How many notes of the direct route have which text: in MongoDB on the left, in Redis on the right."""
    for field, name in TEXTS.items():
        yield Panel(
            title=f"MongoDB, by {name}",
            kind=Kind.BARS,
            unit="locale",
            text=f"The {MOST} of each {name} with the most notes, of the direct route, to be compared. {EVERY_NOTE}",
            width=12,
            queries=[
                pipeline(OF_DIRECT, *notes_by(field, {"$sort": {"notes": -1, "_id": 1}}, {"$limit": MOST})),
            ],
            shows=[field, "notes"],
        )
        yield Panel(
            title=f"Redis, by {name}",
            kind=Kind.BARS,
            unit="locale",
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
    text="The notes that were stored, which route they took, and how fast they come.",
    since="15m",
    refresh="1m",
    variables=[MINE, CATEGORY],
    rows={
        "How many": list(how_many()),
        "Which route": list(split()),
        "Which region, faculty, career and course": [most_and_least(), shares(), by_region()],
        "The latest": list(latest()),
        "The direct route in MongoDB and Redis, side by side": list(side_by_side()),
    },
)
