"""Hosts for several times the rate: a rule of three, as far as every part of the system goes."""

import msgspec
import pytest

from loadgen.capacity.growth import growth_of
from loadgen.capacity.result import Evidence, Finding
from loadgen.capacity.search import HOLD, Step
from loadgen.capacity.system import System
from unit.loadgen.test_scalability import step

SYSTEM = System(pods={"relay": 3, "ledger": 1, "mongodb": 1}, single_threaded=("relay", "ledger"), workers=2)
ONE_MACHINE = Evidence(host_cpu={"here": 0.9}, host_cores={"here": 4}, cpu_cores={"relay": 1.0, "ledger": 0.3})
HELD = msgspec.structs.replace(
    step(1000.0, 10.0), step=Step(HOLD, 1000.0, 60), generator_cores=0.6, evidence=ONE_MACHINE
)
CPU = Finding("CPU of a host", "here had no CPU left.", of_cpu=True)


def test_hosts_are_those_that_have_the_cpu_as_far_as_each_part_goes():
    found = growth_of(HELD, CPU, SYSTEM, workers=2)
    # 3.6 cores in use, 0.6 of them the generator's, 1.3 known: 1.7 are the database's and the kernel's.
    assert [(part.name, part.cpu_us, part.cores_at_most) for part in found.parts] == [
        ("relay", 1000.0, 3),
        ("ledger", 300.0, 1),
        ("mongodb and all else", 1700.0, 4),
    ]
    # 90 % of 4 cores at 1.7 ms a note; relay could do 2,700, and the ledger 3,000.
    assert found.stops_at == pytest.approx(3.6 / 0.0017, abs=0.1)
    # 3 ms a note, and 3.6 cores of each host: 1.67 hosts.
    assert [(needed.times, needed.rate, needed.hosts) for needed in found.needed] == [
        (2, 2000.0, 2),
        (5, 5000.0, None),
        (10, 10000.0, None),
    ]
    assert found.sentences[0].startswith("A rule of three from one machine: ")
    assert (
        "stops being a prediction at 2,118 a second, 2.1 times the rate: there, mongodb and all else "
        in (found.sentences[1])
    )
    assert found.sentences[2].startswith("That is the earliest it can be")


def test_a_part_that_is_one_thread_goes_no_further_than_one_core():
    busy = msgspec.structs.replace(ONE_MACHINE, cpu_cores={"relay": 0.3, "ledger": 0.8})
    found = growth_of(msgspec.structs.replace(HELD, evidence=busy), CPU, SYSTEM, workers=2)
    assert found.stops_at == 1125
    assert "ledger would use 90% of all the cores that it can (1)" in found.sentences[1]


def test_in_a_cluster_the_hosts_beside_it_do_not_count_and_what_is_left_over_scales():
    cluster = Evidence(
        host_cpu={"node-1": 0.5, "node-2": 0.4, "ops": 0.9},
        host_cores={"node-1": 4, "node-2": 4, "ops": 2},
        cpu_cores={"relay": 1.0, "ledger": 0.1, "mongodb": 0.5, "prometheus": 1.8},
    )
    system = msgspec.structs.replace(SYSTEM, beside=("ops",), workers=0)
    found = growth_of(msgspec.structs.replace(HELD, evidence=cluster), None, system, workers=2)
    assert [(part.name, part.cpu_us, part.rps_at_most) for part in found.parts] == [
        ("relay", 1000.0, 2700),
        ("ledger", 100.0, 9000),
        ("mongodb", 500.0, 7200),
        ("all else", 2000.0, None),
    ]
    # Hosts that were not full met the objectives: nobody knows whether fuller ones would.
    assert "A rule of three from 2 hosts" in found.sentences[0]
    assert "filled to 50%" in found.sentences[0]
    assert [needed.hosts for needed in found.needed] == [4, None, None]


@pytest.mark.parametrize(
    ("held", "finding", "why"),
    [
        (None, CPU, "No rate was held"),
        (msgspec.structs.replace(HELD, step=Step(HOLD, 1000.0, 10)), CPU, "takes 30 s to measure"),
        (msgspec.structs.replace(HELD, evidence=Evidence()), CPU, "Prometheus did not say"),
        (
            HELD,
            Finding("mongodb", "It was waited for.", of_cpu=False),
            "mongodb gave in first, which more",
        ),
    ],
)
def test_where_the_cpu_of_a_note_does_not_tell_nothing_is_said(held, finding, why):
    found = growth_of(held, finding, SYSTEM, workers=2)
    (sentence,) = found.sentences
    assert why in sentence
    assert not found.needed
