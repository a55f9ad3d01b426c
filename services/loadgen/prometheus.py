"""Asking Prometheus what an expression was over some time, or is now: what the load test needs of its HTTP API."""

import http.client
import math
import re
import time
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec

from course.settings import BadSetting

ADDRESS = re.compile(r"http://[\w.-]+(:[1-9]\d{0,4})?")


class NoAnswer(Exception):
    """Prometheus did not say what it was asked; the message says why."""


class Row(NamedTuple):
    """What it knows of one set of labels: (seconds since the epoch, value) pairs, without what is no number."""

    labels: dict[str, str]
    points: list[tuple[float, float]]


class _Series(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]]


class _Data(msgspec.Struct):
    result: list[_Series]


class _Answer(msgspec.Struct):
    data: _Data


class Prometheus:
    """A server at a base URL. Each question has so many seconds for every step of its way."""

    def __init__(self, address: str, patience_s: float) -> None:
        self.address = address
        self._patience_s = patience_s

    def over(self, expression: str, start: float, end: float, step_s: int) -> list[Row]:
        """The rows of an expression, from `start` to `end` (seconds since the epoch); raises `NoAnswer`."""
        asked = {"query": expression, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": step_s}
        body = self._get(f"/api/v1/query_range?{urlencode(asked)}")
        try:
            found = msgspec.json.decode(body, type=_Answer).data.result
            return [Row(series.metric, list(_numbers(series))) for series in found]
        except (msgspec.MsgspecError, ValueError) as problem:
            raise NoAnswer(f"{self.address} answers what Prometheus would not: {problem}") from problem

    def now(self, expression: str) -> list[Row]:
        """The rows of an expression at this moment, each with one point; raises `NoAnswer`."""
        moment = time.time()
        return [row for row in self.over(expression, moment, moment, 1) if row.points]

    def _get(self, path: str) -> bytes:
        url = urlsplit(self.address)
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=self._patience_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as problem:
            why = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
            raise NoAnswer(f"{self.address}: {why}") from problem
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise NoAnswer(f"{self.address}: {answer.status} {answer.reason}")
        return body


def parse_address(text: str) -> str:
    """The base URL of a Prometheus, without the slash at its end; raises `course.settings.BadSetting`."""
    address = text.strip().rstrip("/")
    if not ADDRESS.fullmatch(address):
        raise BadSetting(f"the address of Prometheus must be a URL like http://prometheus:9090, not {text!r}")
    return address


def _numbers(series: _Series) -> Iterator[tuple[float, float]]:
    """The points that have a number: where nothing was observed, a percentile has none (NaN)."""
    for at, text in series.values:
        if math.isfinite(value := float(text)):
            yield at, value
