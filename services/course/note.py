"""The course note: its four texts, how a body becomes one, and what exactly is wrong with a body that does not."""

import codecs
import json
from collections.abc import Mapping
from typing import Annotated, Any, Protocol

import msgspec

MAX_CHARACTERS = 128
_MAX_NAMED = 16  # fields of their own that a bad body gets named back, so that an answer stays short

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CHARACTERS)]


class Course(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One course note as a client posts it: four texts of 1 to 128 characters, not all of them white space."""

    curso: Text
    facultad: Text
    carrera: Text
    region: Text


class Texts(Protocol):
    """The four texts of a note, as a `Course` has them and as the proto's message has them."""

    @property
    def curso(self) -> str: ...
    @property
    def facultad(self) -> str: ...
    @property
    def carrera(self) -> str: ...
    @property
    def region(self) -> str: ...


class Note(msgspec.Struct, frozen=True, gc=False):
    """A course note with its document's `_id` (12 bytes) and the Idempotency-Key the client gave, if any."""

    id: bytes
    course: Course
    key: str | None = None


class BadCourse(ValueError):
    """A body that is no course note: `error` is a sentence, `fields` says for every bad field what is wrong."""

    def __init__(self, error: str, fields: Mapping[str, str]) -> None:
        super().__init__(error)
        self.error = error
        self.fields = dict(fields)


FIELDS = Course.__struct_fields__
_QUOTES = 4 * len(FIELDS)
# UTF-32 before UTF-16: its little-endian mark begins with the other's.
_MARKS = {
    codecs.BOM_UTF8: "UTF-8",
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_decode = msgspec.json.Decoder(Course).decode


def parse(body: bytes) -> Course:
    """The course note in a JSON body; raises `BadCourse` naming every bad field."""
    try:
        course = _decode(body)
    except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
        raise _diagnose(body) from None
    # JSON allows a name twice, and parsers differ in which one counts, so ours counts none. Four names and four texts
    # need exactly sixteen quotes: only a body with more (an escaped quote, or a name twice) is worth a closer look.
    if body.count(b'"') != _QUOTES and (bad := _diagnose(body)).fields:
        raise bad
    if is_blank(course):
        raise _diagnose(body)
    return course


def is_blank(texts: Texts) -> bool:
    """Whether one of the texts is nothing but white space, as Unicode and `str.isspace` have it."""
    return texts.curso.isspace() or texts.facultad.isspace() or texts.carrera.isspace() or texts.region.isspace()


def problems(texts: Mapping[str, object]) -> dict[str, str]:
    """What is wrong with the four texts, by field; empty when they make a course note."""
    found: dict[str, str] = {}
    for name in FIELDS:
        if name not in texts:
            found[name] = "is missing"
        elif not isinstance(text := texts[name], str):
            found[name] = "must be a string"
        elif not text:
            found[name] = "must not be empty"
        elif text.isspace():
            found[name] = "must not be nothing but white space"
        elif len(text) > MAX_CHARACTERS:
            found[name] = f"must have at most {MAX_CHARACTERS} characters, has {len(text)}"
    return found


def _diagnose(body: bytes) -> BadCourse:
    """The slow, thorough look at a body that `_decode` did not take (or that may name a field twice)."""
    twice: set[str] = set()

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        twice.clear()  # the outermost object is the last to be completed: only its names count
        for name, value in items:
            if name in seen:
                twice.add(name)
            seen[name] = value
        return seen

    for mark, encoding in _MARKS.items():
        if body.startswith(mark):
            return BadCourse(f"the body begins with a byte order mark ({encoding}): send JSON in UTF-8 without one", {})
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return BadCourse("the body is not valid JSON in UTF-8", {})
    if not isinstance(value, dict):
        return BadCourse("the body must be a JSON object", {})
    found = problems(value)
    found |= dict.fromkeys(twice, "is given more than once")
    unknown = [name for name in value if name not in FIELDS]
    found |= {_printable(name): "is not a field of a course note" for name in unknown[:_MAX_NAMED]}
    for name in FIELDS:
        if name not in found and not _is_unicode(value[name]):
            found[name] = "has half of a surrogate pair"
    return BadCourse("the body is not a course note", found)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _printable(name: str) -> str:
    return name[:MAX_CHARACTERS].encode("utf-8", "backslashreplace").decode()
