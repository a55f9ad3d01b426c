"""The module `image_digests`: what a registry says of a tag, over TLS and to anybody who asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.http_server import Exchange, certificate, serving
from helpers.plugins import load

module = load("modules", "image_digests")

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("name", "mirror", "url"),
    [
        ("docker.io/library/redis", "", "https://registry-1.docker.io/v2/library/redis/manifests/8.0"),
        ("cr.l5d.io/linkerd/proxy", "", "https://cr.l5d.io/v2/linkerd/proxy/manifests/8.0"),
        ("docker.io/library/redis", "https://m:5000", "https://m:5000/v2/library/redis/manifests/8.0"),
        ("docker.io/library/redis", "https://m/a/b/", "https://m/v2/a/b/library/redis/manifests/8.0"),
    ],
)
def test_a_tag_is_asked_for_at_its_registry_or_at_the_mirror(name: str, mirror: str, url: str) -> None:
    assert module.manifest_url(name, "8.0", mirror) == url


def registry(exchange: Exchange) -> None:
    """Has `a:1` for whoever fetched a token, and `open:1` for all; others lead elsewhere or say nothing."""
    path, _, query = exchange.path.partition("?")
    host = exchange.headers["Host"]
    if path == "/token":
        assert query == "service=test&scope=repository%3Aa%3Apull"
        exchange.reply(200, json.dumps({"token": "anybody"}).encode())
    elif path == "/v2/a/manifests/1" and exchange.headers["Authorization"] != "Bearer anybody":
        challenge = f'Bearer realm="https://{host}/token",service="test",scope="repository:a:pull"'
        exchange.reply(401, WWW_Authenticate=challenge)
    elif path in ("/v2/a/manifests/1", "/v2/open/manifests/1"):
        assert (exchange.command, "image.index" in exchange.headers["Accept"]) == ("HEAD", True)
        exchange.reply(200, Docker_Content_Digest=DIGEST)
    elif path == "/v2/vague/manifests/1":
        exchange.reply(200, Docker_Content_Digest="sha256:1")
    elif path == "/v2/insecure/manifests/1":
        exchange.reply(307, Location=f"http://127.0.0.1:{INSECURE[0]}/v2/open/manifests/1")
    else:
        exchange.reply(404)


INSECURE: list[int] = []  # the port of the same without TLS


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def mirror(tls: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls))
    with serving(registry, tls) as port, serving(registry) as insecure:
        INSECURE[:] = [insecure]
        yield f"https://127.0.0.1:{port}"


def test_it_tells_the_digests_and_why_there_are_none(mirror: str) -> None:
    names = ("a", "open", "vague", "insecure", "absent")
    found = module.ask({name: {"name": f"docker.io/{name}", "tag": "1"} for name in names}, mirror)
    assert found["digests"] == {"a": DIGEST, "open": DIGEST}
    assert found["failures"].keys() == {"vague", "insecure", "absent"}
    assert "does not say" in found["failures"]["vague"]
    assert "leads to a URL that is not https" in found["failures"]["insecure"]
    assert found["failures"]["absent"] == "404 Not Found"


def test_a_mirror_without_tls_is_not_asked(mirror: str) -> None:
    plain = f"http://127.0.0.1:{INSECURE[0]}"
    found = module.ask({"open": {"name": "docker.io/open", "tag": "1"}}, plain)
    assert found["digests"] == {}
    assert "not https" in found["failures"]["open"]


def test_a_certificate_that_nobody_trusts_is_no_answer(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    found = module.ask({"open": {"name": "docker.io/open", "tag": "1"}}, mirror)
    assert found["digests"] == {}
    assert "certificate" in found["failures"]["open"].lower()
