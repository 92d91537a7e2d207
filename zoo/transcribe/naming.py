"""File names of the transcripts of each recording."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from zoo.jobs.lists import Item


def stems(items: Sequence[Item], earlier: Mapping[Item, str] | None = None) -> list[str]:
    """A unique name without extension for the files of each item.

    earlier: names of items from earlier runs, which do not change.

    Names have the folders below the common folder of all items. talk.mp3 becomes "talk", or "talk.mp3" if there is also
    a talk.wav. The name of a span of a recording has its seconds.
    """
    paths = [Path(os.path.abspath(item.path)) for item in items]  # noqa: PTH100 (a link is a file of its own)
    root = os.path.commonpath([path.parent for path in paths])
    short = [str(path.relative_to(root).with_suffix("")) for path in paths]
    sources: dict[str, set[Path]] = {}
    for name, path in zip(short, paths, strict=True):
        sources.setdefault(name, set()).add(path)
    names: list[str] = []
    earlier = earlier or {}
    used = set(earlier.values())
    for name, path, item in zip(short, paths, items, strict=True):
        if item in earlier:
            names.append(earlier[item])
            continue
        base = (name if len(sources[name]) == 1 else str(path.relative_to(root))) + _span(item)
        unique, number = base, 2
        while unique in used:
            unique, number = f"{base}-{number}", number + 1
        used.add(unique)
        names.append(unique)
    return names


def _span(item: Item) -> str:
    if item.start is None and item.end is None:
        return ""
    return f".{_seconds(item.start or 0.0)}-{'end' if item.end is None else _seconds(item.end)}"


def _seconds(value: float) -> str:
    """Rounded to milliseconds, without trailing zeros: 2.5 and 36000.51."""
    return f"{value:.3f}".rstrip("0").rstrip(".")
