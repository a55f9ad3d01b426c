"""Who is measured: courseload's two routes, the exercise's design in Go, and the floor."""

from dataclasses import dataclass
from pathlib import Path

from .podman import Part
from .product import MONGODB_DATABASE, Service
from .store import HELPER

MOUNTS = (f"{Path(__file__).parent}/inside:/bench:ro",)


@dataclass(frozen=True)
class Contestant:
    """Something that answers POST /course: its parts in starting order, the last of which takes the requests.

    `keeps` names what it must have kept: notes `stored` in MongoDB, notes `counted` in Redis.
    """

    name: str
    what: str
    port: int
    parts: tuple[Part, ...]
    keeps: tuple[str, ...]


def contestants(relay: Service, ledger: Service, direct: Service, peers: str) -> list[Contestant]:
    """The five contestants: the services as their pods run them, the peers from the image `peers`."""
    gateway = {"LEDGER_ADDRESS": "benchmark-peer-ledger:8010"}
    databases = {name: direct.environment[name] for name in ("MONGODB_URI", "MONGODB_DATABASE", "REDIS_URL")}
    return [
        Contestant(
            "relay",
            "route 1: relay and ledger",
            8000,
            (
                Part("benchmark-ledger", ledger.image, ledger.command, ledger.environment),
                Part(
                    "benchmark-relay",
                    relay.image,
                    relay.command,
                    {**relay.environment, "GRPC_SERVER_HOST": "benchmark-ledger"},
                ),
            ),
            ("stored",),
        ),
        Contestant(
            "peer-relay",
            "route 1 in Go: gin, a gRPC call and an InsertOne a request",
            8000,
            (
                Part("benchmark-peer-ledger", peers, ("/ledger",), databases),
                Part("benchmark-peer-gateway", peers, ("/gateway",), gateway),
            ),
            ("stored",),
        ),
        Contestant(
            "direct",
            "route 2: direct",
            8020,
            (Part("benchmark-direct", direct.image, direct.command, direct.environment),),
            ("stored", "counted"),
        ),
        Contestant(
            "peer-direct",
            "route 2 in Go: gin, an InsertOne and a go-redis pipeline a request",
            8020,
            (Part("benchmark-peer-direct", peers, ("/direct",), databases),),
            ("stored", "counted"),
        ),
        Contestant(
            "floor",
            "a Sanic handler that only validates",
            8000,
            (Part("benchmark-floor", direct.image, ("python3", "/bench/floor.py"), {}, MOUNTS),),
            (),
        ),
    ]


def helper(direct: Service) -> Part:
    """The helper that counts and clears what was stored, beside the databases."""
    return Part(
        HELPER,
        direct.image,
        ("sleep", "infinity"),
        {**direct.environment, "MONGODB_DATABASE": MONGODB_DATABASE},
        MOUNTS,
    )
