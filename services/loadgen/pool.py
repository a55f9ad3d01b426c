"""The pool of course notes that the users post: made once from a seed, so that every worker has the same one."""

from collections import OrderedDict
from collections.abc import Sequence

import msgspec
from faker import Faker

from course.note import Course

# Faculty -> (its share of the students, career -> share within the faculty). Shares are relative, not percentages.
CAREERS: dict[str, tuple[int, dict[str, int]]] = {
    "ingenieria": (30, {"sistemas": 50, "industrial": 22, "civil": 14, "mecanica": 8, "quimica": 6}),
    "ciencias economicas": (24, {"administracion": 50, "auditoria": 34, "economia": 16}),
    "ciencias juridicas": (15, {"derecho": 82, "ciencia politica": 18}),
    "medicina": (14, {"medicina": 60, "enfermeria": 28, "nutricion": 12}),
    "humanidades": (9, {"pedagogia": 46, "psicologia": 38, "letras": 16}),
    "arquitectura": (5, {"arquitectura": 64, "diseno grafico": 36}),
    "agronomia": (3, {"agronomia": 62, "recursos naturales": 38}),
}
# The letters a career's course codes begin with; the number after them is the Faker's.
CODES = {
    "sistemas": "SO",
    "industrial": "II",
    "civil": "IC",
    "mecanica": "IM",
    "quimica": "IQ",
    "administracion": "AE",
    "auditoria": "CPA",
    "economia": "ECO",
    "derecho": "DER",
    "ciencia politica": "CP",
    "medicina": "MED",
    "enfermeria": "ENF",
    "nutricion": "NUT",
    "pedagogia": "PED",
    "psicologia": "PSI",
    "letras": "LET",
    "arquitectura": "ARQ",
    "diseno grafico": "DG",
    "agronomia": "AGR",
    "recursos naturales": "RN",
}
REGIONS = {
    "METROPOLITANA": 41,
    "NORTE": 16,
    "SUROCCIDENTE": 14,
    "NORORIENTE": 10,
    "CENTRAL": 9,
    "SURORIENTE": 6,
    "PETEN": 4,
}
COURSES_PER_CAREER = 9  # few enough that the counters by course stay readable on a dashboard


def make_pool(size: int, seed: int) -> list[Course]:
    """`size` valid notes; the same size and seed give the same notes on every machine.

    Raises ValueError for a size under 1.
    """
    if size < 1:
        raise ValueError(f"the pool must hold at least 1 note, not {size}")
    fake = Faker()
    fake.seed_instance(seed)
    return [_note(fake) for _ in range(size)]


def bodies(pool: Sequence[Course]) -> list[bytes]:
    """Each note as the JSON body of its request."""
    return [msgspec.json.encode(note) for note in pool]


def place_in_pool(note_id: bytes, size: int) -> int:
    """Which note of the pool goes out under an id: it follows from the id, so the reconciliation knows it as well."""
    return int.from_bytes(note_id[:4], "big") % size


def _note(fake: Faker) -> Course:
    faculty = _choice(fake, {name: share for name, (share, _) in CAREERS.items()})
    career = _choice(fake, CAREERS[faculty][1])
    # Early courses have more students than late ones: the smaller of two numbers.
    number = min(fake.random_int(1, COURSES_PER_CAREER), fake.random_int(1, COURSES_PER_CAREER))
    return Course(f"{CODES[career]}{number}", faculty, career, _choice(fake, REGIONS))


def _choice(fake: Faker, shares: dict[str, int]) -> str:
    return str(fake.random_elements(OrderedDict(shares), length=1, use_weighting=True)[0])
