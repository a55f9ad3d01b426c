"""Prometheus beside the system: what it sees and may read, what its rules make of it, and that nothing waits for it."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import yaml

from helpers import courseload, machine
from helpers.courseload import psql
from helpers.manifests import Rendered
from helpers.prometheus import api, query

RULES = Path(__file__).with_name("rules.yml")
CLUSTER_RULES = Path(__file__).with_name("cluster_rules.yml")
BACK_S = 60  # within which Prometheus and what is beside it must be back by themselves


def unseen() -> set[str]:
    """The targets that Prometheus gets no figures of, with the reasons; itself while it does not answer."""
    try:
        targets = api("targets?state=active")["activeTargets"]
    except OSError as error:
        return {f"prometheus: {error}"}
    return {f"{target['scrapePool']}: {target['lastError']}" for target in targets if target["health"] != "up"}


def wait_until_it_sees_everything() -> None:
    deadline = time.monotonic() + BACK_S
    while found := unseen():
        assert time.monotonic() < deadline, f"not seen after {BACK_S} s: {found}"
        time.sleep(1)


@pytest.fixture(scope="module", autouse=True)
def back(report: Path) -> None:
    """After the load test in which it was killed."""
    wait_until_it_sees_everything()


def test_it_sees_everything_that_it_looks_at() -> None:
    assert {row["metric"]["workload"] for row in query("up == 1")} >= {
        *("relay", "direct", "ledger", "ingress", "reader", "redis", "host", "prometheus")
    }
    # The load test that has just ended is away, as its last figures say for some seconds more.
    assert query('up{workload!="loadtest"} == 0') == []
    assert [row["value"][1] for row in query("redis_up")] == ["1"]


def test_postgresql_answers_its_exporter() -> None:
    if not courseload.has_postgresql():
        pytest.skip("MongoDB itself runs here, with no PostgreSQL behind it")
    assert [row["value"][1] for row in query("pg_up")] == ["1"]
    assert query("pg_stat_database_xact_commit{datname='postgres'} > 0")


def test_the_host_has_processors_memory_and_the_disk_of_the_volumes() -> None:
    for name in ("host:cpu_used:ratio30s", "host:memory_used:ratio", "host:disk_used:ratio"):
        (row,) = query(f"last_over_time({name}[5m])")
        assert 0 < float(row["value"][1]) < 1, name


def test_the_rules_have_figures_of_both_routes() -> None:
    for name in ("requests:rate30s", "notes:rate30s", "share:ratio30s", "request_seconds:quantile30s", "ready:min"):
        rows = query(f"max_over_time(route:{name}[10m]) > 0")
        assert {row["metric"]["route"] for row in rows} == courseload.ROUTES, name


def test_every_rule_is_well_and_every_recording_has_rows() -> None:
    rules = [rule for group in api("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    recorded = {rule["name"] for rule in rules if rule["type"] == "recording"}
    assert {name for name in recorded if not query(f"last_over_time({name}[10m])")} == set()


# Here and not among the tests of the playbooks, because here there always is a promtool: that of the very image, asked
# about the very files that Prometheus has loaded.
def test_the_rules_say_what_promtool_expects_of_them() -> None:
    command = ["podman", "exec", "--interactive", "prometheus-prometheus", "promtool", "test", "rules", "/dev/stdin"]
    process = subprocess.run(command, input=RULES.read_bytes(), capture_output=True, timeout=60, check=False)
    assert process.returncode == 0, (process.stdout + process.stderr).decode()
    machine.podman(
        "exec", "prometheus-prometheus", "promtool", "check", "config", "--lint-fatal", "/etc/prometheus/prometheus.yml"
    )


# Those of a cluster with a mesh, which are other ones in part; the same program judges them.
def test_the_rules_of_a_cluster_say_what_promtool_expects_of_them(clusters: dict[str, Rendered]) -> None:
    rendered = clusters["linkerd"]
    files = list(yaml.safe_load_all(rendered.beside["prometheus"]))[1]["data"] | {
        "rules.yml": CLUSTER_RULES.read_text()
    }
    directory = "/tmp/cluster-rules"  # noqa: S108 in the container
    machine.podman("exec", "prometheus-prometheus", "mkdir", "-p", directory)
    for name, text in files.items():
        command = ["podman", "exec", "--interactive", "prometheus-prometheus", "tee", f"{directory}/{name}"]
        subprocess.run(command, input=text.encode(), stdout=subprocess.DEVNULL, timeout=60, check=True)
    command = ["podman", "exec", f"--workdir={directory}", "prometheus-prometheus", "promtool"]
    process = subprocess.run([*command, "test", "rules", "rules.yml"], capture_output=True, timeout=60, check=False)
    assert process.returncode == 0, (process.stdout + process.stderr).decode()
    agent = next(o for o in rendered.of_kind("ConfigMap") if o["metadata"]["name"] == "prometheus-agent-config")
    check = ["check", "config", "--agent", "--syntax-only", "/dev/stdin"]
    interactive = [*command[:2], "--interactive", *command[2:]]
    subprocess.run([*interactive, *check], input=agent["data"]["agent.yml"].encode(), timeout=60, check=True)


def test_its_account_on_redis_reads_statistics_and_nothing_else() -> None:
    client = redis.Redis(username="statistics", password=machine.credential("redis-statistics", ".password"))
    try:
        assert "redis_version" in client.info()
        for forbidden in ("GET notes:count", "KEYS *", "CONFIG GET *", "SLOWLOG GET", "FLUSHALL", "ACL LIST"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*forbidden.split())
    finally:
        client.close()


def test_its_role_in_postgresql_reads_statistics_and_nothing_else() -> None:
    if not courseload.has_postgresql():
        pytest.skip("MongoDB itself runs here, with no PostgreSQL behind it")
    assert int(psql("statistics", "statistics", "SELECT count(*) FROM pg_stat_activity")) > 0
    readable = (
        "SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE"
        " nspname = 'documentdb_data' AND relkind = 'r' AND has_table_privilege('statistics', pg_class.oid, 'SELECT')"
    )
    assert psql("postgres", "postgres", readable) == "0"
    for forbidden in ("CREATE TABLE public.mine ()", "CREATE ROLE mine", "COPY (SELECT 1) TO PROGRAM 'true'"):
        with pytest.raises(subprocess.CalledProcessError):
            psql("statistics", "statistics", forbidden)


SLOW = """
CREATE SCHEMA slow;
CREATE VIEW slow.pg_stat_database AS
SELECT figures.* FROM (SELECT pg_sleep(60) OFFSET 0) AS wait, pg_catalog.pg_stat_database AS figures;
GRANT USAGE ON SCHEMA slow TO statistics;
GRANT SELECT ON slow.pg_stat_database TO statistics;
ALTER ROLE statistics SET search_path = slow, pg_catalog
"""
SCRAPES = 3  # without an end, each would keep a connection


@pytest.fixture
def slow_statistics() -> Iterator[None]:
    """PostgreSQL takes a minute to tell its statistics."""
    if not courseload.has_postgresql():
        pytest.skip("MongoDB itself runs here, with no PostgreSQL behind it")
    try:
        psql("postgres", "statistics", SLOW)
        yield
    finally:
        psql("postgres", "statistics", "ALTER ROLE statistics RESET search_path; DROP SCHEMA IF EXISTS slow CASCADE")


@pytest.mark.usefixtures("slow_statistics")
def test_scrapes_do_not_pile_up_where_postgresql_is_slow() -> None:
    connections = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'statistics'"
    ends = time.monotonic() + 5 * (SCRAPES + 1)
    most = 0
    while time.monotonic() < ends:
        most = max(most, int(psql("postgres", "postgres", connections)))
        time.sleep(0.5)
    assert [row["value"][1] for row in query("pg_scrape_collector_success{collector='stat_database'}")] == ["0"]
    # One is kept, and one is opened for each scrape.
    assert most <= 2
    assert [row["value"][1] for row in query("pg_up")] == ["1"]


def test_it_forgets_before_the_disk_is_full() -> None:
    flags = api("status/flags")
    assert flags["storage.tsdb.retention.size"] != "0B"
    (limit,), (used,) = query("prometheus_tsdb_retention_limit_bytes"), query("prometheus_tsdb_storage_blocks_bytes")
    assert 0 <= int(used["value"][1]) < int(limit["value"][1])
