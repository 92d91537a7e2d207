"""`zoo units` as a task of the job engine. Shards are lines in a folder beside the file, merged into it at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.cluster.quantizer import Quantizer
from zoo.defaults import BATCH_SECONDS, SHARD_ITEMS
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError
from zoo.io.atomic import replacing_file
from zoo.jobs import decode
from zoo.jobs.lists import Item
from zoo.jobs.plan import PLAN_NAME, Limits, Plan, Shard
from zoo.jobs.shards import JSON_LINES, Failure, LinesWriter
from zoo.jobs.task import Advance, Decoded
from zoo.loading import open_encoder
from zoo.units.features import layer
from zoo.units.lines import Line, LineReader, LineSettings, StoredLine, make_error_line, make_line

# Audio of a shard: the work that a crash can lose, and the least that a worker takes.
SHARD_SECONDS = 900.0
LOOK_AHEAD_BATCHES = 4


class UnitsWriter(LinesWriter):
    """The lines of a shard, also those of items that failed."""

    def __init__(self, path: Path, plan: Plan, shard: Shard, settings: LineSettings) -> None:
        super().__init__(path, plan, shard)
        self.settings = settings

    def finish(self) -> None:
        """Write the lines."""
        for index, reason in self.failures:
            self.lines[index] = make_error_line(self.plan.items[index], self.settings, reason)
        super().finish()


class UnitsTask:
    """Clips -> units of a quantizer -> JSON lines.

    items: all inputs. target: the file. prune: lines of other items are dropped.
    """

    name = "units"
    suffix = JSON_LINES
    errors: Path | None = None  # lines have the reasons
    limits = Limits(SHARD_ITEMS, SHARD_SECONDS, BATCH_SECONDS)
    look_ahead_seconds = LOOK_AHEAD_BATCHES * BATCH_SECONDS

    def __init__(
        self,
        encoder: Encoder,
        quantizer: Quantizer,
        settings: LineSettings,
        items: Sequence[Item],
        target: Path,
        prune: bool,
    ) -> None:
        self.quantizer, self.items, self.target, self.prune = quantizer, items, target, prune
        self.source = layer(encoder, quantizer.layer)
        self.device = encoder.device.type
        self.line_settings = settings
        self.settings: dict[str, Any] = settings._asdict()
        self.read = partial(decode.read, sample_rate=encoder.sample_rate, min_samples=encoder.min_samples)

    def is_finished(self) -> bool:
        """Whether the file has units of all items as they are now."""
        reader = self._reader()
        with ExitStack() as files:
            lines = self._read_target(reader, files)
        return len(lines) == len(self.items) and all(line.current and not line.failed for line in lines)

    def select(self, items: Sequence[Item]) -> list[list[Item]]:
        """New and changed items, and those that failed: a group of its own, so that the others keep their batches."""
        reader = self._reader()
        with ExitStack() as files:
            current = {line.item_index: line.failed for line in self._read_target(reader, files) if line.current}
        new = [item for index, item in enumerate(items) if index not in current]
        failed = [item for index, item in enumerate(items) if current.get(index)]
        return [new, failed]

    def compute(self, batch: Sequence[Decoded], advance: Advance) -> Iterator[tuple[int, Line] | Failure]:
        """The lines of the clips. If the encoder rejects one, the others are encoded one at a time."""
        if not batch:
            return
        units: list[list[Tensor]] = [[] for _ in batch]
        try:
            for part in self.source.encode([decoded.clip for decoded in batch]):
                units[part.entry_index].append(self.quantizer.assign(part.x))
        except AudioError as error:
            if len(batch) == 1:
                yield Failure(batch[0].item_index, error.reason)
                return
            for decoded in batch:
                yield from self.compute([decoded], advance)
            return
        for decoded, parts in zip(batch, units, strict=True):
            if parts:
                line = make_line(decoded.item, self.quantizer, self.line_settings, torch.cat(parts))
                yield decoded.item_index, line
            else:
                yield Failure(decoded.item_index, "too short")
            advance(decoded.item.seconds)

    def writer(self, path: Path, plan: Plan, shard: Shard) -> UnitsWriter:
        """A writer of lines."""
        return UnitsWriter(path, plan, shard, self.line_settings)

    def collect(self, path: Path, plan: Plan) -> None:
        """The lines of the file are counted in the end."""

    def finish(self, folder: Path, plan: Plan, failures: Sequence[Failure]) -> None:
        """Merge the shards into the file: lines that were there in their order, then new ones. Remove the shards."""
        reader = self._reader()
        shards = [folder / plan.name(shard) for shard in plan.shards()]
        with ExitStack() as files:
            old = self._read_target(reader, files)
            lines = {line.item_index: line for line in old}
            for path in shards:
                new = reader.read_part(files.enter_context(path.open("rb")))
                lines |= {line.item_index: line for line in new}
            order = dict.fromkeys([*(line.item_index for line in old), *range(len(self.items))])
            with replacing_file(self.target) as temporary, temporary.open("wb") as output:
                output.writelines(lines[index].read() for index in order)
        (folder / PLAN_NAME).unlink()  # first, so that no worker misses the shards
        for path in shards:
            path.unlink()

    def _reader(self) -> LineReader:
        return LineReader(self.items, self.line_settings, self.prune)

    def _read_target(self, reader: LineReader, files: ExitStack) -> list[StoredLine]:
        if not self.target.exists():
            return []
        return reader.read_finished(files.enter_context(self.target.open("rb")))


def load_task(
    model: str | Path | Encoder,
    device: str,
    dtype: str,
    *,
    dedup: bool,
    items: Sequence[Item],
    target: Path,
    prune: bool,
) -> UnitsTask:
    """The task with its model. Raises ConfigError for a model without a quantizer."""
    encoder, dtype, _ = open_encoder(model, device, dtype)
    quantizer = getattr(encoder, "quantizer", None)
    if not isinstance(quantizer, Quantizer):
        raise ConfigError(f"{encoder.name or encoder.family} has no quantizer, so it gives no units; attach one to it")
    settings = LineSettings(quantizer.fingerprint, dedup, dtype)
    return UnitsTask(encoder, quantizer, settings, items, target, prune)
