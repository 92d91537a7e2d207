"""Features of a frozen encoder over a source, stored on disk: one pass gives what all probes need, of all layers.

    <cache>/<model>-<key>/00000-pooled.npy    (L, n, 2 D) float32: mean and standard deviation over time
                          00000-frames.npy    (L, n, F, D) float16: frames at F time points, for tasks on phones
                          00000.json          written last; the failed clips of this shard, with reasons

The key hashes the preprocessing, the data and the stored parts. Files are memory-mapped and read one layer at a time.
If a run is killed, the next one continues with the first missing shard.

Legend: L layers, N items, n items of a shard, F time points, D width, T frames.
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
from zoo.errors import AudioError, MissingDependencyError
from zoo.io.atomic import replacing_file
from zoo.io.locks import lock_folder
from zoo.jobs.failures import READ_ERRORS, describe_failure
from zoo.nn.pooling import PoolingStats

SHARD = 64  # clips
BATCH_SECONDS = 64.0
VERSION = 1  # raised if the same encoder and clips give other features than before


@dataclass(frozen=True)
class Features:
    """Features on disk. failed: index of an item -> the reason why it has no features."""

    folder: Path
    layers: int
    width: int
    count: int
    failed: dict[int, str]

    def pooled(self, layer: int, indices: np.ndarray, pooling: str = "stats") -> Tensor:
        """Mean, or mean and standard deviation, over time: (len(indices), D or 2 D)."""
        values = self._read("pooled", layer, indices)
        return values if pooling == "stats" else values[:, : values.shape[1] // 2]

    def frames(self, layer: int, indices: np.ndarray) -> Tensor:
        """Frames at the time points: (len(indices), F, D)."""
        return self._read("frames", layer, indices).float()

    def _read(self, part: str, layer: int, indices: np.ndarray) -> Tensor:
        rows: list[np.ndarray] = []
        for shard in np.unique(indices // SHARD):
            file = np.load(self.folder / f"{shard:05d}-{part}.npy", mmap_mode="r")
            rows.append(file[layer][indices[indices // SHARD == shard] % SHARD])
        order = np.argsort(np.argsort(indices // SHARD, kind="stable"), kind="stable")
        return torch.from_numpy(np.concatenate(rows)[order].copy())


def time_points(item: EvalItem, count: int) -> np.ndarray:
    """`count` times in s, inside the phones of the item. They depend on its audio only, not on the encoder."""
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
    """Features of all items. Shards that the cache lacks are computed. frames: time points per clip, 0 = none.

    condition: corruption of every clip. advance: called with the seconds of audio of each finished shard.
    Clips that cannot be decoded or encoded are `failed`; every call tries them again. Raises MissingDependencyError if
    a clip needs a package that is not installed; its shard is not stored.
    """
    name = f"{encoder.fingerprint()}-{_key(encoder, items, frames, condition)}"
    folder = cache / name
    with lock_folder(folder, wait=True):
        failed: dict[int, str] = {}
        for start in range(0, len(items.items), SHARD):
            shard = items.items[start : start + SHARD]
            summary = folder / f"{start // SHARD:05d}.json"
            _update_shard(encoder, shard, summary, frames, condition)
            failed.update({start + index: reason for index, reason in _stored_failures(summary).items()})
            advance(sum(item.entry.duration for item in shard))
    return Features(folder, encoder.num_layers + 1, encoder.dim, len(items.items), failed)


def read(item: EvalItem, sample_rate: int, condition: Condition | None = None) -> Clip:
    """Decode a clip and apply the condition. Raises AudioError or MissingDependencyError if it cannot be decoded."""
    clip = audio.load(item.entry.audio, sample_rate, start=item.entry.start, end=item.entry.end)
    return corrupt(clip[0 : len(clip)], sample_rate, condition, item.digest) if condition else clip


def _key(encoder: Encoder, items: EvalItems, frames: int, condition: Condition | None) -> str:
    dtype = str(next((p.dtype for p in encoder.parameters()), torch.float32))
    device = encoder.device.type
    parts = [VERSION, encoder.preprocessing(), items.fingerprint, frames, SHARD, dtype, device]
    parts += [condition.name, version(condition)] if condition else []
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _stored_failures(summary: Path) -> dict[int, str]:
    failed = json.loads(summary.read_text(encoding="utf-8"))["failed"]
    return {int(index): reason for index, reason in failed.items()}


def _update_shard(
    encoder: Encoder, shard: Sequence[EvalItem], summary: Path, frames: int, condition: Condition | None
) -> None:
    """Make the shard if it is missing, or if a clip that failed before works now. No clip loses its features."""
    before: dict[int, str] | None = None
    if summary.exists():
        before = _stored_failures(summary)
        if not any(_works(encoder, shard[index], frames, condition) for index in before):
            return
    pooled, points, failed = _compute(encoder, shard, frames, condition)
    if before is not None and not failed.keys() <= before.keys():
        return
    stem = summary.name.removesuffix(".json")
    _save(summary.with_name(f"{stem}-pooled.npy"), pooled)
    if frames:
        _save(summary.with_name(f"{stem}-frames.npy"), points)
    with replacing_file(summary) as partial:
        partial.write_text(json.dumps({"failed": failed}), encoding="utf-8")


def _works(encoder: Encoder, item: EvalItem, frames: int, condition: Condition | None) -> bool:
    """Whether the clip alone can be decoded and encoded now."""
    _, _, failed = _compute(encoder, [item], frames, condition)
    return not failed


def _compute(
    encoder: Encoder, shard: Sequence[EvalItem], frames: int, condition: Condition | None
) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Pooled features (L, n, 2 D), frames (L, n, F, D), and the clips that failed."""
    layers = encoder.num_layers + 1
    pooled = np.zeros((layers, len(shard), 2 * encoder.dim), dtype=np.float32)
    points = np.zeros((layers, len(shard), frames, encoder.dim), dtype=np.float16)
    failed: dict[int, str] = {}
    clip_times = [time_points(item, frames) * (condition.stretch if condition else 1.0) for item in shard]
    for batch in _batches(_decode(encoder, shard, failed, condition), encoder.sample_rate):
        for index, mean_std, at_points in _encode(encoder, clip_times, batch, failed):
            if torch.isfinite(mean_std).all() and torch.isfinite(at_points.half()).all():
                pooled[:, index] = mean_std.numpy()
                points[:, index] = at_points.half().numpy()
            else:
                failed[index] = "the encoder gave values that are not finite, or frames beyond float16"
    return pooled, points, failed


