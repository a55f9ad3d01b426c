"""Downloaded files: what publishers' lists and bundles say, and the action artifact's parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256 as hashed
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
import yaml
from ansible.errors import AnsibleActionFail

from courseload.artifacts import Artifact, bundled, deviations, needed, pins_of, sha256
from helpers.http_server import Exchange, certificate, serving
from helpers.plugins import load

artifact = load("action", "artifact")

ONE, TWO = "1" * 64, "2" * 64
THING = Artifact("1", "https://example.invalid/v%2B1/thing", "thing-1", checksums="https://example.invalid/sums.txt")
CHART = Artifact("1.0", "https://example.invalid/c-x-1.0.tgz", "c-x-1.0.tgz", "https://example.invalid/index.yaml")


@pytest.mark.parametrize("line", ["{}  thing", "{} *thing", "{}  ./thing", "{}  thing\r"])
def test_a_publishers_list_has_lines_as_sha256sum_writes_them(line: str) -> None:
    assert THING.published_sum(f"{TWO}  another-thing\n{TWO}  thing.sig\n{line.format(ONE)}\n") == ONE


@pytest.mark.parametrize("text", ["", f"{ONE}  things\n", f"{ONE[1:]}  thing\n", "<html>thing</html>"])
def test_a_list_without_the_file_says_nothing(text: str) -> None:
    assert THING.published_sum(text) == ""


def test_the_index_of_a_chart_repository_tells_the_digest_of_a_version() -> None:
    releases = [{"version": "1.0.1", "digest": TWO}, {"version": "1.0", "digest": ONE}]
    index = yaml.safe_dump({"entries": {"c-x": releases, "c": [{"version": "1.0", "digest": TWO}]}})
    assert CHART.published_sum(index) == ONE
    assert CHART.published_sum("entries: {}") == ""


@pytest.mark.parametrize("text", ["<html>", "entries: [", "[]", "entries: {c-x: [{version: '1.0'}]}"])
def test_what_is_no_index_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="index"):
        CHART.published_sum(text)


def test_the_sum_in_a_description_goes_before_the_pins(tmp_path: Path) -> None:
    pins_file = tmp_path / "pins.yml"

    def described(pins: dict[str, str], **more: Any) -> Artifact:
        return Artifact.described({"version": 1, "url": "file:///a", "file": "a"} | more, pins, {}, str(pins_file))

    pins = {"a": f"sha256:{TWO}"}
    assert (described(pins).pin, described(pins).pinned_in) == (TWO, "group_vars/all/pins.yml")
    pins_file.write_text(f"a: sha256:{TWO}\n")
    assert described(pins).pinned_in == str(pins_file)
    own = described(pins, sha256=ONE.upper().replace("1", "A"))
    assert (own.pin, own.pinned_in) == ("a" * 64, "group_vars/all/artifacts.yml")
    assert not described({}).vouched_for
    assert described({}, brought=True).vouched_for


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("a", "b", "images/.c"):
        (tmp_path / name).write_text(name)
    names = ("a", "b", "images/.c")
    lines = [f"{hashed(name.encode()).hexdigest()}  {name}\n" for name in names]
    (tmp_path / "SHA256SUMS").write_text("".join(lines))
    return tmp_path


def test_a_bundle_as_it_was_made_has_no_deviations(bundle: Path) -> None:
    assert deviations(bundle) == {}
    assert bundled(bundle)["a"] == sha256(bundle / "a")


def test_what_is_not_as_it_was_is_named_by_what_is_wrong(bundle: Path) -> None:
    (bundle / "a").unlink()
    (bundle / "images/.c").write_text("C")
    (bundle / "images/new").write_text("")
    (bundle / "b").rename(bundle / "other")
    (bundle / "b").symlink_to("other")
    assert deviations(bundle) == {
        "missing": ["a"],
        "changed": ["b", "images/.c"],
        "not on its list": ["images/new", "other"],
    }


def half(exchange: Exchange) -> None:
    """Ends in the middle of what it has announced."""
    exchange.send_response(200)
    exchange.send_header("Content-Length", "100")
    exchange.end_headers()
    exchange.wfile.write(b"half")


@pytest.fixture
def cut() -> Iterator[str]:
    with serving(half) as port:
        yield f"http://127.0.0.1:{port}/thing"


def test_a_download_that_ends_early_leaves_what_was_there(tmp_path: Path, cut: str) -> None:
    target = tmp_path / "thing-1"
    target.write_text("before")
    with pytest.raises(artifact.NO_ANSWER, match="only 4 of 100 bytes"):
        artifact.download(Artifact("1", cut, "thing-1", pin=ONE), target, ONE, sha256(target))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("thing-1", "before")]


def test_a_list_without_end_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"x" * 1000)
    with pytest.raises(ValueError, match="larger than 999"):
        list(artifact.received((tmp_path / "list").as_uri(), 1, 999))


def test_a_file_gets_its_place_with_rights_for_everybody_to_read(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("content")
    (tmp_path / "source").chmod(0o600)
    file = Artifact("1", (tmp_path / "source").as_uri(), "thing-1", brought=True)
    (tmp_path / "files").mkdir()
    target = tmp_path / "files/thing-1"
    assert artifact.download(file, target, "", "")
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("content", 0o644)
    assert not artifact.download(file, target, "", sha256(target))
    assert list((tmp_path / "files").iterdir()) == [target]


def test_only_what_is_missing_or_has_another_sum_is_downloaded() -> None:
    pinned = Artifact("1", "file:///a", "a", pin=ONE)
    assert [artifact.lacking(pinned, found) for found in ("", TWO, ONE)] == [True, True, False]
    assert [artifact.lacking(THING, found, ONE) for found in ("", TWO, ONE)] == [True, True, False]
    assert [artifact.lacking(THING, found) for found in ("", TWO)] == [True, False]


@pytest.mark.parametrize(
    "problem",
    [
        URLError("Tunnel connection failed: user:p%40ss@proxy"),
        ValueError("nonnumeric port: 'p@ss'"),
        HTTPError("http://user:p%40ss@proxy", 407, "Proxy Authentication Required for user:p@ss", None, None),  # type: ignore[arg-type]
    ],
)
def test_no_reason_tells_the_password_of_a_proxy(problem: Exception) -> None:
    with artifact.environment({"https_proxy": "http://user:p%40ss@proxy:3128"}):
        told = artifact.reason(problem)
    assert "***" in told
    assert not any(secret in told for secret in ("p@ss", "p%40ss"))


def test_an_inventory_needs_what_is_for_its_architecture_its_cluster_and_mesh_and_what_runs_beside_it() -> None:
    described: dict[str, dict[str, str]] = {
        "amd64": {"architecture": "amd64"},
        "arm64": {"architecture": "arm64"},
        "chart": {"mesh": "linkerd"},
        "plugin": {"workload": "grafana"},
        "other": {},
    }
    assert list(needed(described, "arm64", cluster=True, mesh=False, workloads=[])) == ["arm64", "other"]
    assert list(needed(described, "amd64", cluster=True, mesh=True, workloads={"grafana": {}})) == [
        "amd64",
        "chart",
        "plugin",
        "other",
    ]
    assert list(needed(described, "amd64", cluster=False, mesh=False, workloads={"grafana": {}})) == ["plugin"]


def test_the_pins_of_files_are_the_sums_of_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "thing-1").write_bytes(b"thing")
    files = [str(tmp_path / "thing-1"), str(tmp_path / "absent")]
    assert pins_of(files) == {"thing-1": f"sha256:{hashed(b'thing').hexdigest()}"}


@pytest.fixture
def list_and_sum(tmp_path: Path) -> tuple[str, str]:
    """The URL of a publisher's list, and the sum that it has for `thing`."""
    (tmp_path / "sums.txt").write_text(f"{ONE}  thing\n")
    return (tmp_path / "sums.txt").as_uri(), ONE


