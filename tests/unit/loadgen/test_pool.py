"""The pool of notes: valid, realistic, and the same everywhere."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import loadgen
from course.note import parse
from loadgen.pool import CAREERS, CODES, REGIONS, bodies, make_pool, place_in_pool

SERVICES = Path(loadgen.__file__).parents[1]


def test_every_body_is_a_course_note_that_the_services_accept():
    pool = make_pool(500, seed=7)
    assert [parse(body) for body in bodies(pool)] == pool


def test_the_same_seed_gives_the_same_notes_in_another_process():
    script = "from loadgen.pool import bodies, make_pool; print(bodies(make_pool(50, 3)))"
    environment = {**os.environ, "PYTHONPATH": str(SERVICES)}
    command = [sys.executable, "-c", script]
    outside = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert outside == f"{bodies(make_pool(50, 3))}\n"


def test_another_seed_gives_other_notes():
    assert make_pool(50, seed=1) != make_pool(50, seed=2)


def test_careers_belong_to_their_faculty_and_codes_to_their_career():
    for note in make_pool(500, seed=1):
        assert note.carrera in CAREERS[note.facultad][1]
        assert note.curso.startswith(CODES[note.carrera])


def test_large_regions_and_faculties_have_more_notes_than_small_ones():
    pool = make_pool(3000, seed=1)
    regions, faculties = Counter(note.region for note in pool), Counter(note.facultad for note in pool)
    assert regions["METROPOLITANA"] > regions["NORTE"] > regions["PETEN"] > 0
    assert faculties["ingenieria"] > faculties["medicina"] > faculties["agronomia"] > 0
    assert set(regions) == set(REGIONS)


def test_an_empty_pool_is_refused():
    with pytest.raises(ValueError, match="at least 1 note"):
        make_pool(0, seed=1)


def test_ids_spread_over_the_whole_pool():
    places = {place_in_pool(number.to_bytes(4, "big") + bytes(8), 10) for number in range(100)}
    assert places == set(range(10))
