"""Where users post: the list of targets, and connections to hosts that may go away."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from course.settings import BadSetting
from loadgen.connections import Connections
from loadgen.settings import GONE_S
from loadgen.targets import parse_targets


def test_a_list_of_targets_is_separated_by_commas():
    assert parse_targets("http://10.0.0.1:30080, https://lab.example/,http://[::1]:80") == [
        "http://10.0.0.1:30080",
        "https://lab.example",
        "http://[::1]:80",
    ]


@pytest.mark.parametrize("text", ["", "localhost:8080", "http://a,,http://b", "http://a b", "ftp://a", "http://"])
def test_what_is_no_url_is_refused(text):
    with pytest.raises(BadSetting, match="must be URLs"):
        parse_targets(text)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()


def test_connections_notice_that_the_host_at_their_other_end_is_gone():
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        client = Connections().get_client(url)
        assert client.get("/").get_code() == 204
        connection = client._connection_pool.get_socket()
        limit = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert limit == GONE_S * 1000
