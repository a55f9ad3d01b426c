"""A fake of Prometheus: answers range queries over HTTP with what a test has told it of each series."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from helpers.http_server import serving


class FakePrometheus:
    """Its series, and what it was asked: `asked` has the parameters of each question."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.instead: tuple[int, bytes] | None = None  # a status and a body for whatever is asked
        self._series: dict[str, list[tuple[dict[str, str], list[str | None]]]] = {}

    def tell(self, name: str, labels: dict[str, str], *values: float | str | None) -> None:
        """The values of one series, from the start of any question on, a step apart; None is a time without one."""
        texts = [None if value is None else str(value) for value in values]
        self._series.setdefault(name, []).append((labels, texts))

    def answer(self, path: str) -> tuple[int, bytes]:
        """The status and the body for a GET."""
        url = urlsplit(path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.asked.append(asked)
        if self.instead:
            return self.instead
        if url.path != "/api/v1/query_range":
            return 404, b""
        series = self._series.get(asked["query"].split()[0], [])
        result = [{"metric": labels, "values": list(_values(texts, asked))} for labels, texts in series]
        data = {"resultType": "matrix", "result": [row for row in result if row["values"]]}
        return 200, json.dumps({"status": "success", "data": data}).encode()

    @contextmanager
    def server(self) -> Iterator[str]:
        """Its base URL."""
        with serving(lambda exchange: exchange.reply(*self.answer(exchange.path))) as port:
            yield f"http://127.0.0.1:{port}"


def _values(texts: list[str | None], asked: dict[str, str]) -> Iterator[list[Any]]:
    start, end, step = (float(asked[name]) for name in ("start", "end", "step"))
    for at, text in enumerate(texts):
        if text is not None and start + at * step <= end:
            yield [start + at * step, text]
