"""Three small charts as inline SVG: bars with intervals, lines, labeled points.

They fit the width of a phone and scale up. Colors are the classes c0, c1, ... of the page's style sheet, which has a
light and a dark scheme.

Legend: x, y in pixels from the upper left; values in the units of the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 10, 34
_ROW = 31  # height of a bar with its label


@dataclass(frozen=True)
class Bar:
    """A value with its interval, None if there is none. text: the value as shown."""

    label: str
    color: int
    value: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class Line:
    """ys at xs = 0, 1, ...; a single y is a horizontal line. chosen, dot: x and y of a dot."""

    label: str
    color: int
    ys: Sequence[float | None]
    chosen: int | None = None
    dot: float | None = None


@dataclass(frozen=True)
class Point:
    """A labeled point, in data units."""

    label: str
    color: int
    x: float
    y: float


def bars(rows: Sequence[Bar], title: str) -> str:
    """Horizontal bars from 0, with the label above each bar and whiskers for intervals."""
    shown = [v for row in rows for v in (row.value, row.low, row.high) if v is not None and math.isfinite(v)]
    low, high = max(-1.0, min(0.0, *shown, 0.0)), max(1e-9, *shown)
    if low == 0 and high <= 1:
        high = 1.0  # a share: the axis goes to 1
    to_x = _scale(low, high, 2, WIDTH - 62)
    parts = [f'<line class="axis" x1="{to_x(0):.1f}" x2="{to_x(0):.1f}" y1="0" y2="{_ROW * len(rows)}"/>']
    for n, row in enumerate(rows):
        top = n * _ROW
        start, end = sorted((to_x(0), to_x(row.value)))
        parts += [
            f'<text x="2" y="{top + 12}">{escape(row.label)}</text>',
            f'<text class="value" x="{WIDTH - 2}" y="{top + 26}">{escape(row.text)}</text>',
            f'<rect class="c{row.color} bar" x="{start:.1f}" y="{top + 17}" width="{max(1.0, end - start):.1f}" '
            f'height="10"><title>{escape(row.label)}: {escape(row.text)}</title></rect>',
        ]
        if row.low is not None and row.high is not None and math.isfinite(row.high - row.low):
            a, b = to_x(row.low), to_x(row.high)
            parts.append(f'<path class="whisker" d="M{a:.1f} {top + 19}v6M{a:.1f} {top + 22}H{b:.1f}m0 -3v6"/>')
    return _figure(parts, _ROW * len(rows) + 4, title)


def lines(rows: Sequence[Line], title: str, x_label: str, y_label: str) -> str:
    """Curves over 0, 1, ... with a dot each."""
    values = [float(v) for row in rows for v in (*row.ys, row.dot) if v is not None and _real(v)]
    last = max(1, *(len(row.ys) - 1 for row in rows))
    low, high = _padded(values)
    x = _scale(0, last, _LEFT, WIDTH - _RIGHT)
    y = _scale(low, high, HEIGHT - _BOTTOM, _TOP + 8)
    parts = _grid(low, high, y) + _x_ticks([*range(0, last + 1, max(1, -(-last // 12)))], x, x_label)
    parts.append(_y_label(y_label))
    for row in rows:
        label = f"<title>{escape(row.label)}</title>"
        points = [(n, v) for n, v in enumerate(row.ys) if v is not None and _real(v)]
        css_class = "curve"
        if len(row.ys) == 1 and points:
            points = [(0, points[0][1]), (last, points[0][1])]
            css_class = "curve constant"
        if points:
            path = "L".join(f"{x(n):.1f} {y(v):.1f}" for n, v in points)
            parts.append(f'<path class="c{row.color} {css_class}" d="M{path}">{label}</path>')
        if row.chosen is not None and row.dot is not None and _real(row.dot):
            position = f'cx="{x(row.chosen):.1f}" cy="{y(row.dot):.1f}"'
            parts.append(f'<circle class="c{row.color} dot" {position} r="4">{label}</circle>')
    return _figure(parts, HEIGHT, title)


def scatter(points: Sequence[Point], title: str, x_label: str, y_label: str) -> str:
    """Points with their labels; x is logarithmic and must be above 0."""
    exponents = [math.log10(point.x) for point in points]
    left, right = math.floor(min(exponents)), max(math.ceil(max(exponents)), math.floor(min(exponents)) + 1)
    low, high = _padded([point.y for point in points])
    height = max(HEIGHT, _TOP + _BOTTOM + 16 * len(points))
    x, y = _scale(left, right, _LEFT, WIDTH - 2 * _RIGHT), _scale(low, high, height - _BOTTOM, _TOP + 8)
    parts = _grid(low, high, y)
    for k in range(left, right + 1):
        parts.append(f'<text class="tick mid" x="{x(k):.1f}" y="{height - 20}">{10.0**k:g}</text>')
    parts += [
        f'<text class="tick mid" x="{(WIDTH + _LEFT) / 2}" y="{height - 5}">{escape(x_label)}</text>',
        _y_label(y_label),
    ]
    previous = -math.inf
    for point in sorted(points, key=lambda each: -each.y):
        px, py = x(math.log10(point.x)), y(point.y)
        previous = max(py + 4, previous + 13)  # labels never overlap
        side, anchor = (8, "") if px < (WIDTH + _LEFT) / 2 else (-8, " end")
        parts += [
            f'<line class="axis" x1="{px:.1f}" y1="{py:.1f}" x2="{px + side * 0.9:.1f}" y2="{previous - 4:.1f}"/>',
            f'<circle class="c{point.color} dot" cx="{px:.1f}" cy="{py:.1f}" r="4"/>',
            f'<text class="label{anchor}" x="{px + side:.1f}" y="{previous:.1f}">{escape(point.label)}</text>',
        ]
    return _figure(parts, height, title)


def _figure(parts: Sequence[str], height: float, title: str) -> str:
    body = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}">{body}</svg>'


def _grid(low: float, high: float, y: Callable[[float], float]) -> list[str]:
    parts = []
    for value in _ticks(low, high):
        parts += [
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>',
            f'<text class="tick end" x="{_LEFT - 4}" y="{y(value) + 3:.1f}">{value:g}</text>',
        ]
    return parts


def _x_ticks(numbers: Sequence[int], x: Callable[[float], float], x_label: str) -> list[str]:
    labels = [f'<text class="tick mid" x="{x(n):.1f}" y="{HEIGHT - 20}">{n}</text>' for n in numbers]
    return [*labels, f'<text class="tick mid" x="{(WIDTH + _LEFT) / 2}" y="{HEIGHT - 5}">{escape(x_label)}</text>']


def _y_label(text: str) -> str:
    return f'<text class="tick" x="{_LEFT + 2}" y="9">{escape(text)}</text>'


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers between low and high."""
    raw = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= raw)
    return [round(n * step, 10) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """The range of the values with a margin. Values under -1 (a bad R2) are drawn at the edge."""
    low, high = (max(-1.0, min(values)), max(-1.0, *values)) if values else (0.0, 1.0)
    margin = 0.08 * (high - low) or 0.05
    return low - margin, high + margin


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """A linear map from [low, high] to [start, end]. Values outside are drawn at the edge."""
    span = high - low
    return lambda value: start + (end - start) * min(1.0, max(0.0, (value - low) / span))


def _real(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
