"""errors.jsonl: the recordings that came to nothing, and why."""

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
    """Those of one run. They are on the disk after `write`."""

    def __init__(self, out: Path) -> None:
        self.path = out / ERRORS_NAME
        self.found: list[tuple[Planned, str]] = []
        self._written = -1  # what an earlier run left is out of date

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[tuple[Planned, str]]:
        return iter(self.found)

    def add(self, item: Planned, reason: str) -> None:
        self.found.append((item, reason))

    def write(self) -> None:
        """All of them, where some are new; no file where nothing failed. Raises ZooError where it cannot be written."""
        if self._written == len(self.found):
            return
        with writing(self.path):
            if self.found:
                self._replace()
            else:
                self.path.unlink(missing_ok=True)
        self._written = len(self.found)

    def _replace(self) -> None:
        with replacing_file(self.path) as partial, partial.open("wb") as file:
            for item, reason in self.found:
                line = {"path": printable(item.path), "start": item.start, "end": item.end, "reason": printable(reason)}
                file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
