"""One pass of a frozen encoder over a source: what every probe needs of every layer, kept on disk.

    <cache>/<model>-<key>/00000-pooled.npy    (L, n, 2 D) float32: mean and standard deviation over time
                          00000-frames.npy    (L, n, F, D) float16: frames at F points of time, where phones are asked
                          00000.json          written last; the clips of this shard that failed, with reasons

The key hashes the preprocessing, the data and what is kept. Files are memory-mapped, and read a layer at a time. A run
that is killed goes on with the next shard.

Legend: L layers, N items, n items of a shard, F points of time, D width, T frames.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo import audio
from zoo.audio import Clip
from zoo.benchmarks.conditions import Condition
from zoo.benchmarks.corruptions import corrupt, version
from zoo.benchmarks.items import EvalItem, EvalItems
from zoo.encoder import Encoder
from zoo.errors import AudioError
from zoo.io.atomic import replacing_file
from zoo.io.locks import lock_folder
from zoo.nn.pooling import PoolingStats

SHARD = 64  # clips
BATCH_SECONDS = 64.0
VERSION = 1  # raised when the same encoder and clips would give other features


@dataclass(frozen=True)
class Features:
    """failed: place of an item -> why it has no features."""

    folder: Path
    layers: int
    width: int
    count: int
    failed: dict[int, str]

    def pooled(self, layer: int, places: np.ndarray, pooling: str = "stats") -> Tensor:
        """Mean, or mean and standard deviation, over time: (len(places), D or 2 D)."""
        values = self._read("pooled", layer, places)
        return values if pooling == "stats" else values[:, : values.shape[1] // 2]

    def frames(self, layer: int, places: np.ndarray) -> Tensor:
        """(len(places), F, D)."""
        return self._read("frames", layer, places).float()

    def _read(self, part: str, layer: int, chosen: np.ndarray) -> Tensor:
        rows: list[np.ndarray] = []
        for shard in np.unique(chosen // SHARD):
            file = np.load(self.folder / f"{shard:05d}-{part}.npy", mmap_mode="r")
            rows.append(file[layer][chosen[chosen // SHARD == shard] % SHARD])
        order = np.argsort(np.argsort(chosen // SHARD, kind="stable"), kind="stable")
        return torch.from_numpy(np.concatenate(rows)[order].copy())


def points_of_time(item: EvalItem, count: int) -> np.ndarray:
    """`count` moments inside the item's phones, in s: a function of its audio alone, the same for every encoder."""
    generator = np.random.default_rng(int(item.digest[:15], 16))
    start, end = (item.entry.phones[0][0], item.entry.phones[-1][1]) if item.entry.phones else (0.0, 0.0)
    return np.sort(generator.uniform(start, end, count))


def extract(
    encoder: Encoder,
    items: EvalItems,
    cache: Path,
    *,
    frames: int = 0,
    condition: Condition | None = None,
    advance: Callable[[float], None] = lambda seconds: None,
) -> Features:
    """Features of all items, computed where the cache lacks them. frames: points of time per clip, 0 = none.

    condition: what happens to every clip before. advance: told the seconds of audio of each shard that is done.
    Clips that cannot be decoded or encoded are `failed`. Raises MissingDependencyError where a package is needed for
    one: no shard is kept without it, since it may be there the next time.
    """
    name = f"{encoder.fingerprint()}-{_key(encoder, items, frames, condition)}"
    folder = cache / name
    with lock_folder(folder, wait=True):
        failed: dict[int, str] = {}
        for start in range(0, len(items.items), SHARD):
            shard = items.items[start : start + SHARD]
            about = folder / f"{start // SHARD:05d}.json"
            if not about.exists():
                _make_shard(encoder, shard, folder, about, frames, condition)
            found = json.loads(about.read_text(encoding="utf-8"))["failed"]
            failed.update({start + int(place): reason for place, reason in found.items()})
            advance(sum(item.entry.duration for item in shard))
    return Features(folder, encoder.num_layers + 1, encoder.dim, len(items.items), failed)


def read(item: EvalItem, sample_rate: int, condition: Condition | None = None) -> Clip:
    """A clip as a model hears it. Raises AudioError or MissingDependencyError where it cannot be decoded."""
    clip = audio.load(item.entry.audio, sample_rate, start=item.entry.start, end=item.entry.end)
    return corrupt(clip[0 : len(clip)], sample_rate, condition, item.digest) if condition else clip


