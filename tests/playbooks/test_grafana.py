"""What Grafana is told, and what the databases let it do: rendered as site.yml does, and read without running it.

Grafana itself is in no package registry, so it does not run here. What its panels ask is asked in tests/system.
"""

import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl

import pytest
import yaml

import dashboards
from dashboards import course_notes
from dashboards.model import MONGODB, PROMETHEUS, REDIS
from helpers.machine import REPOSITORY
from helpers.manifests import Rendered

READERS = ["grafana", "reader"]
GENERATED = REPOSITORY / "files/dashboards"
NOT_ASKED = (
    "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES",
    "GF_ANALYTICS_CHECK_FOR_UPDATES",
    "GF_ANALYTICS_FEEDBACK_LINKS_ENABLED",
    "GF_ANALYTICS_REPORTING_ENABLED",
    "GF_NEWS_NEWS_FEED_ENABLED",
    "GF_PLUGINS_PLUGIN_ADMIN_ENABLED",
    "GF_PLUGINS_PREINSTALL_AUTO_UPDATE",
    "GF_SNAPSHOTS_EXTERNAL_ENABLED",
)
REFUSED = (
    "GF_PLUGINS_PREINSTALL_DISABLED",
    "GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED",
    "GF_SECURITY_DISABLE_GRAVATAR",
)


@pytest.fixture(scope="session")
def documents(renderings: Callable[[str], Rendered]) -> list[dict[str, Any]]:
    """The Pod of Grafana and its ConfigMaps."""
    return list(yaml.safe_load_all(renderings("registry").pods["grafana"]))


