"""Batches, decoded in threads ahead of the model. Their content does not depend on the number of threads."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from zoo.config import PARSER
from zoo.data import sources
from zoo.data.dataset import AudioDataset, Batch, LoadedClip
from zoo.data.manifest import Entry
from zoo.data.sampler import BatchSampler, Cursor
from zoo.data.sources import Source
from zoo.errors import AudioError, ConfigError, ManifestError, MissingDependencyError
from zoo.io.seeds import mix
from zoo.io.threads import core_pool
from zoo.validation import check_range

MANY_SKIPPED = (10, 0.1)  # if more items than both this count and this share are skipped, the data set is wrong

Collate = Callable[[Sequence[LoadedClip]], Any]


@dataclass
class DataConfig:
    """The audio source, and how audio is cropped and batched."""

    sources: list[Source] = field(  # or their short form: A + B [column=value|value]; zoo.data.sources.Source
        default_factory=lambda: sources.parse("corpus:speech/small"), metadata={PARSER: sources.parse}
    )
    batch_seconds: float = 60.0  # s of audio in one micro-batch, padding included
    max_items: int | None = None  # items in one micro-batch
    max_seconds: float | None = 15.0  # longer items are cropped at random
    min_seconds: float = 0.5  # shorter items are left out
    cache_hours: float = 2.0  # decoded audio to keep in memory
    workers: int = 2  # decoding threads

    def __post_init__(self) -> None:
        self.sources = sources.parse(self.sources)
        check_range("data.batch_seconds", self.batch_seconds, 0, above=True)
        check_range("data.max_items", self.max_items, 1)
        check_range("data.max_seconds", self.max_seconds, 0, above=True)
        check_range("data.min_seconds", self.min_seconds, 0)
        check_range("data.cache_hours", self.cache_hours, 0)
        check_range("data.workers", self.workers, 1)


@dataclass
class Step:
    """The micro-batches of one optimizer step for this process, and the position after the step."""

    batches: list[Any]
    cursor: Cursor
    waited: float  # seconds that the trainer waited for data


class Skipped:
    """Items that could not be used, with the reason for each; also written to a file after a call of `attach`."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._names = {_name(entry) for entry in entries}
        self.total = len(entries)
        self.reasons: dict[str, str] = {}
        self._this_run: set[str] = set()  # skipped by this run; items listed by an earlier run may be repaired now
        self._path: Path | None = None
        self._lock = Lock()

    def attach(self, path: Path) -> None:
        """Write skipped items to `path` (JSON lines). Entries that are already listed there are counted too."""
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            with suppress(ValueError):  # on a full disk, a line may be incomplete and the next one appended to it
                record = json.loads(line)
                if record["audio"] in self._names:
                    self.reasons[record["audio"]] = record["reason"]
        self._path = path

    def add(self, entry: Entry, reason: str) -> None:
        """Record an item that cannot be used. Raises ManifestError if there are too many: see MANY_SKIPPED."""
        name = _name(entry)
        with self._lock:
            self._this_run.add(name)
            if name not in self.reasons:
                self.reasons[name] = reason
                if self._path is not None:
                    with self._path.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"audio": name, "reason": reason}) + "\n")
        count, share = MANY_SKIPPED
        if len(self._this_run) > max(count, share * self.total) or len(self._this_run) == self.total:
            raise ManifestError(
                f"{len(self._this_run)} of {self.total} items cannot be used, the last: {reason}; "
                "check the paths of the manifest, or clean the data set"
            )

    def clear(self, entry: Entry) -> None:
        """Record that an item can be used: it no longer counts if only an earlier run skipped it."""
        if self.reasons and (name := _name(entry)) not in self._this_run:
            with self._lock:
                self.reasons.pop(name, None)

    def __len__(self) -> int:
        return len(self.reasons)


