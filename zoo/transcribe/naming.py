"""Names for the files of each recording."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from zoo.jobs.lists import Item


def stems(items: Sequence[Item], kept: Mapping[Item, str] | None = None) -> list[str]:
    """A name for each item's files, without extension, no two alike.

    kept: the names that items have from earlier runs; they stay, whatever else is transcribed now.

    Folders below the one that holds all items are kept. talk.mp3 becomes "talk", or "talk.mp3" where there is a
    talk.wav beside it; a span of a recording has its seconds in its name.
    """
    paths = [Path(os.path.abspath(item.path)) for item in items]  # noqa: PTH100 (a link is a file of its own)
    root = os.path.commonpath([path.parent for path in paths])
    short = [str(path.relative_to(root).with_suffix("")) for path in paths]
    sources: dict[str, set[Path]] = {}
    for name, path in zip(short, paths, strict=True):
        sources.setdefault(name, set()).add(path)
    names: list[str] = []
    kept = kept or {}
    taken = set(kept.values())
    for name, path, item in zip(short, paths, items, strict=True):
        if item in kept:
            names.append(kept[item])
            continue
        wanted = (name if len(sources[name]) == 1 else str(path.relative_to(root))) + _span(item)
        unique, number = wanted, 2
        while unique in taken:
            unique, number = f"{wanted}-{number}", number + 1
        taken.add(unique)
        names.append(unique)
    return names


def _span(item: Item) -> str:
    if item.start is None and item.end is None:
        return ""
    return f".{_seconds(item.start or 0.0)}-{'end' if item.end is None else _seconds(item.end)}"


def _seconds(value: float) -> str:
    """To the millisecond, without zeros at the end: 2.5 and 36000.51."""
    return f"{value:.3f}".rstrip("0").rstrip(".")