@pytest.fixture(scope="session")
def pod(documents: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = documents[0]["spec"]
    return spec


@pytest.fixture(scope="session")
def environment(pod: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}


@pytest.fixture(scope="session")
def files(documents: list[dict[str, Any]], pod: dict[str, Any]) -> dict[str, str]:
    """What lies where in its container."""
    content = {found["metadata"]["name"]: found["data"] for found in documents[1:]}
    directories = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    return {
        f"{directories[volume['name']]}/{name}": text
        for volume in pod["volumes"]
        if "configMap" in volume
        for name, text in content[volume["configMap"]["name"]].items()
    }


@pytest.fixture(scope="session")
def provisioned(files: dict[str, str]) -> dict[str, Any]:
    """What its data sources are provisioned from."""
    found: dict[str, Any] = yaml.safe_load(files["/etc/grafana/provisioning/datasources/datasources.yml"])
    return found


@pytest.fixture(scope="session")
def sources(provisioned: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The data sources by their uids."""
    return {source["uid"]: source for source in provisioned["datasources"]}


def test_it_is_left_out_where_images_come_from_packages(renderings: Callable[[str], Rendered]) -> None:
    packages, registry = renderings("packages"), renderings("registry")
    assert registry.ops_workloads.keys() - packages.ops_workloads.keys() == {"grafana"}
    assert "grafana" not in "".join(packages.images_for_pods)


def test_beside_a_cluster_it_reaches_the_databases_through_the_api(renderings: Callable[[str], Rendered]) -> None:
    assert "grafana" not in renderings("packages").beside
    pod = yaml.safe_load(renderings("registry").beside["grafana"].partition("\n---\n")[0])["spec"]
    assert pod["hostAliases"] == [{"ip": "127.0.0.1", "hostnames": ["mongodb", "redis"]}]
    forwarded = {tuple(container["command"]) for container in pod["containers"] if container["name"] != "grafana"}
    assert forwarded == {("port-forward", "mongodb-0", "27017"), ("port-forward", "redis-0", "6379")}


def test_it_listens_to_this_host_alone_and_lets_in_nobody_without_the_password(
    pod: dict[str, Any], environment: dict[str, str]
) -> None:
    (container,) = pod["containers"]
    assert container["ports"] == [{"containerPort": 3000, "hostPort": 3000, "hostIP": "127.0.0.1"}]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/credentials/grafana/admin"
    assert not {"GF_SECURITY_ADMIN_PASSWORD", "GF_AUTH_DISABLE_LOGIN_FORM"} & environment.keys()


def test_its_database_is_under_a_key_of_its_own(environment: dict[str, str]) -> None:
    assert environment["GF_SECURITY_SECRET_KEY__FILE"] == "/run/credentials/grafana/secret_key"
    assert "GF_SECURITY_SECRET_KEY" not in environment


def test_it_asks_nobody_outside_and_publishes_nothing(environment: dict[str, str]) -> None:
    said = {name: environment.get(name) for name in (*NOT_ASKED, *REFUSED)}
    assert said == dict.fromkeys(NOT_ASKED, "false") | dict.fromkeys(REFUSED, "true")


def test_it_sees_no_credential_but_its_own(rendered: Rendered, pod: dict[str, Any]) -> None:
    paths = [volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume]
    assert [path for path in paths if "/credentials/" in path] == ["/etc/courseload/credentials/grafana"]
    if described := rendered.ops_workloads.get("grafana"):
        # Whoever knows the password of its accounts on the databases cannot log in to it.
        assert described["credentials"] == {
            "admin": "{password}",
            "secret_key": "{password:grafana-secret-key}",
            "reader": "{password:grafana-reader}",
        }


def test_its_data_sources_are_those_that_the_dashboards_ask(sources: dict[str, dict[str, Any]]) -> None:
    asked = {source.uid: source.type_val for source in (PROMETHEUS, MONGODB, REDIS)}
    assert {uid: source["type"] for uid, source in sources.items()} == asked


def test_what_is_dropped_here_goes_there_as_well(provisioned: dict[str, Any], files: dict[str, str]) -> None:
    assert provisioned["prune"] is True
    (provider,) = yaml.safe_load(files["/etc/grafana/provisioning/dashboards/dashboards.yml"])["providers"]
    assert (provider["disableDeletion"], provider["allowUiUpdates"]) == (False, False)


def test_a_question_to_mongodb_ends_before_the_home_dashboard_asks_again(sources: dict[str, dict[str, Any]]) -> None:
    options = dict(parse_qsl(sources[MONGODB.uid or ""]["jsonData"]["connectionOptions"]))
    assert options.keys() == {"serverSelectionTimeoutMS", "timeoutMS"}
    assert course_notes.DASHBOARD.refresh == "1m"
    assert 0 < int(options["serverSelectionTimeoutMS"]) < int(options["timeoutMS"]) < 60_000


def test_its_data_sources_are_workloads_at_their_ports_and_have_no_password_in_the_file(
    renderings: Callable[[str], Rendered], sources: dict[str, dict[str, Any]]
) -> None:
    rendered = renderings("registry")
    running = {name: spec["port"] for name, spec in (rendered.workloads | rendered.ops_workloads).items()}
    for uid, name in ((PROMETHEUS.uid, "prometheus"), (MONGODB.uid, "mongodb"), (REDIS.uid, "redis")):
        source = sources[uid or ""]
        assert (source.get("url") or source["jsonData"]["host"]).endswith(f"{name}:{running[name]}")
        secrets = source.get("secureJsonData", {"password": "$__file{/run/credentials/grafana/reader}"})
        assert secrets == {"password": "$__file{/run/credentials/grafana/reader}"}, name


def test_it_has_every_dashboard_as_it_lies_in_the_repository(
    files: dict[str, str], environment: dict[str, str]
) -> None:
    provider = yaml.safe_load(files["/etc/grafana/provisioning/dashboards/dashboards.yml"])["providers"][0]
    directory = provider["options"]["path"]
    brought = {path: json.loads(text) for path, text in files.items() if path.startswith(f"{directory}/")}
    assert brought == {f"{directory}/{path.name}": json.loads(path.read_text()) for path in GENERATED.glob("*.json")}
    assert brought[environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]]["title"] == "Course notes"


def test_it_has_the_plugins_of_its_data_sources_in_the_versions_that_are_set(
    pod: dict[str, Any], environment: dict[str, str], sources: dict[str, dict[str, Any]]
) -> None:
    described = yaml.safe_load((REPOSITORY / "group_vars/all/artifacts.yml").read_text())["artifacts"]
    plugins = {name: spec for name, spec in described.items() if spec.get("workload") == "grafana"}
    wanted = {source["type"] for source in sources.values()} - {"prometheus"}  # which it brings itself
    assert {spec["file"].removesuffix(f"-{spec['version']}.zip") for spec in plugins.values()} == wanted
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    for name, spec in plugins.items():
        (path,) = (v["hostPath"]["path"] for v in pod["volumes"] if v["name"] == f"artifact-{name}")
        assert path == f"/var/lib/courseload/artifacts/grafana/{spec['file'].removesuffix('.zip')}"
        assert mounts[f"artifact-{name}"].startswith(environment["GF_PATHS_PLUGINS"] + "/")
    assert set(environment["GF_PLUGINS_ALLOW_LOADING_UNSIGNED_PLUGINS"].split(",")) == wanted


def test_redis_lets_it_ask_what_its_panels_ask_and_nothing_else(rendered: Rendered) -> None:
    panels = [panel for described in dashboards.DASHBOARDS.values() for panel in described.panels().values()]
    queries = [query.fields for panel in panels for query in panel.queries if query.datasource is REDIS]
    asked = [fields.get("query", f"{fields.get('command')} {fields.get('keyName')}").split() for fields in queries]
    lines = rendered.workloads["redis"]["credentials"]["users.acl"].splitlines()
    account, reader = (next(line.split() for line in lines if line.startswith(f"user {name} ")) for name in READERS)
    assert reader[2:-1] == account[2:-1]
    assert account[:6] == ["user", "grafana", "on", "resetkeys", "resetchannels", "-@all"]
    commands = {word[1:] for word in account if word.startswith("+")}
    assert commands == {"ping"} | {words[0].lower() for words in asked}  # its plugin's health check is a PING
    patterns = [word[3:] for word in account if word.startswith("%R~")]
    assert [words[1] for words in asked if not any(fnmatchcase(words[1], pattern) for pattern in patterns)] == []
    assert [word for word in account if "~" in word and not word.startswith("%R~notes:")] == []


def test_mongodb_lets_it_read_the_notes_and_nothing_else(renderings: Callable[[str], Rendered]) -> None:
    config = list(yaml.safe_load_all(renderings("registry").pods["mongodb"]))[1]["data"]
    assert re.findall(r"roles: (.*),", config["accounts.js"]) == ['[{role: "read", db: "courses"}]']
    assert json.dumps(READERS) in config["accounts.js"]
    passwords = renderings("registry").workloads["mongodb"]["credentials"]
    assert [passwords[name] for name in READERS] == ["{password:grafana-reader}", "{password:reader}"]
    # FerretDB enforces no roles, so an account for reading is one for everything there: the reader comes in by another
    # FerretDB, which asks PostgreSQL as that account.
    packages = renderings("packages").workloads["mongodb"]
    assert packages["credentials"].keys().isdisjoint({"grafana"})
    asking = packages["sidecars"]["reading"]["command"]
    assert {"--listen-addr=:27018", "--postgresql-url=postgres://reader@/postgres?host=/run/postgresql"} < set(asking)
    uri = renderings("packages").ops_workloads["reader"]["credentials"]["mongodb"]
    assert uri.startswith("mongodb://reader:{password}@mongodb:27018/")


def test_the_reader_reaches_the_databases_of_a_cluster_through_the_api_as_well(rendered: Rendered) -> None:
    pod = yaml.safe_load(rendered.beside["reader"].partition("\n---\n")[0])["spec"]
    assert pod["hostAliases"] == [{"ip": "127.0.0.1", "hostnames": ["mongodb", "redis"]}]
    forwarded = [port for one in pod["containers"] if one["name"] != "reader" for port in one["command"][2:]]
    credentials = rendered.ops_workloads["reader"]["credentials"]
    for database, port in re.findall(r"@(\w+):(\d+)/", " ".join(credentials.values())):
        assert port in forwarded, database
