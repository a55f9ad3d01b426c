"""An ingress that speaks TLS and wants a token: who is answered, who is not, and a load test that is a client of it."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers import courseload, machine
from helpers.courseload import may_reset
from helpers.playbook import Play, play, write_playbook

TYPE = {"Content-Type": "application/json"}
CREDENTIALS = Path("/etc/courseload/credentials/ingress")
INGRESS = """\
- ansible.builtin.include_role: {name: image, tasks_from: source}
- ansible.builtin.setup: {gather_subset: ["!all", "!min", service_mgr, network]}
- ansible.builtin.include_role: {name: ingress, tasks_from: certificate}
  when: ingress_certificate_made
- ansible.builtin.include_role: {name: workload}
  vars: {workload_names: [ingress]}
"""

pytestmark = [pytest.mark.timeout(600), may_reset]


@dataclass(frozen=True)
class Answered:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@pytest.fixture(scope="module")
def playbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_playbook(tmp_path_factory.mktemp("ingress"), INGRESS)


@pytest.fixture(scope="module")
def guarded(playbook: Path) -> Iterator[dict[str, str]]:
    """The settings of an ingress with both; afterwards it is as it was."""
    settings = {
        "ingress_tls": "true",
        "ingress_token": "true",
        "ingress_address": "0.0.0.0",
        "ingress_certificates_dir": str(playbook.parent / "certificates"),
    }
    done = play(playbook, **settings)
    assert done.ok, done.output[-6000:]
    yield settings
    done = play(playbook)
    shutil.rmtree(CREDENTIALS)
    assert done.ok, done.output[-6000:]
    courseload.wait_until_it_serves(30)


@pytest.fixture(scope="module")
def trusting(guarded: dict[str, str]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=f"{guarded['ingress_certificates_dir']}/authority.crt")


def post(context: ssl.SSLContext, host: str = "localhost", **headers: str) -> Answered:
    """Posts a note over TLS to a host whose name or address the certificate must have."""
    connection = http.client.HTTPSConnection(host, courseload.ADDRESS[1], context=context, timeout=10)
    try:
        connection.request("POST", "/course", json.dumps(courseload.NOTE), headers | TYPE)
        answer = connection.getresponse()
        return Answered(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def bearer() -> str:
    return f"Bearer {(CREDENTIALS / 'token').read_text()}"


def test_a_client_that_trusts_the_authority_and_shows_the_token_is_served(trusting: ssl.SSLContext) -> None:
    answers = [post(trusting, Authorization=bearer()) for _ in range(4)]
    assert [answer.status for answer in answers] == [201] * 4
    assert {answer.headers["X-Route"] for answer in answers} == courseload.ROUTES


def test_other_machines_reach_it_where_it_listens_on_all_addresses(trusting: ssl.SSLContext) -> None:
    for address in machine.own_addresses():
        assert post(trusting, address, Authorization=bearer()).status == 201


@pytest.mark.parametrize("shown", [None, "Bearer wrong", "Basic {token}", "Bearer", "Bearer {token}x", "{token}"])
def test_a_client_with_another_token_or_none_is_401_and_no_route_hears_of_it(
    trusting: ssl.SSLContext, shown: str | None
) -> None:
    token = (CREDENTIALS / "token").read_text()
    with courseload.notes() as notes:
        before = notes.count_documents({})
        answer = post(trusting, **({"Authorization": shown.format(token=token)} if shown else {}))
        assert notes.count_documents({}) == before
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert json.loads(answer.body) == {"error": "the request has no valid token", "fields": {}}
    assert "X-Route" not in answer.headers


def test_what_is_not_tls_gets_no_answer(guarded: dict[str, str]) -> None:
    with pytest.raises(ConnectionError):
        courseload.post()


def test_who_does_not_trust_the_authority_ends_the_connection(guarded: dict[str, str]) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        post(ssl.create_default_context(), Authorization=bearer())


def test_no_description_of_a_pod_has_the_token_or_the_key(guarded: dict[str, str]) -> None:
    manifest = (courseload.MANIFESTS / "ingress.yml").read_text()
    assert "PRIVATE KEY" not in manifest
    assert (CREDENTIALS / "token").read_text() not in manifest


def test_a_second_run_changes_nothing(playbook: Path, guarded: dict[str, str]) -> None:
    again: Play = play(playbook, **guarded)
    assert (again.ok, again.changes) == (True, []), again.output[-6000:]


def test_a_load_test_is_a_client_of_it(guarded: dict[str, str], tmp_path: Path) -> None:
    run = play("loadtest.yml", users="2", duration="8s", locust_reports_dir=str(tmp_path), **guarded)
    assert run.ok, run.output[-6000:]
    (summary,) = tmp_path.glob("*/summary.json")
    assert json.loads(summary.read_text())["failures"] == 0
