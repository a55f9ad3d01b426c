"""What Prometheus is told: rendered as site.yml does, and read without running it.

What the rules make of figures is judged by promtool, in tests/system.
"""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from helpers.machine import REPOSITORY
from helpers.manifests import ROUTES, Rendered, render


@pytest.fixture(scope="session")
def documents(rendered: Rendered) -> dict[str, Any]:
    """The Pod of Prometheus and its ConfigMap, by kind."""
    return {found["kind"]: found for found in yaml.safe_load_all(rendered.pods["prometheus"])}


@pytest.fixture(scope="session")
def config(documents: dict[str, Any]) -> dict[str, Any]:
    """The files of its configuration, by name."""
    return {name: yaml.safe_load(text) for name, text in documents["ConfigMap"]["data"].items()}


@pytest.fixture(scope="session")
def targets(config: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The labels of each target, by its address."""
    jobs = config["prometheus.yml"]["scrape_configs"]
    found = [static for job in jobs for static in job.get("static_configs", [])]
    return {target: static["labels"] for static in found for target in static["targets"]}


@pytest.fixture(scope="session")
def rules(config: dict[str, Any]) -> list[dict[str, Any]]:
    return rules_in(config)


def test_it_looks_at_every_workload_that_tells_figures(rendered: Rendered, targets: dict[str, dict[str, str]]) -> None:
    described = rendered.workloads | {"reader": rendered.ops_workloads["reader"]}
    told = {f"{name}:{spec['metrics']}": name for name, spec in described.items() if "metrics" in spec}
    assert {"relay", "direct", "ledger", "ingress", "reader"} <= set(told.values())
    assert {address: labels["workload"] for address, labels in targets.items() if address in told} == told
    inside = {address for address in targets if address not in told}
    assert {address.partition(":")[0] for address in inside} == {"127.0.0.1"}


def test_it_looks_at_the_databases_and_the_host(rendered: Rendered, targets: dict[str, dict[str, str]]) -> None:
    watched = {labels["workload"] for labels in targets.values()}
    # MongoDB itself has no exporter among Debian's packages here; PostgreSQL, which stands in for it, has.
    stands_in = {"mongodb"} if "metrics" in rendered.workloads["mongodb"] else set()
    assert watched >= {"redis", "host", "prometheus"} | stands_in


def test_a_scrape_of_postgresql_has_ended_before_the_next_begins(rendered: Rendered, config: dict[str, Any]) -> None:
    if "exporter" not in rendered.workloads["mongodb"].get("sidecars", {}):
        pytest.skip("MongoDB itself has no exporter")
    source = urlsplit(rendered.workloads["mongodb"]["sidecars"]["exporter"]["env"]["DATA_SOURCE_NAME"])
    limits = parse_qs(source.query)
    questions = 4
    longest_ms = 1000 * int(limits["connect_timeout"][0]) + questions * int(limits["statement_timeout"][0])
    assert longest_ms < 1000 * int(config["prometheus.yml"]["global"]["scrape_interval"].removesuffix("s"))


def test_the_routes_and_nothing_else_are_labelled_as_such(targets: dict[str, dict[str, str]]) -> None:
    assert {labels["route"]: labels["workload"] for labels in targets.values() if "route" in labels} == {
        route: route for route in ROUTES
    }


def test_it_looks_at_a_load_test_while_there_is_one(config: dict[str, Any]) -> None:
    (job,) = (job for job in config["prometheus.yml"]["scrape_configs"] if "static_configs" not in job)
    # A name that nobody has is no target, and no target is none that is down.
    assert [(found["names"], found["port"]) for found in job["dns_sd_configs"]] == [(["locust-master"], 8090)]
    assert job["relabel_configs"] == [{"target_label": "workload", "replacement": "loadtest"}]


def test_what_is_beside_it_listens_to_it_alone(documents: dict[str, Any]) -> None:
    prometheus, *sidecars = documents["Pod"]["spec"]["containers"]
    assert sidecars
    for container in sidecars:
        assert [word for word in container["command"] if word.startswith("--web.listen-address=127.0.0.1:")], container[
            "name"
        ]
        assert "ports" not in container
    assert prometheus["ports"] == [{"containerPort": 9090, "hostPort": 9090, "hostIP": "127.0.0.1"}]


def test_it_forgets_before_the_disk_is_full(documents: dict[str, Any]) -> None:
    command = documents["Pod"]["spec"]["containers"][0]["command"]
    assert {"--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=1GB"} <= set(command)


def test_nothing_of_the_system_knows_of_it(rendered: Rendered) -> None:
    for name, workload in rendered.workloads.items():
        assert rendered.ops_workloads.keys() & set(workload.get("calls", [])) == set(), name
        told = json.dumps({field: value for field, value in workload.items() if field != "sidecars"})
        assert "prometheus" not in told, name


def rules_in(config: dict[str, Any]) -> list[dict[str, Any]]:
    files = config["prometheus.yml"]["rule_files"]
    return [rule for name in files for group in config[name]["groups"] for rule in group["rules"]]


def test_every_rule_has_a_test_for_promtool(rules: list[dict[str, Any]]) -> None:
    assert_tested(rules, "rules.yml")


@pytest.fixture(scope="module")
def meshed_rules(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The rules beside a cluster with a mesh."""
    ends = {"anchor": "20360101000000Z", "issuer": "20270101000000Z"}
    meshed = render(tmp_path_factory.mktemp("meshed"), "packages", mesh="linkerd", linkerd_expiry=ends)
    data = list(yaml.safe_load_all(meshed.beside["prometheus"]))[1]["data"]
    return rules_in({name: yaml.safe_load(text) for name, text in data.items()})


def test_every_rule_that_is_another_one_beside_a_cluster_has_a_test_for_promtool(
    rules: list[dict[str, Any]], meshed_rules: list[dict[str, Any]]
) -> None:
    known = [rule.get("expr") for rule in rules]
    others = [rule for rule in meshed_rules if rule["expr"] not in known]
    assert {"ClusterUnseen", "NodeCertificateEnds", "MeshCertificateEnds"} <= {rule.get("alert") for rule in others}
    assert_tested(others, "cluster_rules.yml", at_least=True)


def assert_tested(rules: list[dict[str, Any]], file: str, *, at_least: bool = False) -> None:
    """Each recording has an answer in the tests, and each alert is seen to fire and not to."""
    asked = yaml.safe_load((REPOSITORY / "tests/system" / file).read_text())["tests"]
    expressions = [test["expr"] for group in asked for test in group.get("promql_expr_test", []) if test["exp_samples"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    assert {name for name in recorded if not any(name in expression for expression in expressions)} == set()
    alerts = [test for group in asked for test in group.get("alert_rule_test", [])]
    wanted = {rule["alert"] for rule in rules if "alert" in rule}
    for fires in (True, False):
        tested = {test["alertname"] for test in alerts if bool(test["exp_alerts"]) is fires}
        assert wanted <= tested if at_least else wanted == tested, f"alerts that are seen to fire: {fires}"


def test_every_alert_says_what_is_wrong_and_where_to_look(rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        if "alert" in rule:
            assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
            assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
