"""The units of a whole corpus on disk. They are written in parts and read by memory mapping.

FOLDER/labels.json              quantizer, source, rate, sizes, fingerprint of the entries, names of the parts
FOLDER/part-00000.safetensors   units (frames, C) of consecutive entries, counts (entries,), reasons of failures

Legend: T frames, C codebooks, K units.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo.cluster.quantizer import Quantizer
from zoo.data.manifest import Entry
from zoo.encoder import Encoder
from zoo.errors import CheckpointError, ConfigError
from zoo.io.atomic import replacing_file
from zoo.io.locks import lock_folder
from zoo.units.features import FeatureBlock, FeatureSource, FramePart
from zoo.units.fitting import data_fingerprint

HEADER = "labels.json"
PART_SECONDS = 3600.0  # audio in a part; a crash loses one part at most
_FORMAT = 1


@dataclass(frozen=True)
class Labels:
    """labels[i]: the units (T, C) of entry i, an int16 or int32 tensor mapped from the file; empty if the entry failed.

    rate: units per second. center: seconds from the start of a clip to the middle of its first frame. sizes: number of
    units of each codebook. quantizer: its fingerprint. failures: entry index -> reason. lengths: (entries,) int64.
    """

    folder: Path
    rate: float
    center: float
    sizes: tuple[int, ...]
    quantizer: str
    failures: dict[int, str]
    lengths: Tensor
    _parts: tuple[Tensor, ...]
    _offsets: Tensor  # (entries, 2): part, first row there

    @classmethod
    def open(cls, folder: str | Path) -> Labels:
        """Open finished labels. Raises CheckpointError if they are missing, unfinished or damaged."""
        folder = Path(folder).expanduser()
        header = _read_header(folder)
        parts, lengths, offsets = [], [], []
        failures: dict[int, str] = {}
        for number, name in enumerate(header["parts"]):
            part = _read_part(folder / name)
            if part is None:
                raise CheckpointError(f"{folder / name}: missing or damaged; run label_corpus again to restore it")
            tensors, notes = part
            counts = tensors["counts"]
            ends = counts.cumsum(0)
            offsets.append(torch.stack([torch.full_like(counts, number), ends - counts], dim=1))
            lengths.append(counts)
            parts.append(tensors["units"])
            failures |= {int(index): reason for index, reason in notes["failures"].items()}
        return cls(
            folder,
            header["source"]["rate"],
            header["source"]["center"],
            tuple(header["sizes"]),
            header["quantizer"],
            failures,
            torch.cat(lengths),
            tuple(parts),
            torch.cat(offsets),
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Tensor:
        part, start = self._offsets[index].tolist()
        return self._parts[part][start : start + int(self.lengths[index])]

    @cached_property
    def counts(self) -> tuple[Tensor, ...]:
        """The number of occurrences of each unit, one tensor (K,) int64 for each codebook."""
        return tuple(
            sum((torch.bincount(part[:, c].long(), minlength=k) for part in self._parts), torch.zeros(k).long())
            for c, k in enumerate(self.sizes)
        )

    def at(self, index: int, start: int, frames: int, encoder: Encoder, *, speed: float = 1.0) -> Tensor:
        """Targets (frames, C) int64 for the encoder's frames of a crop of entry `index`.

        start: first sample of the crop, at the encoder's sample rate. frames: number of frames in the crop.
        speed: playback speed of the crop, 1.0 for the recorded speed.
        Each frame gets the unit at the nearest time. The frame rates of encoder and units may differ.
        Raises CheckpointError for an entry without units.
        """
        units = self[index]
        if not len(units):
            raise CheckpointError(f"{self.folder}: entry {index} has no units: {self.failures.get(index, 'too short')}")
        middle = start + speed * (encoder.frame_samples / 2 + encoder.hop * torch.arange(frames, dtype=torch.float64))
        indices = ((middle / encoder.sample_rate - self.center) * self.rate).round().long()  # (frames,)
        return units[indices.clamp(0, len(units) - 1)].long()


def label_corpus(
    quantizer: Quantizer,
    source: FeatureSource,
    entries: Sequence[Entry],
    folder: str | Path,
    *,
    workers: int | None = None,
) -> Labels:
    """Write the units of all entries into `folder` and open them.

    If a run is killed, call it again: it continues after the last finished part, and the files are byte-identical to
    those of an uninterrupted run. Finished labels are only read; several processes can do this at once. Entries that
    cannot be read have no units and are in `failures`; every call tries them again.
    Raises ConfigError if there are no entries; CheckpointError if `source` is not the source of the quantizer, or if
    the folder has labels of other entries or another quantizer.
    """
    labeling = Labeling(quantizer, source, entries, folder)
    if not labeling.finished():
        with lock_folder(labeling.folder):
            labeling.claim()
            labeling.write(workers=workers)
    return Labels.open(labeling.folder)


class Labeling:
    """`label_corpus` in steps, for several processes that share the work: one claims the folder, then all write."""

    def __init__(
        self, quantizer: Quantizer, source: FeatureSource, entries: Sequence[Entry], folder: str | Path
    ) -> None:
        """Raises ConfigError if there are no entries, CheckpointError if `source` is not the quantizer's source."""
        if not entries:
            raise ConfigError(f"{folder}: no entries to label; give at least one")
        source.check(dict(quantizer.source))
        self.quantizer, self.source, self.entries = quantizer, source, entries
        self.folder = Path(folder).expanduser()
        self.blocks = _group(entries, source.blocks(entries))  # the blocks of each part
        self.names = [f"part-{number:05d}.safetensors" for number in range(len(self.blocks))]
        self.header = {
            "format": _FORMAT,
            "quantizer": quantizer.fingerprint,
            "source": source.describe(),
            "sizes": list(quantizer.sizes),
            "entries": len(entries),
            "data": data_fingerprint(entries),
            "parts": self.names,
        }

    def finished(self) -> bool:
        """Whether all labels exist. Raises CheckpointError if they belong to other entries or another quantizer."""
        return _matches(self.folder, self.header) and not self.missing()

    def missing(self, rank: int = 0, world: int = 1) -> list[int]:
        """Numbers of the parts to write among those of process `rank`: rank, rank + world, ...

        These are missing parts, damaged parts, and parts with an entry that failed and can be read now.
        """
        return [number for number in range(rank, len(self.names), world) if self._must_write(number)]

    def _must_write(self, number: int) -> bool:
        failures = _stored_failures(self.folder / self.names[number])
        if not failures:
            return failures is None
        alone = [FeatureBlock(index, index + 1) for index in failures]
        with closing(self.source.frames(self.entries, alone, workers=1)) as frames:
            return any(part.error is None for parts in frames for part in parts)

    def claim(self) -> None:
        """Write the header, or check an existing one. One process calls this before any process writes parts."""
        _write_header(self.folder, self.header)

    def write(self, rank: int = 0, world: int = 1, *, workers: int | None = None) -> None:
        """Write the missing parts of process `rank` of `world` processes. workers: decoding threads."""
        missing = self.missing(rank, world)
        blocks = [block for number in missing for block in self.blocks[number]]
        frames = self.source.frames(self.entries, blocks, workers=workers)
        for number in missing:
            _write_part(self.folder / self.names[number], self.quantizer, self.blocks[number], frames)


