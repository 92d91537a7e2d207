"""_errors.jsonl: the recordings that failed, with the reasons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from zoo.io.atomic import replacing_file
from zoo.io.text import printable
from zoo.jobs.failures import ERRORS_NAME
from zoo.jobs.survey import Planned
from zoo.transcribe.disk import writing


class Failures:
    """The failures of one run; `write` puts them on the disk."""

    def __init__(self, out: Path) -> None:
        self.path = out / ERRORS_NAME
        self.items: list[tuple[Planned, str]] = []
        self._num_written = -1  # the file of an earlier run is out of date

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[tuple[Planned, str]]:
        return iter(self.items)

    def add(self, item: Planned, reason: str) -> None:
        self.items.append((item, reason))

    def write(self) -> None:
        """Write all failures if some are new; remove the file if there are none. Raises ZooError if that fails."""
        if self._num_written == len(self.items):
            return
        with writing(self.path):
            if self.items:
                self._replace()
            else:
                self.path.unlink(missing_ok=True)
        self._num_written = len(self.items)

    def _replace(self) -> None:
        with replacing_file(self.path) as partial, partial.open("wb") as file:
            for item, reason in self.items:
                line = {"path": printable(item.path), "start": item.start, "end": item.end, "reason": printable(reason)}
                file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
