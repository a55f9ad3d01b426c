"""Settings: where they come from, and errors that name the variable."""

from pathlib import Path

import pytest

from course.settings import BadSetting
from direct.service import Settings as Direct
from ledger.service import Settings as Ledger
from relay.service import Settings as Relay

URIS = {"MONGODB_URI": "mongodb://u:secret@h/courses", "REDIS_URL": "redis://:secret@h/0"}


def test_ports_have_the_designs_defaults() -> None:
    assert Relay.read({}).port == 8000
    assert (Ledger.read(URIS).port, Ledger.read(URIS).metrics_port) == (8010, 8011)
    assert Direct.read(URIS).port == 8020


def test_the_relay_finds_the_ledger_where_it_is_told() -> None:
    assert Relay.read({"GRPC_SERVER_HOST": "ledger", "GRPC_SERVER_PORT": "9"}).ledger == "ledger:9"


def test_forwarding_is_off_unless_a_url_is_given() -> None:
    assert Relay.read({"RELAY_FORWARD_URL": ""}).forward_url is None
    assert Relay.read({"RELAY_FORWARD_URL": "http://direct:8020/course"}).forward_url == "http://direct:8020/course"


def test_a_uri_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "uri"
    file.write_text("mongodb://from-file/x\n")
    assert Ledger.read({"MONGODB_URI_FILE": str(file)}).mongodb_uri == "mongodb://from-file/x"


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "MONGODB_URI"),
        ({"MONGODB_URI": "http://secret@h"}, "MONGODB_URI"),
        ({"MONGODB_URI": "mongodb://[secret"}, "MONGODB_URI"),
        ({"MONGODB_URI_FILE": "/nowhere/at/all"}, "MONGODB_URI_FILE"),
        (URIS | {"MONGODB_URI_FILE": "/etc/hostname"}, "MONGODB_URI_FILE"),
        (URIS | {"REDIS_URL": "secret"}, "REDIS_URL"),
        (URIS | {"REST_SERVER_PORT": "http"}, "REST_SERVER_PORT"),
        (URIS | {"REST_SERVER_PORT": "0"}, "REST_SERVER_PORT"),
        (URIS | {"REST_SERVER_PORT": "65536"}, "REST_SERVER_PORT"),
    ],
)
def test_an_error_names_the_variable_and_shows_no_secret(variables: dict[str, str], name: str) -> None:
    with pytest.raises(BadSetting, match=name) as caught:
        Direct.read(variables)
    assert "secret" not in str(caught.value)
