"""Small figures as inline SVG. Colours are CSS classes, so that light and dark, screen and print follow the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pointlift.reporting.history import Points

NUM_COLOURS = 6
_MAX_POINTS = 300
_WIDTH, _HEIGHT = 340, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 24
_NAMES, _LINE = 210, 15  # of marks: width of their column, height of a name


@dataclass(frozen=True)
class Mark:
    """One point of a chart with its name. ``spread``: half the height of its whisker; hollow: a control."""

    name: str
    x: float
    y: float
    spread: float | None = None
    hollow: bool = False


def line_chart(title: str, curves: Mapping[str, Sequence[Points]]) -> Markup:
    """A chart of named curves, one colour per name and one line per seed. ``title`` is read aloud, not drawn."""
    drawn = [point for lines in curves.values() for line in lines for point in line]
    x_low, x_high = _span([point[0] for point in drawn])
    ticks = nice_ticks(*_span([point[1] for point in drawn]))
    y_low, y_high = ticks[0], ticks[-1]

    def place(x: float, y: float) -> str:
        across = _LEFT + (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)
        down = _TOP + (y_high - y) / (y_high - y_low) * (_HEIGHT - _TOP - _BOTTOM)
        return f"{across:.1f},{down:.1f}"

    parts = [_grid_line(y, place(x_low, y), place(x_high, y)) for y in ticks]
    for anchor, x in (("start", x_low), ("end", x_high)):
        left = place(x, y_low).split(",")[0]
        parts.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="{}">{:g}</text>').format(left, _HEIGHT - 8, anchor, x)
        )
    parts.append(Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">epoch</text>').format(195, _HEIGHT - 8))
    for index, (name, lines) in enumerate(curves.items()):
        parts += [_polyline(name, index, [place(*point) for point in thin(line)]) for line in lines]
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, title, Markup("").join(parts)
    )


def mark_chart(title: str, x_name: str, marks: Sequence[Mark]) -> Markup:
    """Named marks, x from 0 on, their names in a column beside them in the order of y, so that none hides another.

    ``title`` is read aloud, with every number.
    """
    height = max(_HEIGHT, _TOP + _BOTTOM + _LINE * len(marks))
    x_ticks = nice_ticks(0.0, max(mark.x for mark in marks) or 1.0)
    y_ticks = nice_ticks(*_span([mark.y + side * (mark.spread or 0.0) for mark in marks for side in (-1, 1)]))
    plot = _Plot((0.0, x_ticks[-1]), (y_ticks[0], y_ticks[-1]), height)
    parts = [_grid_line(y, plot.place(0.0, y), plot.place(x_ticks[-1], y)) for y in y_ticks]
    for x in x_ticks:
        left = plot.place(x, 0.0).split(",")[0]
        parts.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{:g}</text>').format(left, height - 11, x)
        )
    parts.append(
        Markup('<text class="tick" x="{}" y="{}">{}</text>').format(
            _WIDTH + 6, height - 11, f"\N{LEFTWARDS ARROW} {x_name}"
        )
    )
    ordered = sorted(marks, key=lambda mark: (-mark.y, mark.x, mark.name))
    gap = (height - _TOP - _BOTTOM) / len(marks)
    for number, mark in enumerate(ordered):
        parts += _named_mark(mark, plot, _TOP + (number + 0.5) * gap)
    told = "; ".join(f"{mark.name}: {mark.x:.4g} {x_name}, {mark.y:.4g}" for mark in ordered)
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH + _NAMES, height, f"{title}. {told}", Markup("").join(parts)
    )


@dataclass(frozen=True)
class _Plot:
    """Where numbers stand in a drawing of this height."""

    across: tuple[float, float]
    up: tuple[float, float]
    height: float

    def place(self, x: float, y: float) -> str:
        left = _LEFT + (x - self.across[0]) / (self.across[1] - self.across[0]) * (_WIDTH - _LEFT - _RIGHT)
        down = _TOP + (self.up[1] - y) / (self.up[1] - self.up[0]) * (self.height - _TOP - _BOTTOM)
        return f"{left:.1f},{down:.1f}"


def _named_mark(mark: Mark, plot: _Plot, line: float) -> list[Markup]:
    """A mark with its whisker, its name at height ``line`` beside the plot, and a thin line between them."""
    x, y = plot.place(mark.x, mark.y).split(",")
    parts = [
        Markup('<polyline class="lead-to" points="{},{} {},{:.1f} {},{:.1f}"/>').format(
            x, y, _WIDTH - 4, line, _WIDTH + 3, line
        )
    ]
    if mark.spread:
        ends = [plot.place(mark.x, mark.y + side * mark.spread).split(",")[1] for side in (-1, 1)]
        parts.append(Markup('<line class="whisker" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x, x, *ends))
    kind, radius = ("mark hollow", 6) if mark.hollow else ("mark", 4)  # a ring shows around a mark of the same place
    shape = Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>')
    parts.append(shape.format(kind, x, y, radius, mark.name))
    parts.append(Markup('<text class="name" x="{}" y="{:.1f}">{}</text>').format(_WIDTH + 6, line + 3.5, mark.name))
    return parts


def interval_bar(delta: float, low: float | None, high: float | None, extent: float) -> Markup:
    """A difference and its interval on a line from -extent to extent with 0 in the middle."""

    def place(value: float) -> str:
        return f"{60 + 56 * max(-1.0, min(1.0, value / extent)):.1f}"

    parts = [Markup('<line class="zero" x1="60" x2="60" y1="1" y2="17"/>')]
    if low is not None and high is not None:
        beyond = "beyond" if low > 0 or high < 0 else "within"
        parts.append(
            Markup('<line class="range {}" x1="{}" x2="{}" y1="9" y2="9"/>').format(beyond, place(low), place(high))
        )
    parts.append(Markup('<circle class="dot" cx="{}" cy="9" r="3.2"/>').format(place(delta)))
    return Markup('<svg class="bar" viewBox="0 0 120 18" width="120" height="18" aria-hidden="true">{}</svg>').format(
        Markup("").join(parts)
    )


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round, evenly spaced numbers from at most ``low`` to at least ``high``; steps are 1, 2 or 5 times a power of 10.

    low < high.
    """
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def thin(line: Points) -> Points:
    """At most about 300 points of a curve, evenly spaced, the last one always among them."""
    stride = -(-len(line) // _MAX_POINTS)
    return line[::-1][::stride][::-1] if stride > 1 else line


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Smallest and largest, widened when they are equal (or there are none) so that a scale exists."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high - low > 1e-12 * max(1.0, abs(high)):
        return low, high
    return low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)


def _grid_line(value: float, start: str, end: str) -> Markup:
    (x1, y), (x2, _) = start.split(","), end.split(",")
    text = Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(
        _LEFT - 5, f"{float(y) + 3.5:.1f}", f"{value + 0.0:.4g}"
    )
    return Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x1, x2, y, y) + text


def _polyline(name: str, index: int, places: Sequence[str]) -> Markup:
    if len(places) == 1:
        x, y = places[0].split(",")
        shape = Markup('<circle class="dot c{}" cx="{}" cy="{}" r="3">').format(index % NUM_COLOURS, x, y)
        return shape + Markup("<title>{}</title></circle>").format(name)
    return Markup('<polyline class="curve c{}" points="{}"><title>{}</title></polyline>').format(
        index % NUM_COLOURS, " ".join(places), name
    )