class Loader:
    """Batches of a data set in the sampler's order.

    collate: items -> input of the task's forward, a `Batch` by default; it runs in the worker threads, so tokenizing or
    computing spectra does not slow down the trainer. prefetch: batches computed ahead.

    An item that cannot be decoded is skipped and listed. If the sampler shuffles, the item nearest in length replaces
    it. The replacement is always the same, in every run and process.
    """

    def __init__(
        self,
        dataset: AudioDataset,
        sampler: BatchSampler,
        *,
        collate: Collate = Batch.of,
        workers: int = 2,
        prefetch: int = 4,
    ) -> None:
        self.dataset, self.sampler, self.collate = dataset, sampler, collate
        self.workers, self.prefetch = workers, prefetch
        self.skipped = Skipped(dataset.entries)
        self._by_length = np.argsort(dataset.seconds, kind="stable")
        self._rank = np.argsort(self._by_length)

    def steps(self, start: Cursor, per_step: int, rank: int = 0, world: int = 1) -> Iterator[Step]:
        """An endless sequence of optimizer steps. Each step uses the next `per_step` batches; this process gets every
        `world`-th of them, starting with index `rank`.
        """
        stream = self.sampler.stream(start)
        planned = iter(lambda: list(islice(stream, per_step)), [])
        waited = 0.0
        ahead = self._ahead(((step[-1][0], step[rank::world]) for step in planned), max(1, self.prefetch // per_step))
        while True:
            began = time.perf_counter()
            last, batches = next(ahead)
            waited = time.perf_counter() - began
            yield Step(batches, Cursor(last.epoch, last.position + 1), waited)

    def __iter__(self) -> Iterator[Any]:
        """Every batch of epoch 0, once: validation."""
        return self.share(0, 1)

    def share(self, rank: int, world: int) -> Iterator[Any]:
        """Every `world`-th batch of epoch 0, starting with index `rank`."""
        plan = list(enumerate(self.sampler.plan(0)))[rank::world]
        for _, batches in self._ahead(((Cursor(0, i), [(Cursor(0, i), batch)]) for i, batch in plan), self.prefetch):
            yield from batches

    def _ahead(
        self, planned: Iterable[tuple[Cursor, list[tuple[Cursor, list[int]]]]], depth: int
    ) -> Iterator[tuple[Cursor, list[Any]]]:
        """Groups of batches in order; threads compute the next `depth` groups meanwhile."""
        pending: deque[tuple[Cursor, list[Future[Any]]]] = deque()
        groups = iter(planned)
        pool = core_pool(self.workers, "zoo-data")
        try:
            while True:
                while len(pending) <= depth and (group := next(groups, None)) is not None:
                    pending.append((group[0], [pool.submit(self.batch, *batch) for batch in group[1]]))
                if not pending:
                    return
                cursor, futures = pending.popleft()
                batches = [future.result() for future in futures]
                yield cursor, [batch for batch in batches if batch is not None]
        finally:
            pool.shutdown(cancel_futures=True)

    def batch(self, cursor: Cursor, indices: Sequence[int]) -> Any:
        """One batch; None if no item of it can be used."""
        items = [self._item(index, cursor.epoch) for index in indices]
        usable = [item for item in items if item is not None]
        if not usable:
            return None
        batch = self.collate(usable)
        batch.seed = mix(self.sampler.seed, cursor.epoch, cursor.position, 2)
        return batch

    def _item(self, index: int, epoch: int) -> LoadedClip | None:
        """The item, or its replacement; None if there is none."""
        for candidate in self._candidates(index):
            entry = self.dataset.entries[candidate]
            try:
                item = self.dataset.item(candidate, mix(self.sampler.seed, epoch, candidate))
            except (AudioError, MissingDependencyError) as error:
                self.skipped.add(entry, str(error))
            else:
                self.skipped.clear(entry)
                return item
        return None

    def _candidates(self, index: int) -> Iterator[int]:
        yield index
        if self.sampler.shuffle:
            rank, total = int(self._rank[index]), len(self._by_length)
            for distance in range(1, total):
                for neighbor in (rank - distance, rank + distance):
                    if 0 <= neighbor < total:
                        yield int(self._by_length[neighbor])


def _name(entry: Entry) -> str:
    return f"{entry.audio}" if entry.start is None else f"{entry.audio} from {entry.start:g} s"


def loaders(
    config: DataConfig, *, sample_rate: int, min_samples: int = 1, seed: int = 0, collate: Collate = Batch.of
) -> tuple[Loader, Loader]:
    """Loaders of the train and dev splits of a source; dev has a fixed order and fixed crops.

    Raises ConfigError if one of the splits is empty; other errors as `sources.open`.
    """
    entries = [
        e for e in sources.open(config.sources) if e.duration >= max(config.min_seconds, min_samples / sample_rate)
    ]
    return (
        split_loader(config, entries, "train", sample_rate, min_samples, seed, collate),
        split_loader(config, entries, "dev", sample_rate, min_samples, seed, collate),
    )


def split_loader(
    config: DataConfig,
    entries: Sequence[Entry],
    split: str,
    sample_rate: int,
    min_samples: int = 1,
    seed: int = 0,
    collate: Collate = Batch.of,
    kind: Callable[..., AudioDataset] = AudioDataset,
) -> Loader:
    """A loader of the entries of one split; shuffled if it is "train". Raises ConfigError if the split is empty."""
    of_split = [entry for entry in entries if entry.split == split]
    if not of_split:
        raise ConfigError(
            f"{sources.text_of(config.sources)}: none of {len(entries)} usable clips is in split {split!r}; add a "
            "column `split` (train, dev, test), put files into folders with these names, or add a source with clips in "
            f"{split}"
        )
    dataset = kind(
        of_split,
        sample_rate,
        max_seconds=config.max_seconds,
        min_samples=min_samples,
        cache_hours=config.cache_hours,
    )
    sampler = BatchSampler(
        dataset.seconds, config.batch_seconds, seed=seed, max_items=config.max_items, shuffle=split == "train"
    )
    return Loader(dataset, sampler, collate=collate, workers=config.workers)
