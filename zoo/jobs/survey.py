"""What is known of every item before it is read: size, time of change, length, and why it cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console
from rich.progress import track

from zoo import audio
from zoo.errors import ZooError
from zoo.jobs.lists import Item


@dataclass(frozen=True)
class Planned:
    """An item and what is known of its file. `seconds` is what the header promises; `reason`: why it cannot be read."""

    path: str
    start: float | None
    end: float | None
    size: int | None
    mtime_ns: int | None
    seconds: float
    reason: str | None = None

    @property
    def asked(self) -> Item:
        return Item(self.path, self.start, self.end)


PROBE_CHUNK = 1024


class Facts(NamedTuple):
    """What is known of a whole file. `seconds` is what its header promises; `reason`: why it cannot be read."""

    size: int | None
    mtime_ns: int | None
    seconds: float
    reason: str | None = None


def survey(items: Sequence[Item], known: dict[Item, Planned], workers: int, console: Console) -> Iterator[Planned]:
    """Size, time and duration of every item's file, in threads. A file of which nothing changed is not opened."""
    before = {item.path: planned for item, planned in known.items()}
    # A new span of a file that is known asks for the length of the whole, which the plan does not hold.
    wanted = list(dict.fromkeys((item.path, item in known) for item in items))
    found: dict[tuple[str, bool], Facts | None] = {}
    with ThreadPoolExecutor(workers, "zoo-probe") as pool:
        shown = console.is_terminal and not console.quiet
        chunks = range(0, len(wanted), PROBE_CHUNK)  # a future for each of a million files would take gigabytes
        for start in track(chunks, "reading headers", console=console, transient=True, disable=not shown):
            chunk = wanted[start : start + PROBE_CHUNK]
            planned = [before[path] if told else None for path, told in chunk]
            found.update(zip(chunk, pool.map(_look, [path for path, _ in chunk], planned), strict=True))
    for item in items:
        facts = found[item.path, item in known]
        if facts is None:
            yield known[item]
        else:
            end = facts.seconds if item.end is None else min(item.end, facts.seconds)
            span = max(0.0, end - (item.start or 0.0))
            yield Planned(*item, facts.size, facts.mtime_ns, span, facts.reason)


def _look(path: str, before: Planned | None) -> Facts | None:
    """What is to be known of a file; None where what is known of it already stands."""
    try:
        status = os.stat(path)  # noqa: PTH116 (a million of these: no Path objects)
    except OSError as error:
        if before and before.size is not None:
            return None  # gone since: what was computed from it stays
        return Facts(None, None, 0.0, _reason(error))
    size, time = status.st_size, status.st_mtime_ns
    if before and before.reason is None and (before.size, before.mtime_ns) == (size, time):
        return None
    try:
        return Facts(size, time, audio.probe(path).duration)
    except (ZooError, OSError) as error:
        return Facts(size, time, 0.0, _reason(error))


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