def _key(encoder: Encoder, items: EvalItems, frames: int, condition: Condition | None) -> str:
    dtype = str(next((p.dtype for p in encoder.parameters()), torch.float32))
    device = encoder.device.type
    parts = [VERSION, encoder.preprocessing(), items.fingerprint, frames, SHARD, dtype, device]
    parts += [condition.name, version(condition)] if condition else []
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _make_shard(
    encoder: Encoder, shard: Sequence[EvalItem], folder: Path, about: Path, frames: int, condition: Condition | None
) -> None:
    layers = encoder.num_layers + 1
    pooled = np.zeros((layers, len(shard), 2 * encoder.dim), dtype=np.float32)
    points = np.zeros((layers, len(shard), frames, encoder.dim), dtype=np.float16)
    failed: dict[int, str] = {}
    moments = [points_of_time(item, frames) * (condition.stretch if condition else 1.0) for item in shard]
    for batch in _batches(_decode(encoder, shard, failed, condition), encoder.sample_rate):
        for place, mean_std, chosen in _encode(encoder, moments, batch, failed):
            if torch.isfinite(mean_std).all() and torch.isfinite(chosen.half()).all():
                pooled[:, place] = mean_std.numpy()
                points[:, place] = chosen.half().numpy()
            else:
                failed[place] = "the encoder gave values that are not finite, or frames beyond float16"
    stem = about.name.removesuffix(".json")
    _save(folder / f"{stem}-pooled.npy", pooled)
    if frames:
        _save(folder / f"{stem}-frames.npy", points)
    with replacing_file(about) as partial:
        partial.write_text(json.dumps({"failed": failed}), encoding="utf-8")


def _save(path: Path, array: np.ndarray) -> None:
    with replacing_file(path) as partial, partial.open("wb") as file:
        np.save(file, array)


def _decode(
    encoder: Encoder, shard: Sequence[EvalItem], failed: dict[int, str], condition: Condition | None
) -> Iterator[tuple[int, Clip]]:
    for place, item in enumerate(shard):
        try:
            clip = read(item, encoder.sample_rate, condition)
        except AudioError as error:
            failed[place] = error.reason
            continue
        if encoder.count_frames(len(clip)):
            yield place, clip
        else:
            failed[place] = f"too short for one frame: {len(clip)} samples, {encoder.min_samples} are needed"


def _batches(clips: Iterator[tuple[int, Clip]], rate: int) -> Iterator[list[tuple[int, Clip]]]:
    """Clips of at most BATCH_SECONDS together, or one longer clip."""
    batch: list[tuple[int, Clip]] = []
    for place, clip in clips:
        if batch and sum(len(c) for _, c in batch) + len(clip) > BATCH_SECONDS * rate:
            yield batch
            batch = []
        batch.append((place, clip))
    if batch:
        yield batch


def _encode(
    encoder: Encoder,
    moments: Sequence[np.ndarray],
    batch: Sequence[tuple[int, Clip]],
    failed: dict[int, str],
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(place, (L, 2 D) mean and deviation, (L, F, D) frames) of each clip that the encoder takes.

    moments: of every clip of the shard, the F points of time in s.
    """
    clips = [clip for _, clip in batch]
    frames = len(moments[0])
    try:
        if frames:
            encoded = encoder.encode(clips, encoder.sample_rate, layer="all").unpad()  # B x (L, T, D)
            pooled = [encoder.postprocess_pooled(PoolingStats.of(x).pool("stats"), "stats") for x in encoded]
        else:
            pooled = list(encoder.embed(clips, encoder.sample_rate, layer="all", pooling="stats").unbind(1))
    except AudioError as error:
        if len(batch) == 1:
            failed[batch[0][0]] = error.reason
            return
        for single in batch:
            yield from _encode(encoder, moments, [single], failed)
        return
    for b, (place, _) in enumerate(batch):
        chosen = torch.zeros(encoder.num_layers + 1, 0, encoder.dim)
        if frames:
            chosen = encoded[b][:, _frame_numbers(encoder, moments[place], encoded[b].shape[1])]
        yield place, pooled[b], chosen


def _frame_numbers(encoder: Encoder, times: np.ndarray, count: int) -> Tensor:
    """The frames whose middles are nearest to the times."""
    middle = times * encoder.sample_rate - encoder.frame_samples / 2
    return torch.from_numpy(np.clip(np.rint(middle / encoder.hop), 0, count - 1).astype(np.int64))
