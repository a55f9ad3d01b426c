"""The fast path for plain requests, and that it and Sanic's ordinary way keep the same contract."""

import asyncio
import json

import pytest
from sanic.server.protocols.http_protocol import HttpProtocol

from course.fast_path import FastPath, Reader
from course.group_commit import Limits
from course.ids import id_of
from course.notes import OTHER_NOTE
from course.outcome import Failure, Unavailable
from unit.services.helpers import BODY, GOOD, Client, post, serving

QUICK = Limits(deadline_s=3, retry_pause_s=0.01, probe_pause_s=0.05)
SURROGATE = json.dumps(GOOD | {"curso": "\ud800"}).encode()
CASES = {
    "good": post(),
    "charset": post(content_type='Application/JSON; charset="UTF-8"; x=y'),
    "key": post(BODY, "Idempotency-Key: abc"),
    "keep-alive": post(BODY, "Connection: Keep-Alive"),
    "spaces": post(b" \n" + BODY + b"\t\r\n"),
    "not JSON": post(b"curso=SO1"),
    "empty body": post(b""),
    "a list": post(b"[]"),
    "missing": post(b'{"curso": "SO1"}'),
    "several bad": post(json.dumps(GOOD | {"curso": "", "region": 5, "carrera": "x" * 129, "otro": 1}).encode()),
    "white space": post(json.dumps(GOOD | {"curso": " \u3000"}).encode()),
    "byte order mark": post(b"\xef\xbb\xbf" + BODY),
    "null": post(json.dumps(GOOD | {"curso": None}).encode()),
    "twice": post(b'{"curso":"a",' + BODY[1:]),
    "escaped quotes": post(json.dumps(GOOD | {"curso": 'a "b" c'}).encode()),
    "NUL": post(json.dumps(GOOD | {"curso": "a\0b"}).encode()),
    "half a surrogate pair": post(SURROGATE),
    "not UTF-8": post(BODY.replace(b"SO1", b"\xff\xfe")),
    "deep": post(b'{"curso":' + b"[" * 5000),
    "no type": post(content_type=None),
    "form": post(b"a=b", content_type="application/x-www-form-urlencoded"),
    "latin-1": post(content_type="application/json; charset=iso-8859-1"),
    "two types": post(BODY, "Content-Type: text/plain"),
    "bad key": post(BODY, "Idempotency-Key: a b"),
    "empty key": post(BODY, "Idempotency-Key:"),
    "long key": post(BODY, "Idempotency-Key: " + "k" * 129),
    "foreign key": post(BODY, "Idempotency-Key: caf\xe9"),
    "two keys": post(BODY, "Idempotency-Key: a", "Idempotency-Key: b"),
    "large": post(json.dumps(GOOD).encode() + b" " * 20_000),
}
STATUS = {
    "good": 201,
    "charset": 201,
    "key": 201,
    "keep-alive": 201,
    "spaces": 201,
    "escaped quotes": 201,
    "NUL": 201,
    "no type": 415,
    "form": 415,
    "latin-1": 415,
    "two types": 415,
    "large": 413,
}


@pytest.mark.parametrize("name", CASES)
async def test_both_ways_give_the_same_answer(name: str) -> None:
    answers = []
    for protocol in (FastPath, HttpProtocol):
        async with serving(QUICK, protocol) as service:
            client = await Client.connect(service.port)
            answer = await client.ask(CASES[name])
            assert (answer.status == 201) == bool(service.store.notes)
            assert (await client.ask(post())).status == 201, "the connection is still good"
            if answer.status == 201 and name != "key":
                body = answer.json
                assert body.pop("id") in {note_id.hex() for note_id in service.store.notes}
                answer.body = json.dumps(body).encode()
            answer.headers.pop("alt-svc", None)  # Sanic's run() takes it away, create_server() does not
            answers.append(answer)
    short, ordinary = answers
    assert short.status == STATUS.get(name, 400)
    assert (short.status, short.json, short.headers) == (ordinary.status, ordinary.json, ordinary.headers)
    assert short.headers["x-route"] == "relay"


def test_whole_plain_requests_are_read_in_their_order() -> None:
    reader = Reader()
    for _ in range(2):
        found = reader.read(post(BODY, "Idempotency-Key: 1") + post(b"x"))
        assert found is not None
        assert [(request.key, request.body) for request in found] == [(b"1", BODY), (None, b"x")]


