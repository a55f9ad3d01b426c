"""courseload as people meet it: notes good and bad, credentials, ports, a restart."""

import json
import socket
import stat
from pathlib import Path
from typing import Any

import pymongo
import pytest
import redis
from bson import ObjectId

from helpers import courseload, machine
from helpers.courseload import NOTE, ROUTES, counters, fresh_key, notes, post, post_on_both_routes


def test_a_note_is_in_mongodb_when_its_201_arrives() -> None:
    for route, answer in post_on_both_routes().items():
        assert answer.status == 201
        assert answer.body["route"] == route
        with notes() as collection:
            document = collection.find_one({"_id": ObjectId(answer.body["id"])})
        assert document is not None
        assert {name: document[name] for name in NOTE} == NOTE
        assert document["route"] == route


def test_the_direct_route_counts_a_note_in_redis_and_lists_it() -> None:
    with counters() as client:
        before = int(client.get("notes:count") or 0)
        region_before = int(client.hget("notes:count:region", "NORTE") or 0)
        answer = post_on_both_routes()["direct"]
        latest = [json.loads(text)["id"] for text in client.lrange("notes:latest", 0, -1)]
        assert answer.body["id"] in latest
        # Requests through the ingress alternate, so more than one may have taken this route.
        assert int(client.get("notes:count") or 0) > before
        assert int(client.hget("notes:count:region", "NORTE") or 0) > region_before


def test_the_same_key_stores_one_note_whichever_route_it_takes() -> None:
    key = fresh_key()
    answers = post_on_both_routes(key=lambda: key)
    assert {answer.status for answer in answers.values()} == {201}
    assert len({answer.body["id"] for answer in answers.values()}) == 1
    with notes() as collection:
        assert collection.count_documents({"_id": ObjectId(answers["relay"].body["id"])}) == 1


def test_both_routes_get_their_share() -> None:
    routes = [post().route for _ in range(100)]
    assert {route: routes.count(route) for route in ROUTES} == {"relay": 50, "direct": 50}


BAD = [
    ("not JSON", {"body": b"{"}, 400),
    ("not an object", {"note": []}, 400),
    ("not UTF-8", {"body": b'{"curso": "\xff"}'}, 400),
    ("an empty body", {"body": b""}, 400),
    ("a missing field", {"note": {name: NOTE[name] for name in list(NOTE)[1:]}}, 400),
    ("an empty field", {"note": NOTE | {"curso": ""}}, 400),
    ("a field that is not a string", {"note": NOTE | {"curso": 1}}, 400),
    ("a field that is too long", {"note": NOTE | {"curso": "a" * 129}}, 400),
    ("an unknown field", {"note": NOTE | {"nota": "100"}}, 400),
    ("a key that is too long", {"key": "k" * 129}, 400),
    ("another content type", {"Content_Type": "text/plain"}, 415),
    ("a body over 16 KiB", {"body": b" " * 16385}, 413),
]


@pytest.mark.parametrize(("arguments", "status"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_refused_on_both_routes_and_not_stored(arguments: dict[str, Any], status: int) -> None:
    with notes() as collection:
        before = collection.count_documents({})
        for route, answer in post_on_both_routes(**({"key": lambda: None} | _keyed(arguments))).items():
            assert answer.status == status, route
            assert answer.body["error"]
        assert collection.count_documents({}) == before


def _keyed(arguments: dict[str, Any]) -> dict[str, Any]:
    key = arguments.get("key")
    return arguments | {"key": lambda: key} if key else arguments


def test_the_longest_field_and_the_widest_letters_are_stored() -> None:
    for note in (NOTE | {"curso": "a" * 128}, NOTE | {"curso": "Matemática ñ 数学"}):
        for answer in post_on_both_routes(note=note).values():
            assert answer.status == 201
            with notes() as collection:
                found = collection.find_one({"_id": ObjectId(answer.body["id"])})
                assert found is not None
                assert found["curso"] == note["curso"]


def test_the_databases_refuse_whoever_has_no_password() -> None:
    with pytest.raises(pymongo.errors.OperationFailure):
        pymongo.MongoClient("mongodb://127.0.0.1:27017/courses", serverSelectionTimeoutMS=5000).courses.notes.find_one()
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(host="127.0.0.1", port=6379).ping()


def test_the_databases_and_what_watches_them_are_not_reached_from_other_machines() -> None:
    for address in machine.own_addresses():
        for port in (27017, 6379, 9090, 3000):
            with socket.socket() as client:
                client.settimeout(2)
                assert client.connect_ex((address, port)) != 0, f"port {port} answers on {address}"


def test_credentials_are_readable_by_nobody_else() -> None:
    paths = [Path("/etc/courseload"), *Path("/etc/courseload/credentials").rglob("*")]
    assert len(paths) > 2
    open_to_others = [str(path) for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert open_to_others == []


def test_no_password_is_in_a_process_list_or_a_pods_description() -> None:
    described = "".join(machine.podman("inspect", name) for name in courseload.containers())
    processes = "".join(_command(process) for process in Path("/proc").iterdir() if process.name.isdigit())
    for secret in machine.secrets():
        assert secret not in described
        assert secret not in processes


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:  # it has ended
        return ""


def test_notes_outlive_a_restart_of_every_pod() -> None:
    stored = {answer.body["id"] for answer in post_on_both_routes().values()}
    with counters() as client:
        counted = int(client.get("notes:count") or 0)
    pods = courseload.pods()
    if Path("/proc/1/comm").read_text() == "systemd\n":
        machine.run("systemctl", "restart", *(f"courseload-{pod}.service" for pod in pods))
    else:
        # In two steps, as a reboot does: `podman pod restart` of Podman 4.3 may stop what it has just started.
        machine.podman("pod", "stop", *pods)
        machine.podman("pod", "start", *pods)
    courseload.wait_until_it_serves(60)
    with notes() as collection:
        assert collection.count_documents({"_id": {"$in": [ObjectId(note) for note in stored]}}) == len(stored)
    with counters() as client:
        assert int(client.get("notes:count") or 0) >= counted
