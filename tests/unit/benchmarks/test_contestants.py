"""Who is measured, and what the ingress is told of them."""

from pathlib import Path

import pytest

from bench import ingress, peers
from bench.contestants import Contestant, databases_of, ours, rivals
from bench.product import Service

URIS = {"MONGODB_URI": "mongodb://me:secret@mongodb:27017/b?authSource=admin", "REDIS_URL": "redis://x:y@redis:6379/15"}
DIRECT = Service("image", ("direct",), {**URIS, "MONGODB_DATABASE": "b"})
SERVICE = Service("image", ("service",), {"MONGODB_URI": URIS["MONGODB_URI"]})


def contestant(name: str) -> Contestant:
    everyone = [*ours(SERVICE, SERVICE, DIRECT), *rivals("rust", "in Rust", "rust", "", databases_of(DIRECT))]
    return next(c for c in everyone if c.name == name)


@pytest.mark.parametrize(("name", "part"), [("relay", 0), ("direct", 0), ("rust-relay", 0), ("rust-direct", 0)])
def test_a_contestant_can_be_cut_off_from_mongodb(name: str, part: int):
    away = contestant(name).without("MONGODB_URI").parts[part].environment
    assert away["MONGODB_URI"] == "mongodb://me:secret@127.0.0.1:9/b?authSource=admin"
    assert away.get("REDIS_URL") == contestant(name).parts[part].environment.get("REDIS_URL")


def test_the_ingress_shares_evenly_between_both_routes():
    told = ingress.settings([contestant("both")])["benchmark_contestants"]["both"]
    assert told["routes"] == {"benchmark-relay": 50, "benchmark-direct": 50}
    assert {name: w["port"] for name, w in told["workloads"].items()} == {
        "benchmark-relay": 8000,
        "benchmark-direct": 8020,
    }


def test_the_ingress_sends_everything_to_the_one_route_of_a_contestant():
    told = ingress.settings([contestant("rust-direct")])["benchmark_contestants"]["rust-direct"]
    assert told["routes"] == {"benchmark-rust-direct": 100}


@pytest.mark.parametrize(("language", "prefix"), [("go", ""), ("go", "plain-"), ("rust", "")])
def test_an_image_has_all_that_its_rivals_run(language: str, prefix: str):
    run = {part.command[0] for rival in rivals("kind", "what", "image", prefix, {}) for part in rival.parts}
    assert run <= {f"/{program}" for program in peers._packed(peers.PEERS / language)}


def test_without_cargo_it_is_told_what_the_rust_peers_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    podman = tmp_path / "podman"  # that has no image
    podman.write_text("#!/bin/sh\nexit 1\n")
    podman.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(peers.CannotBuildError, match="need Cargo"):
        peers.rust_image()


def test_an_image_is_built_anew_when_a_source_changes(tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.go").write_text("one")
    before = peers._tag("go", source)
    assert peers._tag("go", source) == before
    (source / "a.go").write_text("two")
    assert peers._tag("go", source) != before