def test_a_list_that_says_something_else_than_what_was_seen_once_is_refused(list_and_sum: tuple[str, str]) -> None:
    listed, published = list_and_sum
    agreed = Artifact("1", "file:///thing", "thing-1", checksums=listed, once=published)
    assert artifact.sums_of([agreed]) == {agreed: published}
    with pytest.raises(AnsibleActionFail, match=f"{ONE} for thing-1, where {TWO} was seen before"):
        artifact.sums_of([replace(agreed, once=TWO)])
    # Somebody who has looked has pinned it.
    assert set(artifact.sums_of([replace(agreed, once=TWO, pin=ONE)]).values()) == {ONE}


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str) -> Iterator[str]:
    """A server with TLS; its /redirected leads to one without."""

    def answer(exchange: Exchange) -> None:
        if exchange.path == "/redirected":
            exchange.reply(302, Location=cut)
        else:
            exchange.reply(200, b"thing")

    tls = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tls))
    with serving(answer, tls) as port:
        yield f"https://127.0.0.1:{port}"


def test_what_is_pinned_on_first_use_comes_over_tls_to_its_end(secure: str) -> None:
    assert b"".join(artifact.received(f"{secure}/thing", 5, secure=True)) == b"thing"
    with pytest.raises(ValueError, match="leads to a URL that is not https"):
        list(artifact.received(f"{secure}/redirected", 5, secure=True))


def test_what_would_be_pinned_from_a_url_that_anybody_can_change_is_refused() -> None:
    over = {kind: Artifact("1", f"{kind}://example.invalid/a", "a") for kind in ("http", "https", "file")}
    (refusal,) = artifact.changeable(list(over.values()), "/inventory/pins.yml")
    assert "http://example.invalid/a is not https" in refusal
    assert "/inventory/pins.yml" in refusal
