"""Ranges of ids: read in their order, ahead of whoever works on them."""

import pytest

from loadgen.ids import READERS, Range, read_ahead


def test_the_next_ranges_are_read_while_one_is_worked_on():
    begun: list[str] = []
    ranges = [Range(digit) for digit in "0123456789"]

    def read(within: Range) -> list[bytes]:
        begun.append(within.digits)
        return [within.first]

    for number, (within, found) in enumerate(read_ahead(ranges, read)):
        assert (within, found) == (ranges[number], [within.first])
        assert len(begun) <= number + 1 + READERS
    assert len(begun) == len(ranges)


def test_what_cannot_be_read_ends_the_reading():
    def read(within: Range) -> list[bytes]:
        raise OSError(within.digits)

    with pytest.raises(OSError, match="0"):
        list(read_ahead([Range(digit) for digit in "0123"], read))
