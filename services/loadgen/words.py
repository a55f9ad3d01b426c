"""Figures as people read them: short, and never so short that they say something else."""

import math


def differing(value: float, limit: float) -> tuple[str, str]:
    """Two numbers with the three significant digits, or more, that tell them apart: 1.0004 and 1 are not the same."""
    texts = ("", "")
    for digits in range(3, 17):
        texts = significant(value, digits), significant(limit, digits)
        if texts[0] != texts[1]:
            break
    return texts


def percent(ratio: float) -> str:
    """A part of a whole (0 to 1) in percent, with three significant digits, however small it is."""
    return f"{significant(100 * ratio)} %"


def share(ratio: float, decimals: int) -> str:
    """A part of a whole (0 to 1) in percent; what is little is not nothing, and what is most is not all."""
    text, least = f"{100 * ratio:.{decimals}f}", f"{10.0**-decimals:.{decimals}f}"
    if 0 < ratio < 1 and float(text) == 0:
        return f"< {least} %"
    if 0 < ratio < 1 and float(text) == 100:
        return f"> {100 - float(least):.{decimals}f} %"
    return f"{text} %"


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, and without zeros at its end."""
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text
