"""Who is measured: courseload's routes, the same contract in Go and Rust, the exercise's plain design, a floor."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from .podman import Part
from .product import MONGODB_DATABASE, Service
from .store import HELPER

MOUNTS = (f"{Path(__file__).parent}/inside:/bench:ro",)
# The script with which courseload counts in Redis: the rivals that group their writes run the same one.
APPLY_LUA = Path(__file__).parents[2] / "services/direct/apply.lua"
NOBODY = "127.0.0.1:9"  # within a container, nothing listens there
RELAY, DIRECT = 8000, 8020


@dataclass(frozen=True)
class Door:
    """What takes the requests: a part and its port, and what it keeps of them.

    `keeps` names notes `stored` in MongoDB and notes `counted` in Redis.
    """

    part: str
    port: int
    keeps: tuple[str, ...]


@dataclass(frozen=True)
class Contestant:
    """Something that answers POST /course: its parts in starting order, and where it takes requests."""

    name: str
    what: str
    parts: tuple[Part, ...]
    doors: tuple[Door, ...]

    def without(self, setting: str) -> "Contestant":
        """The same, with nobody at the address in this setting."""
        parts = [replace(p, environment=_moved(p.environment, setting)) for p in self.parts]
        return replace(self, parts=tuple(parts))


def _moved(environment: Mapping[str, str], setting: str) -> dict[str, str]:
    moved = dict(environment)
    if setting in moved:
        url = urlsplit(moved[setting])
        login, at, _ = url.netloc.rpartition("@")
        moved[setting] = urlunsplit(url._replace(netloc=f"{login}{at}{NOBODY}"))
    return moved


def ours(relay: Service, ledger: Service, direct: Service) -> Iterator[Contestant]:
    """courseload's services as their pods run them: each route by itself, and the two at once."""
    environment = {**relay.environment, "GRPC_SERVER_HOST": "benchmark-ledger"}
    route1 = (
        Part("benchmark-ledger", ledger.image, ledger.command, ledger.environment, group="ledger"),
        Part("benchmark-relay", relay.image, relay.command, environment),
    )
    route2 = (Part("benchmark-direct", direct.image, direct.command, direct.environment),)
    door1 = Door("benchmark-relay", RELAY, ("stored",))
    door2 = Door("benchmark-direct", DIRECT, ("stored", "counted"))
    yield Contestant("relay", "route 1 of courseload: relay and ledger", route1, (door1,))
    yield Contestant("direct", "route 2 of courseload", route2, (door2,))
    yield Contestant("both", "both routes of courseload at once", (*route1, *route2), (door1, door2))


def rivals(kind: str, what: str, image: str, prefix: str, databases: Mapping[str, str]) -> Iterator[Contestant]:
    """Both routes as the programs of an image, whose names begin with `prefix`."""
    ledger, gateway, direct = (f"benchmark-{kind}-{program}" for program in ("ledger", "gateway", "direct"))
    environment = {**databases, "APPLY_LUA": "/apply.lua"}
    script = (f"{APPLY_LUA}:/apply.lua:ro",)
    yield Contestant(
        f"{kind}-relay",
        f"route 1 {what}",
        (
            Part(ledger, image, (f"/{prefix}ledger",), environment, group="ledger"),
            Part(gateway, image, (f"/{prefix}gateway",), {"LEDGER_ADDRESS": f"{ledger}:8010"}),
        ),
        (Door(gateway, RELAY, ("stored",)),),
    )
    yield Contestant(
        f"{kind}-direct",
        f"route 2 {what}",
        (Part(direct, image, (f"/{prefix}direct",), environment, script),),
        (Door(direct, DIRECT, ("stored", "counted")),),
    )


def floor(image: str) -> Contestant:
    """What Sanic takes for an ordinary handler that stores nothing."""
    part = Part("benchmark-floor", image, ("python3", "/bench/floor.py"), {}, MOUNTS)
    return Contestant("floor", "a Sanic handler that only validates", (part,), (Door(part.name, RELAY, ()),))


def databases_of(direct: Service) -> dict[str, str]:
    """Where the rivals find the databases: where direct does."""
    return {name: direct.environment[name] for name in ("MONGODB_URI", "MONGODB_DATABASE", "REDIS_URL")}


def helper(direct: Service) -> Part:
    """The helper that looks at what was stored, and clears it, beside the databases."""
    environment = {**direct.environment, "MONGODB_DATABASE": MONGODB_DATABASE}
    return Part(HELPER, direct.image, ("sleep", "infinity"), environment, MOUNTS)