NOT_PLAIN = [
    post() + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    post(path="/course?x=1"),
    post(path="/courses"),
    post(BODY, "Connection: close"),
    post(BODY, "Expect: 100-continue"),
    post(BODY, "Upgrade: websocket", "Connection: Upgrade"),
    post().replace(b"Content-Length: ", b"Content-Length: +"),
    post(BODY, f"Content-Length: {len(BODY)}"),
    post(BODY, "Transfer-Encoding: chunked"),
    post(BODY, " folded: header"),
    post().replace(b"HTTP/1.1", b"HTTP/1.0"),
    post().replace(b"POST", b"GET"),
    post(BODY, "X: " + "y" * 9000),
    b"\x16\x03\x01",
]


@pytest.mark.parametrize("piece", NOT_PLAIN)
def test_anything_else_is_left_to_sanic_and_the_reader_stays_usable(piece: bytes) -> None:
    reader = Reader()
    assert reader.read(piece) is None
    assert reader.take_unread() == piece
    assert reader.read(post()) is not None


@pytest.mark.parametrize("piece", NOT_PLAIN)
def test_anything_else_is_left_to_sanic_whole_however_it_is_cut(piece: bytes) -> None:
    for cut in range(1, len(piece)):
        reader = Reader()
        first = reader.read(piece[:cut])
        assert not first or piece.startswith(post()), "nothing is acted on but what is plain"
        if first is not None:
            assert reader.read(piece[cut:]) is None
            assert reader.take_unread() == piece[len(post()) * len(first) :]
        else:
            assert reader.take_unread() == piece[:cut]
        assert reader.read(post()) is not None


