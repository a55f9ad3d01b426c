"""What stands behind the question mark of a request, and all that is wrong with it."""

from collections.abc import Iterable, Sequence

from course.outcome import Failure

_SHOWN = 40  # characters of a bad name that an answer repeats


class Parameters:
    """Each method takes a parameter; what is wrong is remembered for `failure`."""

    def __init__(self, given: Iterable[tuple[str, str]]) -> None:
        self._given: dict[str, list[str]] = {}
        for name, value in given:
            self._given.setdefault(name, []).append(value)
        self._wrong: dict[str, str] = {}

    def one_of(self, name: str, choices: Sequence[str], *, needed: bool = False) -> str:
        """One of some words; the first of them where none is needed."""
        value = self._one(name)
        if value in choices or (value is None and not needed):
            return value or choices[0]
        self._wrong[name] = f"must be {', '.join(choices[:-1])} or {choices[-1]}"
        return choices[0]

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 up."""
        value = self._one(name)
        if value is None:
            return default
        if value.isascii() and value.isdigit() and len(value) < 10 and 1 <= int(value) <= most:
            return int(value)
        self._wrong[name] = f"must be a whole number from 1 to {most}"
        return default

    def failure(self) -> Failure | None:
        """What is wrong, once all that may be there was taken."""
        wrong = self._wrong | {name[:_SHOWN]: "is no parameter of this" for name in list(self._given)[:_SHOWN]}
        return Failure(400, "the parameters are not right", wrong) if wrong else None

    def _one(self, name: str) -> str | None:
        """The one value of a parameter; one that is given twice is wrong, whatever it is."""
        values = self._given.pop(name, None)
        if values is None:
            return None
        return values[0] if len(values) == 1 else ""
