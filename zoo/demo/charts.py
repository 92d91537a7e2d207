"""The charts of the page, as SVG and HTML. Colors are in page.css, as classes c0, c1, ..."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from zoo.demo.benchmark import ScoreRow
from zoo.demo.clips import DemoClip
from zoo.demo.maps import Map
from zoo.demo.units import Run

COLORS = 8
_WIDTH, _HEIGHT, _MARGIN, _RADIUS = 400, 320, 16, 6.5
_GOLDEN_ANGLE = 137.508
_SHORTEST_RUN = 0.035  # s; shorter runs have no room for their number


def describe(clip: DemoClip) -> str:
    """A clip in a few words."""
    if clip.entry.text:
        return f"“{clip.entry.text}”, voice {clip.entry.speaker}"
    return clip.entry.captions[1] if len(clip.entry.captions) > 1 else clip.entry.captions[0]


def classes(labels: Sequence[str]) -> dict[str, str]:
    """The color class of each label, the most common ones first."""
    counted = Counter(labels)
    ordered = sorted(counted, key=lambda label: (-counted[label], label))
    return {label: f"c{number % COLORS}" for number, label in enumerate(ordered)}


def scatter(chart: Map) -> str:
    """A map as SVG; each point plays its clip."""
    colors = classes(chart.labels)
    parts = [
        f'<svg class="map" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="group" '
        f'aria-label="Map of {len(chart.clips)} clips by {escape(chart.model)}">'
    ]
    for clip, label, (x, y) in zip(chart.clips, chart.labels, chart.points.tolist(), strict=True):
        left = _MARGIN + x * (_WIDTH - 2 * _MARGIN)
        top = _MARGIN + (1 - y) * (_HEIGHT - 2 * _MARGIN)
        text = escape(describe(clip))
        parts.append(
            f'<circle class="point {colors[label]}" cx="{left:.1f}" cy="{top:.1f}" r="{_RADIUS}" tabindex="0" '
            f'role="button" data-clip="{clip.key}" data-label="{escape(label)}" data-text="{text}" '
            f'aria-label="Play {text}"/>'
        )
    parts.append(f'<circle class="ring" cx="{-_WIDTH}" cy="0" r="{_RADIUS * 1.7:.1f}"/></svg>')
    return "\n".join(parts)


def legend(chart: Map) -> str:
    """Buttons that leave only one label bright."""
    counted = Counter(chart.labels)
    parts = ['<div class="legend">']
    for label, color in classes(chart.labels).items():
        parts.append(
            f'<button type="button" class="key {color}" data-label="{escape(label)}" aria-pressed="false">'
            f"<i></i>{escape(label)} <small>{counted[label]}</small></button>"
        )
    parts.append("</div>")
    return "".join(parts)


def unit_strip(runs: Sequence[Run], duration: float) -> str:
    """Runs of hidden units as boxes along time. Equal units have equal colors everywhere."""
    parts = ['<div class="strip units">']
    for run in runs:
        hue = run.unit * _GOLDEN_ANGLE % 360
        number = str(run.unit) if run.end - run.start >= _SHORTEST_RUN else ""
        place = _place(run.start, run.end, duration)
        title = f"unit {run.unit}, {run.start:.2f} to {run.end:.2f} s"
        parts.append(f'<span style="{place};--hue:{hue:.0f}" title="{title}">{number}</span>')
    parts.append("</div>")
    return "".join(parts)


def phone_strip(phones: Sequence[tuple[float, float, str]], duration: float) -> str:
    """The true phones as boxes along time; silence is left empty."""
    parts = ['<div class="strip phones">']
    for start, end, symbol in phones:
        if symbol != "sil":
            name = escape(symbol)
            parts.append(f'<span style="{_place(start, end, duration)}" title="phone {name}">{name}</span>')
    parts.append("</div>")
    return "".join(parts)


def interval(row: ScoreRow) -> str:
    """A score between 0 and 1 as a bar with its interval as a line."""
    low = min(max(row.low, 0.0), 1.0)
    high = min(max(row.high, 0.0), 1.0)
    score = min(max(row.score, 0.0), 1.0)
    return (
        f'<div class="bar {row.role}"><b style="width:{score:.1%}"></b>'
        f'<i style="left:{low:.1%};width:{high - low:.1%}"></i></div>'
    )


def _place(start: float, end: float, duration: float) -> str:
    return f"left:{start / duration:.2%};width:{(end - start) / duration:.2%}"