WHOLE = post(BODY, "Idempotency-Key: 1")
GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
def test_a_plain_request_is_read_wherever_it_is_cut(cut: int) -> None:
    reader = Reader()
    for before, behind in ((b"", b""), (WHOLE, b""), (b"", WHOLE), (2 * WHOLE, WHOLE)):
        first, second = reader.read(before + WHOLE[:cut]), reader.read(WHOLE[cut:] + behind)
        assert first is not None
        assert second is not None
        assert (len(first), len(second)) == (len(before) // len(WHOLE), 1 + len(behind) // len(WHOLE))
        assert {(request.key, request.body) for request in first + second} == {(b"1", BODY)}
        assert reader.unread == b""


def test_a_plain_request_is_read_byte_by_byte() -> None:
    reader = Reader()
    for _ in range(2):
        found = [reader.read(WHOLE[at : at + 1]) for at in range(len(WHOLE))]
        assert found[:-1] == [[]] * (len(WHOLE) - 1)
        assert found[-1] is not None
        assert [(request.key, request.body) for request in found[-1]] == [(b"1", BODY)]


def test_what_is_unread_never_grows_beyond_what_sanic_takes() -> None:
    reader = Reader()
    head = post(BODY, "X: " + "y" * 9000)
    kept = 0
    for at in range(0, len(head), 100):
        if reader.read(head[at : at + 100]) is None:
            break
        kept = len(reader.unread)
    assert kept <= 8192
    assert head.startswith(reader.take_unread())


async def test_a_request_in_many_pieces_is_stored() -> None:
    async with serving(QUICK) as service:
        client = await Client.connect(service.port)
        request = post()
        for cut in (5, 40, len(request) - len(BODY), len(request) - 3):
            assert (await client.ask(request[:cut], request[cut:])).status == 201
        assert (await client.ask(*(request[at : at + 20] for at in range(0, len(request), 20)))).status == 201
        assert len(service.store.notes) == 5


@pytest.fixture
def left_to_sanic(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What Sanic's own protocol is given."""
    given: list[bytes] = []
    receive = HttpProtocol.data_received

    def data_received(self: HttpProtocol, data: bytes) -> None:
        given.append(data)
        receive(self, data)

    monkeypatch.setattr(HttpProtocol, "data_received", data_received)
    return given


async def test_a_plain_request_in_pieces_takes_the_fast_path(left_to_sanic: list[bytes]) -> None:
    async with serving(QUICK) as service:
        client = await Client.connect(service.port)
        assert (await client.ask(GET)).status == 200
        left_to_sanic.clear()
        for pieces in (
            (WHOLE[: -len(BODY)], BODY),
            (WHOLE[:40], WHOLE[40:-5], WHOLE[-5:]),
            [WHOLE[at : at + 12] for at in range(0, len(WHOLE), 12)],
        ):
            assert (await client.ask(*pieces)).status == 201
        await client.send(3 * post() + post()[:50], post()[50:] + post()[:-1], post()[-1:])
        assert [answer.status for answer in await client.answers(5)] == [201] * 5
        assert left_to_sanic == []


async def test_what_turns_out_to_be_no_plain_request_goes_to_sanic_whole(left_to_sanic: list[bytes]) -> None:
    async with serving(QUICK) as service:
        client = await Client.connect(service.port)
        assert (await client.ask(GET)).status == 200
        left_to_sanic.clear()
        service.store.open.clear()
        chunked = post(BODY, "Transfer-Encoding: chunked").replace(b"Content-Length", b"X-Length")
        chunked = chunked[: -len(BODY)] + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
        await client.send(post() + chunked[:45], chunked[45:], post())
        await asyncio.sleep(0.05)
        assert left_to_sanic == [], "what came before it is answered first"
        service.store.open.set()
        assert [answer.status for answer in await client.answers(3)] == [201] * 3
        assert b"".join(left_to_sanic) == chunked + post()


async def test_a_request_that_has_begun_is_answered_before_its_connection_is_closed() -> None:
    async with serving(QUICK) as service:
        client = await Client.connect(service.port)
        assert (await client.ask(GET)).status == 200
        await client.send(post() + post()[:-5])
        assert (await client.answers(1))[0].status == 201
        (connection,) = service.connections
        assert not connection.close_if_idle()
        await client.send(post()[-5:])
        answer = (await client.answers(1))[0]
        assert (answer.status, answer.headers["connection"]) == (201, "close")
        assert await client.is_closed()


async def test_a_chunked_body_is_stored() -> None:
    head = b"POST /course HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (BODY[:10], BODY[10:])) + b"0\r\n\r\n"
    async with serving(QUICK) as service:
        client = await Client.connect(service.port)
        assert (await client.ask(head + body)).status == 201
        assert (await client.ask(head, body[:7], body[7:])).status == 201
        assert (await client.ask(post())).status == 201


async def test_a_chunked_body_that_grows_too_large_is_refused() -> None:
    head = b"POST /course HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(QUICK) as service:
        client = await Client.connect(service.port)
        assert (await client.ask(head, *[b"2000\r\n" + b" " * 0x2000 + b"\r\n"] * 3)).status == 413


async def test_expect_100_continue_is_answered_before_the_body_is_sent() -> None:
    async with serving(QUICK) as service:
        client = await Client.connect(service.port)
        request = post(BODY, "Expect: 100-continue")
        await client.send(request[: -len(BODY)])
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await client.ask(BODY)).status == 201


async def test_too_large_a_body_is_refused_before_it_is_sent() -> None:
    async with serving(QUICK) as service:
        client = await Client.connect(service.port)
        head = post(b"x" * 500_000)[:-500_000]
        assert (await client.ask(head)).status == 413
        await client.send(b"x" * 250_000, post() + b"x" * (250_000 - len(post())))
        assert (await client.ask(post())).status == 201, "the refused body was not taken for requests"
        assert len(service.store.notes) == 1


async def test_http_1_0_and_connection_close_are_answered_and_closed() -> None:
    for request in (post().replace(b"HTTP/1.1", b"HTTP/1.0"), post(BODY, "Connection: close")):
        async with serving(QUICK) as service:
            client = await Client.connect(service.port)
            answer = await client.ask(request)
            assert (answer.status, answer.headers["connection"]) == (201, "close")
            assert await client.is_closed()


async def test_other_paths_and_methods_are_told_in_the_same_form() -> None:
    async with serving(QUICK) as service:
        client = await Client.connect(service.port)
        for line, status in {"GET /course": 405, "GET /": 404, "DELETE /course": 405, "GET /course/1": 404}.items():
            answer = await client.ask(f"{line} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert (answer.status, set(answer.json)) == (status, {"error", "fields"})
        head = (await Client.connect(service.port), b"HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        await head[0].send(head[1])
        assert (await head[0].answers(1, no_body=True))[0].status == 200


async def test_a_malformed_request_is_refused_and_the_connection_closed() -> None:
    for request in (b"\x16\x03\x01\x00\r\n\r\n", b"POST /course\r\n\r\n", b"POST /course HTTP/9.9\r\n\r\n"):
        async with serving(QUICK) as service:
            client = await Client.connect(service.port)
            assert (await client.ask(request)).status == 400
            assert await client.is_closed()


async def test_headers_that_are_too_long_are_refused() -> None:
    async with serving(QUICK) as service:
        client = await Client.connect(service.port)
        assert (await client.ask(post(BODY, "X: " + "y" * 20_000))).status == 413


async def test_pipelined_requests_of_every_kind_are_answered_in_their_order() -> None:
    async with serving(QUICK) as service:
        client = await Client.connect(service.port)
        service.store.open.clear()
        await client.send(
            post() + post(b"x") + post(), post(b"[]") + post(), b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        await client.send(post(), b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" + post())
        await asyncio.sleep(0.05)
        service.store.open.set()
        found = [answer.status for answer in await client.answers(9)]
        assert found == [201, 400, 201, 400, 201, 200, 201, 404, 201]


async def test_a_client_may_finish_sending_before_it_reads() -> None:
    async with serving(QUICK) as service:
        client = await Client.connect(service.port)
        service.store.open.clear()
        await client.send(post())
        client.writer.write_eof()
        await asyncio.sleep(0.05)
        service.store.open.set()
        assert (await client.answers(1))[0].status == 201
        assert await client.is_closed()


async def test_a_client_that_is_gone_before_its_answer_disturbs_nobody() -> None:
    async with serving(QUICK) as service:
        service.store.open.clear()
        gone, stays = await Client.connect(service.port), await Client.connect(service.port)
        await gone.send(post())
        await stays.send(post())
        gone.writer.transport.abort()
        await asyncio.sleep(0.05)
        service.store.open.set()
        assert (await stays.answers(1))[0].status == 201
        assert len(service.store.notes) == 2


async def test_a_client_that_never_reads_is_not_read_from_without_end() -> None:
    async with serving(QUICK) as service:
        client = await Client.connect(service.port)
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        sent = 0
        piece = post(b"x") * 40
        try:
            async with asyncio.timeout(3):
                while sent < 200_000:
                    await client.send(piece)
                    sent += 40
        except TimeoutError:
            pass
        assert sent < 200_000


async def test_each_of_a_batch_gets_its_own_outcome() -> None:
    async with serving(QUICK) as service:
        service.store.open.clear()
        clients = [await Client.connect(service.port) for _ in range(4)]
        for client in clients:
            await client.send(post())
            await asyncio.sleep(0.02)
        service.store.refuse = {1: Failure(503, "refused")}
        service.store.open.set()
        statuses = [(await client.answers(1))[0].status for client in clients]
        assert [len(batch) for batch in service.store.batches] == [1, 3]
        assert statuses == [201, 201, 503, 201]


async def test_a_database_that_is_down_is_a_quick_503_with_retry_after_and_comes_back() -> None:
    async with serving(QUICK) as service:
        service.store.fail = Unavailable("down")
        client = await Client.connect(service.port)
        assert (await client.ask(post())).status == 503
        async with asyncio.timeout(QUICK.deadline_s / 2):
            answer = await client.ask(post())
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert (await client.ask(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")).status == 503
        service.store.fail = None
        async with asyncio.timeout(5):
            while True:
                await asyncio.sleep(QUICK.probe_pause_s)
                if (await client.ask(post())).status == 201:
                    break


async def test_a_full_queue_is_an_immediate_503() -> None:
    async with serving(Limits(queue=2)) as service:
        service.store.open.clear()
        client = await Client.connect(service.port)
        await client.send(*[post()] * 2)
        await client.send(post() * 4)
        await asyncio.sleep(0.05)
        assert service.handler.metrics.by_status["503"] >= 2
        service.store.open.set()
        assert sorted(answer.status for answer in await client.answers(6)) == [201, 201, 201, 503, 503, 503]


async def test_the_key_fixes_the_id() -> None:
    async with serving(QUICK) as service:
        client = await Client.connect(service.port)
        assert (await client.ask(CASES["key"])).json == {"id": id_of("abc").hex(), "route": "relay"}


async def test_a_request_that_never_ends_is_given_up() -> None:
    async with serving(QUICK, REQUEST_TIMEOUT=0.2) as service:
        client = await Client.connect(service.port)
        assert (await client.ask(post()[:50])).status == 408
        assert await client.is_closed()


@pytest.mark.parametrize("drip", [False, True])
async def test_a_body_that_never_ends_is_given_up(drip: bool) -> None:
    async with serving(QUICK, REQUEST_TIMEOUT=0.4) as service:
        client = await Client.connect(service.port)
        request = post()
        await client.send(request[:-20])
        if drip:
            for at in range(-20, -16):
                await asyncio.sleep(0.05)
                await client.send(request[at : at + 1])
        (answer,) = await client.answers(1)
        assert (answer.status, answer.json["error"]) == (408, "the body did not arrive in time")
        assert await client.is_closed()
        assert not service.store.notes


async def test_an_idle_connection_is_closed_after_a_while_but_not_a_busy_one() -> None:
    async with serving(QUICK, KEEP_ALIVE_TIMEOUT=0.4) as service:
        idle, busy = await Client.connect(service.port), await Client.connect(service.port)
        for _ in range(8):
            assert (await busy.ask(post())).status == 201
            await asyncio.sleep(0.1)
        assert await idle.is_closed()


async def test_a_note_in_conflict_gets_its_422_both_ways() -> None:
    for protocol in (FastPath, HttpProtocol):
        async with serving(QUICK, protocol) as service:
            service.store.refuse = {0: OTHER_NOTE}
            client = await Client.connect(service.port)
            answer = await client.ask(post())
            assert (answer.status, answer.json) == (422, {"error": OTHER_NOTE.error, "fields": {}})