def _group(entries: Sequence[Entry], blocks: Sequence[FeatureBlock]) -> list[list[FeatureBlock]]:
    """Groups of consecutive blocks with PART_SECONDS of audio together."""
    groups: list[list[FeatureBlock]] = []
    seconds = PART_SECONDS
    for block in blocks:
        if seconds >= PART_SECONDS:
            groups.append([])
            seconds = 0.0
        groups[-1].append(block)
        seconds += sum(entry.duration for entry in entries[block.first : block.last])
    return groups


def _matches(folder: Path, header: dict[str, Any]) -> bool:
    """Whether the folder has this header. Raises CheckpointError for a header with other values."""
    if not (folder / HEADER).exists():
        return False
    existing = _read_header(folder)
    changed = [key for key, value in json.loads(json.dumps(header)).items() if existing.get(key) != value]
    if changed:
        raise CheckpointError(
            f"{folder}: has other labels ({', '.join(changed)} differ); choose another folder, or remove this one"
        )
    return True


def _write_header(folder: Path, header: dict[str, Any]) -> None:
    """Write the header, or check an existing one."""
    if _matches(folder, header):
        return
    if any(folder.glob("part-*.safetensors")):
        raise CheckpointError(f"{folder}: has parts but no {HEADER}; choose another folder, or remove this one")
    with replacing_file(folder / HEADER) as temporary:
        temporary.write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")


def _write_part(
    path: Path, quantizer: Quantizer, blocks: Sequence[FeatureBlock], frames: Iterator[Iterator[FramePart]]
) -> None:
    """Write the units of a part, unless the stored part has units of an entry that fails now."""
    before = _stored_failures(path)
    first = blocks[0].first
    counts = torch.zeros(blocks[-1].last - first, dtype=torch.int64)
    dtype = torch.int16 if max(quantizer.sizes) <= 1 << 15 else torch.int32
    units: list[Tensor] = [torch.empty(0, len(quantizer.sizes), dtype=dtype)]
    failures: dict[int, str] = {}
    for _, parts in zip(blocks, frames, strict=False):
        for index, x, error in parts:
            if error is not None:
                failures[index] = error
                continue
            units.append(quantizer.assign(x).to(dtype))
            counts[index - first] += len(x)
    if before is not None and not failures.keys() <= before.keys():
        return
    with replacing_file(path) as temporary:
        notes = {"zoo.labels": json.dumps({"failures": failures})}
        save_file({"units": torch.cat(units), "counts": counts}, temporary, metadata=notes)


def _read_part(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads((file.metadata() or {})["zoo.labels"])
        return load_file(path), notes
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def _stored_failures(path: Path) -> dict[int, str] | None:
    """Entry index -> reason of each failure in a part; None if the part is missing or damaged."""
    part = _read_part(path)
    if part is None:
        return None
    _, notes = part
    return {int(index): reason for index, reason in notes["failures"].items()}


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / HEADER
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file, so {folder} has no labels; make them with label_corpus") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path}: not labels of format {_FORMAT}, which this version of zoo reads; make them with label_corpus"
        )
    return header
