"""Grafana's dashboards as code; the JSON that Grafana reads is generated from it and lies beside it."""

from pathlib import Path

from dashboards import cluster, course_notes, load_test, routes
from dashboards.build import as_json

DASHBOARDS = {
    "course-notes": course_notes.DASHBOARD,
    "routes": routes.DASHBOARD,
    "load-test": load_test.DASHBOARD,
    "cluster": cluster.DASHBOARD,
}


def generated() -> dict[Path, str]:
    """What each file of JSON must hold."""
    return {Path(__file__).with_name(f"{name}.json"): as_json(found) for name, found in DASHBOARDS.items()}
