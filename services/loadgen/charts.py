"""Line charts as inline SVG: axes with units, a legend, a title for screen readers; the page's style colours them."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from markupsafe import Markup

MOST_POINTS = 240
"""The most points of a line: more would only draw over each other."""

WIDTH, HEIGHT = 480, 266
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 20, 58
LEGEND_LEFT, LEGEND_ROW, LEGEND_LINE, LEGEND_GAP = 14, 20, 18, 14
CHARACTER = 9.5
"""The room for a character of the legend, in the page's largest size of text: on a phone, a chart is made small."""

STYLES = ("line-1", "line-2", "line-3", "line-4", "line-5", "line-6")
"""Classes of the page's style sheet that can be told apart in one chart."""

Points = Sequence[tuple[float, float | None]]
"""(x, y) pairs; the line has a gap where y is None."""


class Line(NamedTuple):
    """One line of a chart, or its points only; `style` is a class of the page's style sheet."""

    name: str
    style: str
    points: Points
    dots: bool = False


class Drawn(NamedTuple):
    """A chart as it stands on the page: with a sentence on how to read it."""

    title: str
    reading: str
    svg: Markup


class Span(NamedTuple):
    """A part of the horizontal axis in which something was as usually it is not."""

    start: float
    end: float


class Limit(NamedTuple):
    """A horizontal line to stay under."""

    name: str
    value: float


class Tick(NamedTuple):
    """A place on an axis, from 0 to 1, and what is written there."""

    place: float
    text: str


class Axis:
    """A linear axis from 0 to `high`, or to the next tick above it, with ticks at whole numbers only if so asked."""

    def __init__(self, high: float, to_tick: bool, whole: bool = False) -> None:
        self._step = math.ceil(_round_step(high / 4)) if whole else _round_step(high / 4)
        self._high = self._step * math.ceil(high / self._step - 1e-9) if to_tick else high

    def place(self, value: float) -> float:
        return min(max(value / self._high, 0.0), 1.0)

    def ticks(self) -> list[Tick]:
        values = [self._step * at for at in range(math.floor(self._high / self._step + 1e-9) + 1)]
        return [Tick(self.place(value), number(value)) for value in values]


class LogAxis:
    """A logarithmic axis over whole decades that hold all values."""

    def __init__(self, values: Sequence[float]) -> None:
        positive = [value for value in values if value > 0] or [1.0]
        self._low = math.floor(math.log10(min(positive)))
        self._high = max(self._low + 1, math.ceil(math.log10(max(positive)) - 1e-9))

    def place(self, value: float) -> float:
        power = math.log10(value) if value > 0 else self._low
        return (min(max(power, self._low), self._high) - self._low) / (self._high - self._low)

    def ticks(self) -> list[Tick]:
        return [Tick(self.place(10.0**power), number(10.0**power)) for power in range(self._low, self._high + 1)]


class TailAxis:
    """Percentiles so that each further nine takes the same room: 50, 90, 99, 99.9, 99.99."""

    def place(self, value: float) -> float:
        return min(1.0, math.log10(50 / max(100 - value, 0.005)) / 4)

    def ticks(self) -> list[Tick]:
        return [Tick(self.place(value), f"{value:g} %") for value in (50, 90, 99, 99.9, 99.99)]


class Chart(NamedTuple):
    """What is drawn: lines between two axes. `across` and `unit` say what the axes measure.

    Lines that are `apart` lie that far above each other where their values are the same, so that none hides another.
    """

    title: str
    across: str
    unit: str
    lines: Sequence[Line]
    limits: Sequence[Limit]
    horizontal: Axis | TailAxis
    vertical: Axis | LogAxis
    apart: float = 0.0
    spans: Sequence[Span] = ()


def over_time(title: str, unit: str, lines: Sequence[Line], spans: Sequence[Span] = ()) -> Markup:
    """Lines over the seconds of a run, from 0 up."""
    return _draw(Chart(title, "seconds", unit, lines, [], _seconds(lines), _from_0(lines), spans=spans))


def counts_over_time(title: str, unit: str, lines: Sequence[Line]) -> Markup:
    """Whole numbers over the seconds of a run, often the same for several lines."""
    return _draw(Chart(title, "seconds", unit, lines, [], _seconds(lines), _from_0(lines, whole=True), apart=3.5))


