"""Prometheus on this machine, as whoever asks its API sees it."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlencode

ADDRESS = ("127.0.0.1", 9090)


def api(path: str) -> Any:
    """What Prometheus answers to a question at its API; raises OSError while it does not."""
    connection = http.client.HTTPConnection(*ADDRESS, timeout=5)
    try:
        connection.request("GET", f"/api/v1/{path}")
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise ConnectionError(f"{response.status}: {answer.decode(errors='replace')}")
        return json.loads(answer)["data"]
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def query(expression: str) -> list[dict[str, Any]]:
    """The rows of an expression, now."""
    found: list[dict[str, Any]] = api("query?" + urlencode({"query": expression}))["result"]
    return found


def query_range(expression: str, start: float, end: float) -> list[dict[str, Any]]:
    """The rows of an expression over time (seconds since the epoch), each with its values every 5 s."""
    asked = {"query": expression, "start": start, "end": end, "step": 5}
    found: list[dict[str, Any]] = api("query_range?" + urlencode(asked))["result"]
    return found
