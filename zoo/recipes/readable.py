"""Groups of clips that can be read. A clip that cannot be read does not stop the others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

from zoo import audio
from zoo.audio import Clip
from zoo.data.manifest import Entry
from zoo.errors import AudioError, MissingDependencyError


def readable(entries: Sequence[Entry], sample_rate: int, at_once: int) -> Iterator[tuple[list[Entry], list[Clip]]]:
    """Groups of at most `at_once` entries with their audio. Clips that cannot be read are left out.

    At the end a warning gives their number, and the error of the first one.
    """
    failed: list[str] = []
    for first in range(0, len(entries), at_once):
        group: list[Entry] = []
        clips: list[Clip] = []
        for entry in entries[first : first + at_once]:
            try:
                clips.append(audio.load(entry.audio, sample_rate, start=entry.start, end=entry.end))
                group.append(entry)
            except (AudioError, MissingDependencyError) as error:
                failed.append(str(error))
        if group:
            yield group, clips
    if failed:
        warnings.warn(f"{len(failed)} clips cannot be read and are left out, e.g. {failed[0]}", stacklevel=2)
