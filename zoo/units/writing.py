"""`zoo units`: the hidden units of any number of files, one JSON object a line, in the order of the inputs.

Items that later runs add come at the end.

    {"path": "a.flac", "quantizer": "5a0c...", "units": [17, 17, 4, ...], "rate": 50.0, "dtype": "float32",
     "file": [46080, 1714000000000000000]}

start, end: only if a list gives a span of the file. counts: with dedup, the number of frames of each unit. error:
instead of units, if the file cannot be read. With several codebooks, units has a list for each frame. dtype: number
format of the computation. file: size in bytes and modification time in ns; null if the file was missing. From dtype and
file, a later run decides which lines it can keep.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

import torch
from rich.progress import track
from torch import Tensor

from zoo import audio
from zoo.cluster.quantizer import Quantizer
from zoo.data.manifest import Entry
from zoo.encoder import Encoder
from zoo.errors import ConfigError, ZooError
from zoo.io import messages
from zoo.io.atomic import naming_errors, replacing_file
from zoo.jobs.failures import READ_ERRORS
from zoo.jobs.inputs import collect
from zoo.jobs.lists import Item
from zoo.loading import open_encoder
from zoo.units.features import FeatureBlock, FramePart, layer
from zoo.units.lines import UnitsRequest


class UnitsSummary(NamedTuple):
    """The number of items in `out` with units (succeeded) and with an error (failed)."""

    succeeded: int
    failed: int


def write_units(
    paths: str | Path | Sequence[str | Path | Item],
    model: str | Path | Encoder,
    out: str | Path,
    *,
    dedup: bool = False,
    dtype: str = "float32",
    device: str = "auto",
    workers: int | None = None,
    prune: bool = False,
    progress: bool = True,
) -> UnitsSummary:
    """Write the units of files, folders, globs and lists to `out`.

    model: anything that `zoo.load` takes, or an encoder. The model needs a quantizer.
    dedup: write each run of equal units once, with its length in `counts`.
    prune: remove the lines of items that are no longer in `paths`.

    `out` is written at the end of the run. If a run is killed, call it again: it continues, and the file is
    byte-identical to that of an uninterrupted run. If `out` exists, only new files, files with another size or
    modification time, and failed items are encoded. Units of deleted files are kept. New items come at the end.
    If `out` is a link, the file that it points to is written, and the link stays.
    Raises ConfigError for a model without a quantizer; ZooError if `out`, or an unfinished run for it, has (without
    `prune`) items that are not in `paths`, another quantizer, another dtype or another dedup.
    """
    items, target = collect(paths), Path(out).expanduser().resolve()
    encoder, dtype, _ = open_encoder(model, device, dtype)
    quantizer = getattr(encoder, "quantizer", None)
    if not isinstance(quantizer, Quantizer):
        raise ConfigError(f"{encoder.name or encoder.family} has no quantizer, so it gives no units; attach one to it")
    request = UnitsRequest(items, quantizer, dedup, dtype, prune)
    with ExitStack() as files:
        old = request.read_finished(files.enter_context(target.open("rb")), target) if target.exists() else []
        if not prune and len(old) == len(items) and all(line.current and not line.failed for line in old):
            return UnitsSummary(len(old), 0)
        target.parent.mkdir(parents=True, exist_ok=True)
        journal = target.with_name(f".{target.name}.journal")
        file = files.enter_context(journal.open("a+b"))
        _lock(file, target)
        current = {line.item_index: line for line in old + request.read_journal(file, journal) if line.current}
        # Two groups, so that items that fail again do not change the batches of the others.
        new = [index for index in range(len(items)) if index not in current]
        failed_before = [index for index, line in sorted(current.items()) if line.failed]
        for indices in (new, failed_before):
            _append_lines(request, encoder, indices, file, workers, progress)
        current |= {line.item_index: line for line in request.read_journal(file, journal) if line.current}
        order = dict.fromkeys([*(line.item_index for line in old), *range(len(items))])  # new items come last
        lines = [current[index] for index in order]
        with replacing_file(target) as temporary, temporary.open("wb") as output:
            output.writelines(line.read() for line in lines)
        journal.unlink()
    failed = sum(line.failed for line in lines)
    return UnitsSummary(len(lines) - failed, failed)


def _append_lines(
    request: UnitsRequest,
    encoder: Encoder,
    indices: Sequence[int],
    file: BinaryIO,
    workers: int | None,
    progress: bool,
) -> None:
    """Append the lines of these items to the journal, block by block. An empty line ends each block."""
    source = layer(encoder, request.quantizer.layer)
    entries = [_entry(request.items[index]) for index in indices]
    blocks = source.blocks(entries)
    console = messages.console()
    frames = source.frames(entries, blocks, workers=workers)
    shown = progress and console.is_terminal
    for block, parts in zip(track(blocks, "units", console=console, disable=not shown), frames, strict=True):
        lines = [request.line(indices[i], *outcome) for i, outcome in _units(request.quantizer, block, parts)]
        with naming_errors(Path(file.name)):
            file.write(b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _units(
    quantizer: Quantizer, block: FeatureBlock, parts: Iterator[FramePart]
) -> Iterator[tuple[int, tuple[Tensor | None, str | None]]]:
    """For each entry of a block, its index and either its units (T, C) or the reason of its failure."""
    units_of: dict[int, list[Tensor]] = {index: [] for index in range(block.first, block.last)}
    errors: dict[int, str] = {}
    for index, x, error in parts:
        if error is None:
            units_of[index].append(quantizer.assign(x))
        else:
            errors[index] = error
    for index, units in units_of.items():
        yield index, (torch.cat(units) if units else None, errors.get(index))


def _entry(item: Item) -> Entry:
    """The item as an entry. Its duration decides in which block it is encoded; it is 0 for an unreadable file."""
    try:
        file_seconds = audio.probe(item.path).duration
    except READ_ERRORS:
        file_seconds = 0.0
    end = file_seconds if item.end is None else min(item.end, file_seconds)
    return Entry(Path(item.path), max(0.0, end - (item.start or 0.0)), "test", item.start, item.end)


def _lock(file: BinaryIO, target: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ZooError(f"{target}: another run is writing it; wait for it, or choose another file") from error
