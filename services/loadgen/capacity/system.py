"""What a search for the capacity is told about the system."""

import msgspec


class System(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the system is made of, as far as it does not show in a search.

    `pods` is how many of each workload there may be at most. One of those that are `single_threaded` uses one core at
    most, one of the others all of its host's. Of the hosts that Prometheus knows, those `beside` are no part of the
    system; on the others run so many `workers` of the load generator. `replicas` is how many pods those that scale
    had meanwhile: `min`, `max` or `scaling`; empty where nothing scales.
    """

    pods: dict[str, int]
    single_threaded: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    workers: int = 0
    replicas: str = ""
