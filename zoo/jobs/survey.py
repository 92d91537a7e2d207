"""Facts about each item before it is decoded: file size, modification time, duration, and why it cannot be read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console
from rich.progress import track

from zoo import audio
from zoo.jobs.failures import READ_ERRORS, describe_failure
from zoo.jobs.lists import Item


@dataclass(frozen=True)
class Planned:
    """An item and the facts about its file.

    size: bytes; mtime_ns: modification time; both None if the file is missing. seconds: duration according to the
    header. reason: why the file cannot be read, or None.
    """

    path: str
    start: float | None
    end: float | None
    size: int | None
    mtime_ns: int | None
    seconds: float
    reason: str | None = None

    @property
    def item(self) -> Item:
        return Item(self.path, self.start, self.end)


PROBE_CHUNK = 1024


class Facts(NamedTuple):
    """The facts about a whole file; fields as in `Planned`."""

    size: int | None
    mtime_ns: int | None
    seconds: float
    reason: str | None = None


def survey(items: Sequence[Item], known: dict[Item, Planned], workers: int, console: Console) -> Iterator[Planned]:
    """Yield the facts about each item, in order, read in threads.

    known: the facts from an earlier plan. A file with the same size and modification time is not opened again.
    """
    before = {item.path: planned for item, planned in known.items()}
    # A new span of a known file needs the duration of the whole file, which the plan does not have.
    queries = list(dict.fromkeys((item.path, item in known) for item in items))
    facts_of: dict[tuple[str, bool], Facts | None] = {}
    with ThreadPoolExecutor(workers, "zoo-probe") as pool:
        shown = console.is_terminal and not console.quiet
        chunks = range(0, len(queries), PROBE_CHUNK)  # a future for each of a million files would take gigabytes
        for start in track(chunks, "reading headers", console=console, transient=True, disable=not shown):
            chunk = queries[start : start + PROBE_CHUNK]
            planned = [before[path] if is_known else None for path, is_known in chunk]
            facts_of.update(zip(chunk, pool.map(_read_facts, [path for path, _ in chunk], planned), strict=True))
    for item in items:
        facts = facts_of[item.path, item in known]
        if facts is None:
            yield known[item]
        else:
            end = facts.seconds if item.end is None else min(item.end, facts.seconds)
            span = max(0.0, end - (item.start or 0.0))
            yield Planned(item.path, item.start, item.end, facts.size, facts.mtime_ns, span, facts.reason)


def _read_facts(path: str, before: Planned | None) -> Facts | None:
    """The facts about a file; None if the earlier facts are still valid."""
    try:
        size, time = file_stamp(path)
    except OSError as error:
        if before and before.size is not None:
            return None  # the file was deleted since; its results are kept
        return Facts(None, None, 0.0, error.strerror)
    if before and before.reason is None and (before.size, before.mtime_ns) == (size, time):
        return None
    try:
        return Facts(size, time, audio.probe(path).duration)
    except READ_ERRORS as error:
        return Facts(size, time, 0.0, describe_failure(error))


def unreadable(path: str) -> bool:
    """Whether a file has no header that can be read."""
    facts = _read_facts(path, None)
    return facts is not None and facts.reason is not None


def file_stamp(path: str) -> tuple[int, int]:
    """Size in bytes and modification time in ns. Raises OSError, also for a name that no file can have."""
    try:
        status = os.stat(path)  # noqa: PTH116 (a million of these: no Path objects)
    except ValueError as error:  # a null character, or a character that the file system cannot encode
        raise FileNotFoundError(errno.ENOENT, f"no file can have this name ({error})", path) from None
    return status.st_size, status.st_mtime_ns
