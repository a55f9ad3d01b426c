"""Questions to MongoDB about the notes, which the reader and Grafana's dashboards put in the same words."""

from collections.abc import Iterable
from typing import Any

Stage = dict[str, Any]

# The texts of a note, and how people are told of them.
TEXTS = {"region": "region", "facultad": "faculty", "carrera": "career", "curso": "course"}

# Which notes Redis counts: what direct has stored, and what it has taken over from the other route, which names a batch
# since. As a filter, and as an expression.
COUNTED: Stage = {"$or": [{"route": "direct"}, {"batch": {"$gt": ""}}]}
IS_COUNTED: Stage = {"$or": [{"$eq": ["$route", "direct"]}, {"$gt": ["$batch", ""]}]}


def notes_of_each_minute(field: str) -> list[Stage]:
    """How many notes of which text of a field came in each minute: `minute`, the field, and `notes`."""
    minute = {"$dateTrunc": {"date": "$at", "unit": "minute"}}
    return [
        {"$group": {"_id": {"minute": minute, field: f"${field}"}, "notes": {"$sum": 1}}},
        {"$sort": {"_id.minute": 1, f"_id.{field}": 1}},
        {"$project": {"_id": 0, "minute": "$_id.minute", field: f"$_id.{field}", "notes": 1}},
    ]


def notes_of_each_text(fields: Iterable[str], *also: str) -> list[Stage]:
    """How many notes have which text, of several fields at once.

    `_id` is the `category` (the field) and its `text`, with the fields in `also`. Each note is read once, and
    whatever comes after has only the few that differ.
    """
    wanted = list(fields)
    kept = {name: f"$_id.{name}" for name in also}
    texts = [{"category": TEXTS.get(name, name), "text": f"$_id.{name}", **kept} for name in wanted]
    return [
        {"$group": {"_id": {name: f"${name}" for name in dict.fromkeys([*wanted, *also])}, "notes": {"$sum": 1}}},
        {"$project": {"_id": 0, "text": texts, "notes": 1}},
        {"$unwind": "$text"},
        {"$group": {"_id": "$text", "notes": {"$sum": "$notes"}}},
    ]
