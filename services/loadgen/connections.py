"""The connections of a user, which fail within seconds when the host at their other end is gone."""

import socket

from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.url import URL

from loadgen.settings import GONE_S


class Connections(HTTPClientPool):
    """By host. One that is gone is told from one that is slow: a host that lives confirms at once what it gets."""

    def get_client(self, url: str | URL) -> HTTPClient:
        client = super().get_client(url)
        # geventhttpclient calls this for each new connection, and has no other way to set an option of its socket.
        client.__dict__["_connection_pool"].after_connect = _fail_when_the_host_is_gone
        return client


def _fail_when_the_host_is_gone(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(GONE_S * 1000))
