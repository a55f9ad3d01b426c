"""What comes from elsewhere without a pin or a publisher's list is pinned on first use, and only that counts then."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.http_server import Exchange, certificate, serving
from helpers.machine import REPOSITORY
from helpers.playbook import Play, play, write_playbook

TASKS = """\
- name: Use
  ansible.builtin.include_role: {role}
- name: Tell
  ansible.builtin.debug:
    msg: "pinned {{{{ registry_pins | to_json }}}}, from {{{{ image_source_chosen | default('') }}}}"
"""
FILES = "{name: artifact}"
IMAGES = "{name: image, tasks_from: source}"
RECORD = "{name: control_machine, tasks_from: record}"
VARIABLES = REPOSITORY / "group_vars/all"
UPSTREAM = yaml.safe_load((VARIABLES / "images.yml").read_text())["registry_images"]
TAGS = {key: f"{UPSTREAM[key]['name']}:{UPSTREAM[key]['tag']}" for key in ("redis", "haproxy")}
PUBLISHED = yaml.safe_load((VARIABLES / "pins.yml").read_text())["published_pins"]


def digest(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


class Publisher:
    """It has a file, `thing`, and images, by the last part of their names, whose digests depend on what is in them."""

    def __init__(self) -> None:
        self.content = b"what was published\n"
        self.images = {"redis": b"redis 8.0.1", "haproxy": b"haproxy 3.2.1"}
        self.asked: list[str] = []
        self.url = ""

    def answer(self, exchange: Exchange) -> None:
        self.asked.append(exchange.path)
        parts = exchange.path.strip("/").split("/")
        if exchange.path == "/thing":
            exchange.reply(200, self.content)
        elif exchange.path == "/v2/":
            exchange.reply(200)
        elif "manifests" in parts and parts[2] in self.images:
            exchange.reply(200, Docker_Content_Digest=digest(self.images[parts[2]]))
        else:
            exchange.reply(404)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def publisher(tls: Path) -> Iterator[Publisher]:
    found = Publisher()
    with serving(found.answer, tls) as port:
        found.url = f"https://127.0.0.1:{port}"
        yield found


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    """The file beside the inventory."""
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory/hosts.yml").write_text((REPOSITORY / "inventory/local.yml").read_text())
    return tmp_path / "inventory/pins.yml"


@pytest.fixture
def use(tmp_path: Path, tls: Path, pins: Path, publisher: Publisher) -> Any:
    """Runs a playbook that uses what the publisher has."""
    thing = {"version": "1", "url": f"{publisher.url}/thing", "file": "thing-1"}
    settings = {
        "artifact_names": ["thing"],
        "artifacts": {"thing": thing},
        "artifact_directory": str(tmp_path / "files"),
        "artifact_cache": str(tmp_path / "files"),
        "config_dir": str(tmp_path / "etc"),
        "registry_mirror": publisher.url,
        "published_pins": {name: pin for name, pin in PUBLISHED.items() if name not in TAGS.values()},
    }

    def run(role: str, *options: str, **variables: Any) -> Play:
        path = role if role.endswith(".yml") else write_playbook(tmp_path, TASKS.format(role=role))
        inventory, within = str(pins.with_name("hosts.yml")), ["env", f"SSL_CERT_FILE={tls}"]
        return play(path, *options, inventory=inventory, within=within, **settings | variables)

    return run


def done(outcome: Play) -> Play:
    assert outcome.ok, outcome.output
    return outcome


def test_a_file_is_pinned_on_first_use_and_another_refused_then(
    tmp_path: Path, publisher: Publisher, pins: Path, use: Any
) -> None:
    assert "Pin on first use" in done(use(FILES)).changes
    assert yaml.safe_load(pins.read_text()) == {"thing-1": digest(publisher.content)}
    assert done(use(FILES)).changes == []
    (tmp_path / "files/thing-1").unlink()
    pinned, publisher.content = digest(publisher.content), b"changed\n"
    refused = use(FILES)
    assert not refused.ok
    for words in ("thing-1", pinned[7:], digest(publisher.content)[7:], f"pinned in {pins}", "correct the pin"):
        assert words in refused.reasons[-1]
    assert not (tmp_path / "files/thing-1").exists()
    # What was done on purpose is written there.
    pins.write_text(f"thing-1: {digest(publisher.content)}\n")
    done(use(FILES))


def test_what_is_there_without_a_pin_is_not_what_is_pinned(
    tmp_path: Path, publisher: Publisher, pins: Path, use: Any
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/thing-1").write_text("from somebody\n")
    done(use(FILES))
    assert (tmp_path / "files/thing-1").read_bytes() == publisher.content
    assert yaml.safe_load(pins.read_text()) == {"thing-1": digest(publisher.content)}


def test_a_check_says_what_it_would_pin_and_writes_nothing(tmp_path: Path, pins: Path, use: Any) -> None:
    for role in (FILES, IMAGES):
        outcome = done(use(role, "--check", image_source="registry"))
        assert "Pin on first use" in outcome.changes
    assert not pins.exists()
    assert not (tmp_path / "files").exists()


def test_a_file_that_does_not_come_over_tls_is_not_pinned(pins: Path, use: Any) -> None:
    plain = {"version": "1", "url": "http://publisher.invalid/thing", "file": "thing-1"}
    refused = use(FILES, artifacts={"thing": plain})
    assert not refused.ok
    assert all(words in refused.reasons[-1] for words in ("http://publisher.invalid/thing is not https", str(pins)))
    assert not pins.exists()


@pytest.mark.parametrize("image_source", ["auto", "registry"])
def test_the_images_of_a_registry_are_pinned_on_first_use(
    publisher: Publisher, pins: Path, use: Any, image_source: str
) -> None:
    first = done(use(IMAGES, image_source=image_source))
    assert first.changes.count("Pin on first use") == 1
    expected = {tagged: digest(publisher.images[key]) for key, tagged in TAGS.items()}
    assert yaml.safe_load(pins.read_text()) == expected
    assert f'"redis": "{expected[TAGS["redis"]]}"' in first.output.replace('\\"', '"')
    assert "from registry" in first.output
    # From then on nobody is asked, and a tag may move.
    publisher.images["redis"], publisher.asked[:] = b"redis 8.0.2", []
    second = done(use(IMAGES, image_source=image_source))
    assert second.changes == []
    assert [path for path in publisher.asked if "manifests" in path] == []
    assert yaml.safe_load(pins.read_text()) == expected


def test_a_registry_that_lacks_an_image_is_not_taken_by_itself_and_refused_where_it_is_asked_for(
    publisher: Publisher, pins: Path, use: Any
) -> None:
    del publisher.images["haproxy"]
    assert "from packages" in done(use(IMAGES)).output
    refused = use(IMAGES, image_source="registry")
    assert not refused.ok
    assert f"({TAGS['haproxy']}: 404 Not Found)" in refused.reasons[0]
    assert not pins.exists()


def test_the_lock_pins_before_and_stops_where_a_tag_has_another_digest(
    publisher: Publisher, pins: Path, use: Any
) -> None:
    others = ("mongo", "grafana", "controller", "proxy")
    publisher.images |= {name: name.encode() for name in others}
    done(use("playbooks/lock.yml", published_pins={}))
    expected = {tagged: digest(publisher.images[key]) for key, tagged in TAGS.items()}
    pinned = yaml.safe_load(pins.read_text())
    assert pinned == pinned | expected | {"thing-1": digest(publisher.content)}
    assert len(pinned) == len(expected) + len(others) + 1
    assert done(use("playbooks/lock.yml", published_pins={})).changes == []
    publisher.images["redis"] = b"redis 8.0.2"
    moved = digest(publisher.images["redis"])
    refused = use("playbooks/lock.yml", published_pins={})
    assert not refused.ok
    assert f"is {moved} now, and pinned as {expected[TAGS['redis']]} in {pins}" in refused.reasons[0]


def test_a_file_of_pins_that_cannot_be_read_stops_the_run(pins: Path, use: Any) -> None:
    pins.write_text("thing-1: 12\n")
    refused = use(FILES)
    assert not refused.ok
    assert f"{pins} has 12 for thing-1" in refused.output


def test_what_another_machine_has_pinned_is_named_and_not_pinned_anew(
    tmp_path: Path, publisher: Publisher, pins: Path, use: Any
) -> None:
    (tmp_path / "etc").mkdir()
    done(use(IMAGES, image_source="registry"))
    assert done(use(RECORD)).changes == ["Record what the control machine keeps"]
    assert done(use(RECORD)).changes == []
    before = yaml.safe_load(pins.read_text())
    pins.unlink()
    publisher.images["redis"] = b"redis 8.0.2"
    refused = use(IMAGES, image_source="registry")
    assert not refused.ok
    assert refused.changes == []
    assert not pins.exists()
    reason = refused.reasons[0]
    assert f"{pins} has no pin for" in reason
    # What it says to write is what there was.
    pins.write_text(reason.split(f"these lines in {pins}:")[1])
    assert yaml.safe_load(pins.read_text()) == before
    assert done(use(IMAGES, image_source="registry")).changes == []
