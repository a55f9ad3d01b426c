"""How many notes there are of what: both databases side by side, and what is between them.

Redis counts what the direct route has stored, and what it has taken over from the other one because a client sent it
again: so it is compared with those notes in MongoDB.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from course.stored import OTHER
from reader.databases import MOST_TEXTS, Counted, instant

ROUTE = "route"
Row = dict[str, Any]


def counts(field: str, rows: Iterable[Mapping[str, Any]] | None, counted: Counted | None) -> Row:
    """The notes of each text of a field, as MongoDB (its rows) and Redis have counted them; None did not say.

    `counts` has a row for each text, those with the most first. A text that Redis counts with others, because it had
    no place for it, is not compared; its `other` is compared with all of these.
    """
    found = list(rows or ())
    complete = len(found) <= MOST_TEXTS
    every: dict[str, Counter[str]] = {field: Counter(), ROUTE: Counter()}
    direct: dict[str, Counter[str]] = {field: Counter(), ROUTE: Counter()}
    for row in found:
        category, text = row["_id"].get("category"), row["_id"].get("text")
        # Somebody else's document may have no such field, or something else in it.
        if isinstance(text, str):
            of = ROUTE if category == ROUTE else field
            every[of][text] += row["notes"]
            if row["_id"].get("counted"):
                direct[of][text] += row["notes"]
    in_redis = counted.by_field[field] if counted else {}
    lumped = {text for text in every[field] if text not in in_redis} if OTHER in in_redis else set()
    total = sum(every[field].values())

    def count(text: str) -> Row:
        redis = None if counted is None or text in lumped else in_redis.get(text, 0)
        here = direct[field][text]
        beside = here + (sum(direct[field][one] for one in lumped) if text == OTHER else 0)
        # What is beyond the longest answer, MongoDB has not told.
        told = rows is not None and (complete or here > 0)
        return {
            "text": text,
            "notes": every[field][text] if told else None,
            "share": round(every[field][text] / total, 6) if told and total else None,
            "mongodb_direct": here if told else None,
            "redis_direct": redis,
            "difference": beside - redis if told and redis is not None else None,
        }

    texts = [count(text) for text in dict.fromkeys([*every[field], *in_redis])]
    texts.sort(key=lambda row: (-(row["notes"] or 0), -(row["redis_direct"] or 0), row["text"]))
    routes = None if rows is None else every[ROUTE]
    both = totals(routes, sum(direct[ROUTE].values()), counted)
    return {"by": field, **both, "complete": complete, "counts": texts}


def totals(routes: Mapping[str, int] | None, in_both: int, counted: Counted | None) -> Row:
    """All notes, by route, and those that both databases count."""
    direct = None if routes is None else in_both
    redis = counted.total if counted else None
    all_notes = None if routes is None else {"notes": sum(routes.values()), "by_route": dict(sorted(routes.items()))}
    return {
        "mongodb": all_notes,
        "direct": {
            "mongodb": direct,
            "redis": redis,
            "difference": None if direct is None or redis is None else direct - redis,
        },
    }


class Minutes:
    """How many notes came in each minute, by route. A minute that is over is asked for once."""

    KEPT = 60
    LATE = timedelta(minutes=1)  # after the end of a minute, a note of it may still be on its way

    def __init__(self) -> None:
        self._over: dict[datetime, dict[str, int]] = {}
        self._open: dict[datetime, dict[str, int]] = {}
        self._next: datetime | None = None

    def since(self, now: datetime) -> datetime:
        """From where on MongoDB is to be asked."""
        first = minute_of(now) - timedelta(minutes=self.KEPT - 1)
        return max(first, self._next) if self._next else first

    def learn(self, since: datetime, now: datetime, rows: Iterable[Mapping[str, Any]]) -> list[Row]:
        """Takes what it answered, and returns all minutes up to now, the oldest first."""
        end = minute_of(now)
        over = minute_of(now - self.LATE)  # minutes before it get no more notes
        found: dict[datetime, dict[str, int]] = {}
        for row in rows:
            if isinstance(row.get(ROUTE), str):
                found.setdefault(row["minute"], {})[row[ROUTE]] = row["notes"]
        self._over |= {minute: routes for minute, routes in found.items() if since <= minute < over}
        self._next = max(over, since)
        first = end - timedelta(minutes=self.KEPT - 1)
        self._over = {minute: routes for minute, routes in self._over.items() if minute >= first}
        every = (first + timedelta(minutes=number) for number in range(self.KEPT))
        return [
            {"minute": instant(minute), "routes": dict(sorted((self._over | found).get(minute, {}).items()))}
            for minute in every
        ]


def minute_of(moment: datetime) -> datetime:
    """The beginning of its minute."""
    return moment.replace(second=0, microsecond=0)
