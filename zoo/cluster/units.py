"""`zoo units`: the hidden units of any number of files, one JSON object a line, in the order of the inputs.

    {"path": "a.flac", "units": [17, 17, 4, ...], "rate": 50.0, "quantizer": "5a0c..."}

start, end: where a manifest names a span of the file. counts: with dedup, the frames of each unit. error: in place of
units, for a file that cannot be read. Several codebooks give a list for each frame.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from zoo import audio
from zoo.atomic import replacing_file
from zoo.cluster.features import Block, Part, layer
from zoo.cluster.quantizer import Quantizer
from zoo.data.manifest import Entry
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError, MissingDependencyError, ZooError
from zoo.extract.inputs import Item, collect
from zoo.extract.job import open_encoder
from zoo.extract.writer import printable

Line = dict[str, Any]


def write_units(
    paths: str | Path | Sequence[str | Path | Item],
    model: str | Path | Encoder,
    out: str | Path,
    *,
    dedup: bool = False,
    dtype: str = "float32",
    device: str = "auto",
    workers: int | None = None,
    progress: bool = True,
) -> int:
    """Write the units of files, folders, globs and manifests to `out`; returns how many items cannot be read.

    model: what `zoo.load` takes, or an encoder; it needs a quantizer. dedup: each run of equal units counts once.

    `out` appears when all is done. Killed at any moment and called again, the run goes on and ends in the same bytes;
    where `out` holds these items already, nothing is done.
    Raises ConfigError for a model without a quantizer, ZooError where `out` holds, or a run for it began with, other
    items, another quantizer, or another dedup.
    """
    items, target = collect(paths), Path(out).expanduser().absolute()
    encoder, _, _ = open_encoder(model, device, dtype)
    quantizer = getattr(encoder, "quantizer", None)
    if not isinstance(quantizer, Quantizer):
        raise ConfigError(f"{encoder.name or encoder.family} has no quantizer, so it gives no units; attach one to it")
    request = _Request(items, quantizer, dedup)
    if target.exists():
        with target.open("rb") as file:
            lines = list(request.read(file, target))
        if len(lines) < len(items):
            raise ZooError(f"{target}: holds units of {len(lines)} of {len(items)} items; choose another file")
        return sum("error" in line for line in lines)
    target.parent.mkdir(parents=True, exist_ok=True)
    journal = target.with_name(f".{target.name}.journal")
    with journal.open("a+b") as file:
        _lock(file, target)
        failed = _complete(request, encoder, file, journal, workers, progress)
        with replacing_file(target) as temporary:
            shutil.copyfile(journal, temporary)
        journal.unlink()
    return failed


class _Request:
    """What every line has to agree with."""

    def __init__(self, items: Sequence[Item], quantizer: Quantizer, dedup: bool) -> None:
        self.items, self.quantizer, self.dedup = items, quantizer, dedup

    def line(self, place: int, units: Tensor | None, error: str | None) -> Line:
        """units (T, C) of an item, or the reason why there are none."""
        line = self._head(place)
        if units is None:
            return line | {"error": printable(error or "too short")}
        counts: list[int] | None = None
        if self.dedup:
            units, runs = torch.unique_consecutive(units, dim=0, return_counts=True)
            counts = runs.tolist()
        values = units[:, 0] if units.shape[1] == 1 else units
        line |= {"units": values.tolist(), "rate": self.quantizer.rate}
        return line | ({"counts": counts} if self.dedup else {})

    def read(self, file: BinaryIO, path: Path) -> Iterator[Line]:
        """Whole lines of a file, each held against its item. Raises ZooError for the first that is another's."""
        for place, text in enumerate(file):
            if not text.endswith(b"\n"):
                return
            try:
                line = json.loads(text)
                same = place < len(self.items) and line.items() >= self._head(place).items()
                same = same and ("error" in line or ("counts" in line) == self.dedup)
            except (ValueError, AttributeError):
                same = False
            if not same:
                raise ZooError(
                    f"{path}, line {place + 1}: not of these inputs, this model and these options; repeat the former "
                    "ones, choose another file, or remove it"
                )
            yield line

    def _head(self, place: int) -> Line:
        item = self.items[place]
        span = {key: value for key in ("start", "end") if (value := getattr(item, key)) is not None}
        return {"path": printable(item.path), **span, "quantizer": self.quantizer.fingerprint}


def _complete(
    request: _Request, encoder: Encoder, file: BinaryIO, journal: Path, workers: int | None, progress: bool
) -> int:
    """Append the lines that the journal lacks, block by block; returns the number of failures."""
    source = layer(encoder, request.quantizer.layer)
    entries = [_entry(item) for item in request.items]
    blocks = source.blocks(entries)
    file.seek(0)
    lines = list(request.read(file, journal))
    done = sum(block.last <= len(lines) for block in blocks)
    whole = blocks[done - 1].last if done else 0
    file.seek(0)
    size = sum(len(file.readline()) for _ in range(whole))
    file.truncate(size)  # what is left of a torn block; the rest is written behind it
    failed = sum("error" in line for line in lines[:whole])
    console = Console(stderr=True)
    coming = source.frames(entries, blocks[done:], workers=workers)
    shown = progress and console.is_terminal
    for block, parts in zip(track(blocks[done:], "units", console=console, disable=not shown), coming, strict=True):
        made = [request.line(place, *found) for place, found in _units(request.quantizer, block, parts)]
        failed += sum("error" in line for line in made)
        file.write(b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in made))
        file.flush()
        os.fsync(file.fileno())
    return failed


def _units(
    quantizer: Quantizer, block: Block, parts: Iterator[Part]
) -> Iterator[tuple[int, tuple[Tensor | None, str | None]]]:
    found: dict[int, list[Tensor]] = {place: [] for place in range(block.first, block.last)}
    errors: dict[int, str] = {}
    for place, x, error in parts:
        if error is None:
            found[place].append(quantizer.assign(x))
        else:
            errors[place] = error
    for place, units in found.items():
        yield place, (torch.cat(units) if units else None, errors.get(place))


def _entry(item: Item) -> Entry:
    """The item as an entry; its duration decides with which others it is encoded. 0 for a file that cannot be read."""
    try:
        whole = audio.probe(item.path).duration
    except (AudioError, MissingDependencyError, OSError):
        whole = 0.0
    end = whole if item.end is None else min(item.end, whole)
    return Entry(Path(item.path), max(0.0, end - (item.start or 0.0)), "test", item.start, item.end)


def _lock(file: BinaryIO, target: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ZooError(f"{target}: another run is writing it; wait for it, or choose another file") from error