def latency_over_time(title: str, unit: str, lines: Sequence[Line], limits: Sequence[Limit]) -> Markup:
    """Latencies over the seconds of a run, on a logarithmic scale: their tail is many times their median."""
    return _draw(Chart(title, "seconds", unit, lines, limits, _seconds(lines), LogAxis(_values(lines, limits))))


def over_runs(title: str, unit: str, lines: Sequence[Line], across: str = "run") -> Markup:
    """Lines over the numbers of runs, from 0 up."""
    return _draw(Chart(title, across, unit, lines, [], _runs(lines), _from_0(lines)))


def latency_over_runs(title: str, unit: str, lines: Sequence[Line], across: str = "run") -> Markup:
    """Latencies over the numbers of runs, on a logarithmic scale."""
    return _draw(Chart(title, across, unit, lines, [], _runs(lines), LogAxis(_values(lines))))


def over_rates(title: str, unit: str, lines: Sequence[Line]) -> Markup:
    """Lines over the rates that were asked for, from 0 up."""
    return _draw(Chart(title, "requests/s asked for", unit, lines, [], _rates(lines), _from_0(lines)))


def latency_over_rates(title: str, unit: str, lines: Sequence[Line], limits: Sequence[Limit]) -> Markup:
    """Latencies over the rates that were asked for, logarithmic."""
    return _draw(
        Chart(title, "requests/s asked for", unit, lines, limits, _rates(lines), LogAxis(_values(lines, limits)))
    )


def over_concurrency(title: str, unit: str, lines: Sequence[Line]) -> Markup:
    """Lines over how many requests are under way at a time, from 0 up."""
    return _draw(Chart(title, "requests at a time", unit, lines, [], _rates(lines), _from_0(lines)))


def distribution(title: str, unit: str, lines: Sequence[Line], limits: Sequence[Limit]) -> Markup:
    """Latencies over percentiles: how slow the slowest part of the requests was."""
    return _draw(Chart(title, "percentile", unit, lines, limits, TailAxis(), LogAxis(_values(lines, limits))))


def number(value: float) -> str:
    """A number as short as it can be read: 0.5, 20, 1,500, 12k."""
    if value >= 10_000:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def thin(points: Points, worst: bool) -> Points:
    """At most MOST_POINTS points: of neighbours the worst (largest) value, or their mean."""
    size = math.ceil(len(points) / MOST_POINTS)
    if size <= 1:
        return list(points)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[0][0], _one_of([y for _, y in group if y is not None], worst)) for group in groups]


def _one_of(values: Sequence[float], worst: bool) -> float | None:
    if not values:
        return None
    return max(values) if worst else sum(values) / len(values)


def _seconds(lines: Sequence[Line]) -> Axis:
    return Axis(max((x for line in lines for x, _ in line.points), default=1) or 1, to_tick=False)


def _rates(lines: Sequence[Line]) -> Axis:
    return Axis(max((x for line in lines for x, _ in line.points), default=1) or 1, to_tick=False)


def _runs(lines: Sequence[Line]) -> Axis:
    return Axis(max((x for line in lines for x, _ in line.points), default=1), to_tick=False, whole=True)


def _from_0(lines: Sequence[Line], *, whole: bool = False) -> Axis:
    """A vertical axis from 0 to the highest value."""
    return Axis(max(_values(lines), default=1) or 1, to_tick=True, whole=whole)


def _values(lines: Sequence[Line], limits: Sequence[Limit] = ()) -> list[float]:
    return [*(y for line in lines for _, y in line.points if y is not None), *(limit.value for limit in limits)]


def _draw(chart: Chart) -> Markup:
    lines = [line for line in chart.lines if _values([line])]
    captions, height = _captions(chart)
    shaded = [_span(span, chart.horizontal) for span in chart.spans]
    drawn = [*shaded, *_grid(chart.horizontal, chart.vertical), *captions]
    for at, line in enumerate(lines):
        above = chart.apart * (at - (len(lines) - 1) / 2)
        drawn.append(_path(line, chart.horizontal, chart.vertical, above))
    drawn += [_limit(limit, chart.vertical, left=at % 2 == 1) for at, limit in enumerate(chart.limits)]
    return Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="{title}. {values}"><title>{title}</title>{drawn}</svg>'
    ).format(
        w=WIDTH,
        h=height,
        title=chart.title,
        values="; ".join(_describe(line, chart.unit) for line in lines),
        drawn=Markup("").join(drawn),
    )


