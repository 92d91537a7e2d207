"""Parts of a corpus: a part is made by one process, and an interruption loses at most the current parts."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from multiprocessing import connection, parent_process
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from zoo.corpora.clip import CorpusClip
from zoo.data import manifest
from zoo.data.manifest import SPLITS, Entry
from zoo.io.atomic import naming_errors, replacing_file

_PART_SECONDS = 90.0  # about this much audio per part


@dataclass(frozen=True)
class CorpusPart:
    """Units [start, end) of a split. A unit is one utterance, or one piece of music."""

    kind: str
    size: str
    seed: int
    split: str
    start: int
    end: int

    def record(self, folder: Path) -> Path:
        """The file with the manifest lines and sample hashes of the finished part, until the corpus is complete."""
        return folder / ".parts" / f"{self.split}-{self.start:06d}.jsonl"


def corpus_module(kind: str) -> ModuleType:
    """The module of a corpus, with require(), counts(size), make(size, seed, split, index), UNIT_SECONDS, PACKAGES."""
    return import_module(f"zoo.corpora.{kind}")


def parts(kind: str, size: str, seed: int) -> list[CorpusPart]:
    """All parts of a corpus, in the order of its manifest."""
    module = corpus_module(kind)
    step = max(1, round(_PART_SECONDS / module.UNIT_SECONDS))
    result = []
    for split in SPLITS:
        total = module.counts(size)[split]
        result += [CorpusPart(kind, size, seed, split, a, b) for a, b in pairwise([*range(0, total, step), total])]
    return result


class ClipRow(NamedTuple):
    """One finished clip: manifest line, hash of the samples, file name and its size in bytes."""

    line: str
    samples: str
    file: str
    size: int


def finished_clips(folder: Path, part: CorpusPart) -> list[ClipRow] | None:
    """The clips of a part, or None if it must be made.

    Clips are not flushed to disk one by one, so after a power failure their files may be missing or incomplete; the
    recorded sizes show this.
    """
    record = part.record(folder)
    if not record.exists():
        return None
    rows = [ClipRow(*json.loads(line)) for line in record.read_text(encoding="utf-8").splitlines()]
    clips = folder / "clips" / part.split
    try:
        return rows if all((clips / row.file).stat().st_size == row.size for row in rows) else None
    except FileNotFoundError:
        return None


def make(folder: Path, part: CorpusPart) -> float:
    """Make the clips of a part, then record them; returns seconds of audio."""
    module = corpus_module(part.kind)
    clips = folder / "clips" / part.split
    clips.mkdir(parents=True, exist_ok=True)
    rows: list[ClipRow] = []
    seconds = 0.0
    for index in range(part.start, part.end):
        for clip in module.make(part.size, part.seed, part.split, index):
            path = clips / f"{clip.name}.flac"
            flac = _flac(clip)
            with naming_errors(path):
                path.write_bytes(flac)
            line = manifest.dump(_entry(clip, path, part.split), folder)
            rows.append(ClipRow(line, sample_hash(clip.wave), f"{clip.name}.flac", len(flac)))
            seconds += len(clip.wave) / clip.sample_rate
    write_durably(part.record(folder), "".join(json.dumps(row) + "\n" for row in rows).encode())
    return seconds


def sample_hash(wave: np.ndarray) -> str:
    """A hash of the samples, independent of the file format. wave: int16 (S,)."""
    return hashlib.sha256(wave.astype("<i2").tobytes()).hexdigest()


def write_durably(path: Path, content: bytes) -> None:
    """Write a file in one step: it is either complete on disk, or missing."""
    with replacing_file(path) as partial:
        partial.write_bytes(content)


def die_with_parent() -> None:
    """End this worker if the building process is killed; it would wait for work forever."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _entry(clip: CorpusClip, path: Path, split: str) -> Entry:
    return Entry(
        audio=path,
        duration=round(len(clip.wave) / clip.sample_rate, 4),
        split=split,
        text=clip.text,
        captions=clip.captions,
        speaker=clip.speaker,
        lang=clip.lang,
        phones=clip.phones,
        labels=dict(clip.labels),
    )


def _flac(clip: CorpusClip) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, clip.wave, clip.sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
