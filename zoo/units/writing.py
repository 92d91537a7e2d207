"""`zoo units`: the hidden units of any number of files, one JSON object a line, in the order of the inputs;
what later runs add comes behind.

    {"path": "a.flac", "quantizer": "5a0c...", "units": [17, 17, 4, ...], "rate": 50.0, "dtype": "float32",
     "file": [46080, 1714000000000000000]}

start, end: where a list names a span of the file. counts: with dedup, the frames of each unit. error: in place of
units, for a file that cannot be read. Several codebooks give a list for each frame. dtype: number format of the
computation; file: size in bytes and time of change in ns, null where there was none. By these two a later run tells
which lines still stand.
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
from rich.console import Console
from rich.progress import track
from torch import Tensor

from zoo import audio
from zoo.cluster.quantizer import Quantizer
from zoo.data.manifest import Entry
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError, MissingDependencyError, ZooError
from zoo.io.atomic import replacing_file
from zoo.jobs.inputs import collect
from zoo.jobs.lists import Item
from zoo.loading import open_encoder
from zoo.units.features import FeatureBlock, FramePart, layer
from zoo.units.lines import UnitsRequest


class UnitsSummary(NamedTuple):
    """What `out` holds. made + failed = the number of items."""

    made: int
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
    progress: bool = True,
) -> UnitsSummary:
    """Write the units of files, folders, globs and lists to `out`.

    model: what `zoo.load` takes, or an encoder; it needs a quantizer. dedup: each run of equal units counts once.

    `out` appears, or is replaced, when all is done. Killed at any moment and called again, the run goes on and ends in
    the same bytes. Where `out` holds these items already, only files whose size or time is another are encoded again
    (what was made of a file that is gone since stays), items that failed are tried again, and new ones come behind the
    others; if there are none, nothing is done.
    Raises ConfigError for a model without a quantizer, ZooError where `out` holds, or a run for it began with, items
    that are not named now, another quantizer, another dtype or another dedup.
    """
    items, target = collect(paths), Path(out).expanduser().absolute()
    encoder, numbers, _ = open_encoder(model, device, dtype)
    quantizer = getattr(encoder, "quantizer", None)
    if not isinstance(quantizer, Quantizer):
        raise ConfigError(f"{encoder.name or encoder.family} has no quantizer, so it gives no units; attach one to it")
    request = UnitsRequest(items, quantizer, dedup, numbers)
    with ExitStack() as files:
        old = request.whole(files.enter_context(target.open("rb")), target) if target.exists() else []
        if len(old) == len(items) and all(held.current and not held.failed for held in old):
            return UnitsSummary(len(old), 0)
        target.parent.mkdir(parents=True, exist_ok=True)
        journal = target.with_name(f".{target.name}.journal")
        file = files.enter_context(journal.open("a+b"))
        _lock(file, target)
        known = {held.place: held for held in old + request.begun(file, journal) if held.current}
        # Apart from each other, or what fails time and again would decide with which others the rest is encoded.
        fresh = [place for place in range(len(items)) if place not in known]
        again = [place for place, held in sorted(known.items()) if held.failed]
        for places in (fresh, again):
            _complete(request, encoder, places, file, workers, progress)
        known |= {held.place: held for held in request.begun(file, journal) if held.current}
        order = dict.fromkeys([*(held.place for held in old), *range(len(items))])  # new items come behind the others
        lines = [known[place] for place in order]
        with replacing_file(target) as temporary, temporary.open("wb") as whole:
            whole.writelines(held.read() for held in lines)
        journal.unlink()
    failed = sum(held.failed for held in lines)
    return UnitsSummary(len(lines) - failed, failed)


def _complete(
    request: UnitsRequest,
    encoder: Encoder,
    places: Sequence[int],
    file: BinaryIO,
    workers: int | None,
    progress: bool,
) -> None:
    """Append the lines of these items to the journal, block by block, each with an empty line behind it."""
    source = layer(encoder, request.quantizer.layer)
    entries = [_entry(request.items[place]) for place in places]
    blocks = source.blocks(entries)
    console = Console(stderr=True)
    coming = source.frames(entries, blocks, workers=workers)
    shown = progress and console.is_terminal
    for block, parts in zip(track(blocks, "units", console=console, disable=not shown), coming, strict=True):
        made = [request.line(places[i], *found) for i, found in _units(request.quantizer, block, parts)]
        file.write(b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in made) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _units(
    quantizer: Quantizer, block: FeatureBlock, parts: Iterator[FramePart]
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