def _save(path: Path, array: np.ndarray) -> None:
    with replacing_file(path) as partial, partial.open("wb") as file:
        np.save(file, array)


def _decode(
    encoder: Encoder, shard: Sequence[EvalItem], failed: dict[int, str], condition: Condition | None
) -> Iterator[tuple[int, Clip]]:
    for index, item in enumerate(shard):
        try:
            clip = read(item, encoder.sample_rate, condition)
        except MissingDependencyError:
            raise
        except READ_ERRORS as error:
            failed[index] = describe_failure(error)
            continue
        if encoder.count_frames(len(clip)):
            yield index, clip
        else:
            failed[index] = f"too short for one frame: {len(clip)} samples, the encoder needs {encoder.min_samples}"


def _batches(clips: Iterator[tuple[int, Clip]], rate: int) -> Iterator[list[tuple[int, Clip]]]:
    """Batches of at most BATCH_SECONDS, or of one longer clip."""
    batch: list[tuple[int, Clip]] = []
    for index, clip in clips:
        if batch and sum(len(c) for _, c in batch) + len(clip) > BATCH_SECONDS * rate:
            yield batch
            batch = []
        batch.append((index, clip))
    if batch:
        yield batch


def _encode(
    encoder: Encoder,
    clip_times: Sequence[np.ndarray],
    batch: Sequence[tuple[int, Clip]],
    failed: dict[int, str],
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(index, (L, 2 D) mean and deviation, (L, F, D) frames) of each clip that the encoder accepts.

    clip_times: for every clip of the shard, its F time points in s.
    """
    clips = [clip for _, clip in batch]
    frames = len(clip_times[0])
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
            yield from _encode(encoder, clip_times, [single], failed)
        return
    for b, (index, _) in enumerate(batch):
        at_points = torch.zeros(encoder.num_layers + 1, 0, encoder.dim)
        if frames:
            at_points = encoded[b][:, _nearest_frames(encoder, clip_times[index], encoded[b].shape[1])]
        yield index, pooled[b], at_points


def _nearest_frames(encoder: Encoder, times: np.ndarray, count: int) -> Tensor:
    """Indices of the frames with their centers nearest to the times."""
    start = times * encoder.sample_rate - encoder.frame_samples / 2
    return torch.from_numpy(np.clip(np.rint(start / encoder.hop), 0, count - 1).astype(np.int64))
