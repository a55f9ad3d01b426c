"""The client of a user: every form that an answer may have, and connections that end."""

import socket
import ssl
import subprocess
import threading
import time
from contextlib import suppress

import pytest
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError

from loadgen.client import ANYBODY, Access, Connection, head_of, note_request
from loadgen.settings import GONE_S

BODY = b'{"id":"00","route":"relay"}'
CREATED = b"HTTP/1.1 201 Created\r\nX-Route: relay\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
NOTE = b'{"curso":"SO1"}'
SECONDS = 5


class Server:
    """Answers each request with the next of its answers, a list of pieces; a None among them ends the connection.

    `asked` has the requests, each with the number of its connection.
    """

    def __init__(self, answers, context=None):
        self.answers = iter(answers)
        self.asked = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(SECONDS)
        self.port = self.socket.getsockname()[1]
        self.context = context
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with suppress(OSError, StopIteration):
            for number in range(100):
                client, _ = self.socket.accept()
                client.settimeout(SECONDS)
                if self.context:
                    client = self.context.wrap_socket(client, server_side=True)
                with client:
                    self.talk(client, number)

    def talk(self, client, number):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asked = b""
        while read := client.recv(65536):
            asked += read
            if not asked.endswith(NOTE):
                continue
            self.asked.append((number, asked))
            asked = b""
            for piece in next(self.answers):
                if piece is None:
                    return
                client.sendall(piece)
                time.sleep(0.002)


@pytest.fixture
def serve():
    """A function that starts a server, and returns it with a connection to it."""
    started = []

    def start(*answers, path="", context=None, access=ANYBODY):
        server = Server(answers, context)
        scheme = "https" if context else "http"
        connection = Connection(f"{scheme}://127.0.0.1:{server.port}{path}", access)
        started.append((server, connection))
        return server, connection

    yield start
    for server, connection in started:
        connection.close()
        server.socket.shutdown(socket.SHUT_RDWR)
        server.socket.close()
        server.thread.join(SECONDS)


def post(connection, key=b"a-key"):
    return connection.post(key, note_request(NOTE))


def test_a_request_has_what_the_contract_asks_for_and_nothing_else(serve):
    server, connection = serve([CREATED], path="/base")
    post(connection)
    ((_, asked),) = server.asked
    assert asked == (
        b"POST /base/course HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
        b"Idempotency-Key: a-key\r\nContent-Length: %d\r\n\r\n%b" % (server.port, len(NOTE), NOTE)
    )


CHUNKED = b"HTTP/1.1 201 Created\r\nX-Route: relay\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
    len(BODY),
    BODY,
)


@pytest.mark.parametrize(
    "pieces",
    [
        [CREATED],
        [CREATED[:-5], CREATED[-5:]],
        [CREATED[: -len(BODY)], BODY],
        [CREATED[at : at + 1] for at in range(len(CREATED))],
        [CHUNKED],
        [CHUNKED[at : at + 1] for at in range(len(CHUNKED))],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + CREATED],
        [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", CREATED],
        [b"HTTP/1.1 201 Created\r\nx-route:relay\r\n\r\n", BODY, None],
        [b"HTTP/1.0 201 Created\r\nX-Route: relay\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY), None],
    ],
    ids=[
        "whole",
        "split in the body",
        "split before the body",
        "byte by byte",
        "chunked",
        "chunked, byte by byte",
        "after 100",
        "after 103",
        "until the end",
        "HTTP/1.0",
    ],
)
def test_an_answer_is_read_whole_in_whatever_form_and_pieces_it_comes(serve, pieces):
    server, connection = serve(pieces, [CREATED])
    for _ in range(2):
        answer = post(connection)
        assert (answer.status, answer.route, answer.body) == (201, "relay", BODY)
    assert len(server.asked) == 2


def test_all_requests_go_over_one_connection_while_it_is_there(serve):
    server, connection = serve(*[[CREATED]] * 20)
    for _ in range(20):
        post(connection)
    assert {number for number, _ in server.asked} == {0}


def test_a_connection_notices_that_the_host_at_its_other_end_is_gone(serve):
    _, connection = serve([CREATED])
    post(connection)
    limit = connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert limit == GONE_S * 1000


def test_a_connection_that_is_to_close_is_not_used_again(serve):
    closing = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    server, connection = serve([closing], [CREATED])
    refused = post(connection)
    assert (refused.status, refused.route, refused.retry_after, refused.body) == (503, "", True, b"")
    assert post(connection).status == 201
    assert [number for number, _ in server.asked] == [0, 1]


def test_a_connection_that_was_closed_while_idle_is_made_anew(serve):
    server, connection = serve([CREATED, None], [CREATED])
    post(connection)
    time.sleep(0.1)
    assert post(connection).status == 201
    assert [number for number, _ in server.asked] == [0, 1]


@pytest.mark.parametrize(
    "pieces",
    [[None], [CREATED[:20], None], [CREATED[:-5], None], [CHUNKED[:-5], None]],
    ids=["at once", "within the head", "within the body", "within a chunk"],
)
def test_an_answer_that_breaks_off_is_none_and_nothing_is_sent_twice(serve, pieces):
    server, connection = serve(pieces, [CREATED])
    with pytest.raises((HTTPConnectionClosed, ConnectionResetError)):
        post(connection)
    assert len(server.asked) == 1
    assert post(connection).status == 201


def test_what_is_no_http_is_no_answer(serve):
    _, connection = serve([b"SSH-2.0-OpenSSH\r\n\r\n"], [CREATED])
    with pytest.raises(HTTPParseError):
        post(connection)
    assert post(connection).status == 201


def test_a_head_is_read_once_for_all_answers_that_have_it(serve):
    _, connection = serve(*[[CREATED]] * 10)
    head_of.cache_clear()
    for _ in range(10):
        post(connection)
    assert head_of.cache_info().misses == 1


def test_a_route_that_is_named_twice_is_none(serve):
    _, connection = serve([CREATED.replace(b"X-Route", b"X-Route: direct\r\nX-Route")])
    assert post(connection).route == ""


@pytest.fixture
def certified(tmp_path):
    """A function that makes a certificate, and returns the context of a server that has it, and its text."""

    def make(name):
        key, certificate = tmp_path / f"{name}.key", tmp_path / f"{name}.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context, certificate.read_text()

    return make


def test_with_a_certificate_only_its_owner_is_spoken_to(serve, certified):
    context, certificate = certified("somebody")
    _, other = certified("somebody-else")
    _, connection = serve([CREATED], context=context, access=Access(certificate=certificate))
    assert post(connection).status == 201
    server, connection = serve([CREATED], context=context, access=Access("secret", other))
    with pytest.raises(ssl.SSLCertVerificationError):
        post(connection)
    assert server.asked == []


def test_a_token_is_shown_with_each_request(serve, tmp_path):
    (tmp_path / "token").write_text("secret\n")
    access = Access.read({"COURSE_TOKEN_FILE": str(tmp_path / "token")})
    server, connection = serve([CREATED], [CREATED], access=access)
    assert [post(connection).status for _ in range(2)] == [201, 201]
    assert all(b"\r\nAuthorization: Bearer secret\r\n" in request for _, request in server.asked)


def test_a_target_may_speak_tls_with_any_certificate(serve, certified):
    context, _ = certified("somebody")
    server, connection = serve([CREATED], [CREATED], context=context)
    assert [post(connection).status for _ in range(2)] == [201, 201]
    assert [number for number, _ in server.asked] == [0, 0]
