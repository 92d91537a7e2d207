"""Transcripts of each system, stored line by line, so that a stopped benchmark can be resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.whisper.systems import Transcriber

BATCH = 20  # recordings transcribed at once


class TranscriptStore:
    """The work file: texts by (model, system, search, set) and index of the recording."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.texts: dict[tuple[str, ...], dict[int, str]] = {}
        for line in path.read_text().splitlines() if path.is_file() else ():
            *key, index, text = json.loads(line)
            self.texts.setdefault(tuple(key), {})[index] = text

    def complete(
        self, key: tuple[str, ...], waves: Sequence[np.ndarray], build: Callable[[], Transcriber]
    ) -> list[str]:
        """The texts of all waves; missing ones are transcribed and stored."""
        done = self.texts.setdefault(key, {})
        missing = [i for i in range(len(waves)) if i not in done]
        run = build() if missing else None
        for first in range(0, len(missing), BATCH):
            indices = missing[first : first + BATCH]
            texts = run([waves[i] for i in indices]) if run else []
            with self.path.open("a") as file:
                for i, text in zip(indices, texts, strict=True):
                    done[i] = text
                    file.write(json.dumps([*key, i, text]) + "\n")
        return [done[i] for i in range(len(waves))]
