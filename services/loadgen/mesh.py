"""What the proxies of the mesh counted during a run: how they shared the traffic, and whether it was encrypted."""

import msgspec

from loadgen.settings import RunDirectory


class Call(msgspec.Struct):
    """Requests (or connections, as `of` says) from one workload to another, with mutual TLS and without."""

    caller: str
    called: str
    of: str
    secured: int
    plain: int


class Mesh(msgspec.Struct):
    """The counts of a run. `split` has the requests sent to each route, `silent` why a pod's proxy did not tell."""

    split: dict[str, int]
    calls: list[Call]
    silent: dict[str, str]


def read_mesh(directory: RunDirectory) -> Mesh | None:
    """What was counted during the run; None where there is no mesh."""
    if not directory.mesh.exists():
        return None
    return msgspec.json.decode(directory.mesh.read_bytes(), type=Mesh)
