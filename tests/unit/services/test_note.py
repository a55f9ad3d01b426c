"""What is a course note and what is not."""

import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from course.ids import id_of, new_id
from course.note import FIELDS, BadCourse, parse, problems

GOOD = {"curso": "SO1", "facultad": "ingenieria", "carrera": "sistemas", "region": "NORTE"}


def why_not(body: bytes) -> BadCourse:
    with pytest.raises(BadCourse) as caught:
        parse(body)
    return caught.value


def test_a_good_note_is_taken_as_it_is() -> None:
    assert msgspec.structs.asdict(parse(json.dumps(GOOD).encode())) == GOOD


def test_every_bad_field_is_named_and_not_only_the_first() -> None:
    bad = why_not(json.dumps({"curso": "", "facultad": 3, "carrera": "x" * 129, "otro": 1}).encode())
    assert set(bad.fields) == {"curso", "facultad", "carrera", "region", "otro"}


def test_the_limit_counts_characters_and_not_bytes() -> None:
    assert parse(json.dumps(GOOD | {"curso": "𝔸" * 128}, ensure_ascii=False).encode()).curso == "𝔸" * 128
    assert set(why_not(json.dumps(GOOD | {"curso": "ñ" * 129}).encode()).fields) == {"curso"}


def test_a_field_given_twice_is_refused_even_if_both_say_the_same() -> None:
    body = json.dumps(GOOD)[:-1] + ', "region": "NORTE"}'
    assert why_not(body.encode()).fields == {"region": "is given more than once"}


def test_the_same_name_in_an_inner_object_is_not_a_field_given_twice() -> None:
    body = json.dumps(GOOD)[:-1] + ', "otro": {"curso": 1, "curso": 2}}'
    assert set(why_not(body.encode()).fields) == {"otro"}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nul", b"\xff", b'{"curso": "\xff"}', b"\xef\xbb\xbf{}", b"[" * 16000, b"NaN"]
)
def test_what_is_not_json_in_utf_8_names_no_fields(body: bytes) -> None:
    assert why_not(body).fields == {}


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null", b"true"])
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    assert why_not(body).error == "the body must be a JSON object"


@pytest.mark.parametrize("blank", [" ", "\t\n", "\u00a0", "\u2003\u2028", "\u3000"])
@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_nothing_but_white_space_is_refused_and_named(field: str, blank: str) -> None:
    assert why_not(json.dumps(GOOD | {field: blank}).encode()).fields == {field: "must not be nothing but white space"}
    assert why_not(json.dumps(GOOD | {field: blank}, ensure_ascii=False).encode()).fields.keys() == {field}


@pytest.mark.parametrize("text", [" a ", "\u200b", "\ufeff", "\0"])
def test_white_space_around_a_text_and_what_unicode_does_not_call_white_space_is_taken(text: str) -> None:
    assert parse(json.dumps(GOOD | {"curso": text}).encode()).curso == text


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", "UTF-8"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32-le", "UTF-32"),
        ("utf-32-be", "UTF-32"),
    ],
)
def test_a_byte_order_mark_is_called_by_its_name(encoding: str, mark: str) -> None:
    bad = why_not(("\ufeff" + json.dumps(GOOD)).encode(encoding))
    assert bad.error == f"the body begins with a byte order mark ({mark}): send JSON in UTF-8 without one"
    assert bad.fields == {}


def test_half_a_surrogate_pair_is_refused_and_its_field_named() -> None:
    assert set(why_not(json.dumps(GOOD | {"curso": "a\ud800b"}).encode()).fields) == {"curso"}


def test_an_answer_can_be_written_whatever_the_unknown_fields_are_called() -> None:
    bad = why_not(json.dumps(GOOD | {"\ud800" * 500: 1} | {f"x{i}": 1 for i in range(500)}).encode())
    assert len(msgspec.json.encode(bad.fields)) < 4000


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first text takes a second to make
@given(st.dictionaries(st.sampled_from([*FIELDS, "otro"]), st.one_of(st.text(max_size=140), st.integers(), st.none())))
def test_the_quick_look_and_the_thorough_one_agree(value: dict[str, object]) -> None:
    good = not problems(value) and set(value) == set(FIELDS)
    body = json.dumps(value).encode()
    if good:
        assert msgspec.structs.asdict(parse(body)) == value
    else:
        assert why_not(body).fields.keys() >= problems(value).keys()


def test_the_same_key_gives_the_same_id_and_another_key_another() -> None:
    assert id_of("abc") == id_of("abc") != id_of("abd")
    assert id_of("abc").hex() == "ba7816bf8f01cfea414140de"


@pytest.mark.parametrize("key", ["", "a b", "ñ", "a\n", "k" * 129, "\x7f", "\0"])
def test_a_key_is_visible_ascii_of_1_to_128_characters(key: str) -> None:
    with pytest.raises(ValueError, match="Idempotency-Key"):
        id_of(key)


def test_fresh_ids_differ_and_are_12_bytes() -> None:
    ids = {new_id() for _ in range(10_000)}
    assert len(ids) == 10_000
    assert {len(note_id) for note_id in ids} == {12}