def _grid(horizontal: Axis | TailAxis, vertical: Axis | LogAxis) -> list[Markup]:
    drawn = []
    for tick in vertical.ticks():
        y = _y(tick.place)
        drawn.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(LEFT, WIDTH - RIGHT, y, y))
        drawn.append(Markup('<text class="end" x="{}" y="{}">{}</text>').format(LEFT - 6, y + 4, tick.text))
    for tick in horizontal.ticks():
        x = _x(tick.place)
        drawn.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x, x, TOP, _y(0)))
        drawn.append(Markup('<text class="middle" x="{}" y="{}">{}</text>').format(x, _y(0) + 21, tick.text))
    return drawn


def _captions(chart: Chart) -> tuple[list[Markup], float]:
    """The unit above the left axis, the legend below the chart in as many rows as it needs, and the height with it."""
    x, y = float(LEGEND_LEFT), HEIGHT - 8
    drawn = [Markup('<text class="unit" x="{}" y="13">{}</text>').format(LEFT + 4, chart.unit)]
    drawn.append(Markup('<text class="unit end" x="{}" y="{}">{}</text>').format(WIDTH - RIGHT, y, chart.across))
    room = WIDTH - RIGHT - CHARACTER * len(chart.across)
    for line in chart.lines:
        text = x + LEGEND_LINE + 5
        if x > LEGEND_LEFT and text + CHARACTER * len(line.name) > room:
            x, y, text = LEGEND_LEFT, y + LEGEND_ROW, LEGEND_LEFT + LEGEND_LINE + 5
        if line.dots:
            drawn.append(_dot(line, x + LEGEND_LINE / 2, y - 4))
        else:
            places = (x, x + LEGEND_LINE, y - 4, y - 4)
            drawn.append(Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(line.style, *places))
        drawn.append(Markup('<text x="{}" y="{}">{}</text>').format(text, y, line.name))
        x = text + CHARACTER * len(line.name) + LEGEND_GAP
    return drawn, y + 8


def _path(line: Line, horizontal: Axis | TailAxis, vertical: Axis | LogAxis, above: float) -> Markup:
    """The line, in pieces where it has gaps; a piece of a single point is a dot."""
    drawn = []
    for gap, piece in groupby(line.points, key=lambda point: point[1] is None):
        places = [(_x(horizontal.place(x)), _y(vertical.place(y)) - above) for x, y in piece if y is not None]
        if len(places) == 1 or line.dots:
            drawn += [_dot(line, *place) for place in places]
        elif not gap:
            path = " ".join(f"{x:g},{y:g}" for x, y in places)
            drawn.append(Markup('<polyline class="{}" points="{}"/>').format(line.style, path))
    return Markup("").join(drawn)


def _dot(line: Line, x: float, y: float) -> Markup:
    return Markup('<circle class="{} dot" cx="{}" cy="{}" r="2.5"/>').format(line.style, x, y)


def _span(span: Span, horizontal: Axis | TailAxis) -> Markup:
    """A span's shade, which can be seen however short it is."""
    x = _x(horizontal.place(span.start))
    width = max(3.0, _x(horizontal.place(span.end)) - x)
    return Markup('<rect class="span" x="{}" y="{}" width="{:g}" height="{}"/>').format(x, TOP, width, _y(0) - TOP)


def _limit(limit: Limit, vertical: Axis | LogAxis, left: bool) -> Markup:
    """A limit, named at its right end, or at its left one: two that are near each other have room for their names."""
    y = _y(vertical.place(limit.value))
    x, style = (LEFT + 4, "limit") if left else (WIDTH - RIGHT, "limit end")
    drawn = Markup('<line class="limit" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(LEFT, WIDTH - RIGHT, y, y)
    return drawn + Markup('<text class="{}" x="{}" y="{}">{}</text>').format(style, x, y - 5, limit.name)


def _describe(line: Line, unit: str) -> str:
    values = _values([line])
    return f"{line.name}: {number(min(values))} to {number(max(values))} {unit}"


def _x(place: float) -> float:
    return round(LEFT + place * (WIDTH - LEFT - RIGHT), 1)


def _y(place: float) -> float:
    return round(HEIGHT - BOTTOM - place * (HEIGHT - BOTTOM - TOP), 1)


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5, 10 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= least - 1e-12)
