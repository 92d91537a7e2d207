"""The contract: every encoder turns waveforms into frames (`encode`) or one vector a clip (`embed`).

    waves --as_clips--> clips --chunks--> padded batches --forward--> Frames --pool--> (B, D)

Four promises hold for every encoder and are tested over the whole registry: the result of a clip does not depend on
its batch; the same input gives the same bytes; input of any length runs in bounded memory; the checkpoint records the
preprocessing.

Legend: L layers, B batch, S samples, T frames, D width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from zoo import audio, checkpoint
from zoo.ambient import on_host
from zoo.audio import Clip
from zoo.audio.batching import Chunk, batches, chunks_of
from zoo.errors import AudioError, ConfigError
from zoo.nn.eval_mode import eval_mode
from zoo.nn.layers import Layer as Layer
from zoo.nn.layers import plain_layer
from zoo.nn.masking import lengths_to_mask
from zoo.nn.pooling import PoolingStats, check_pooling
from zoo.nn.precision import dtype_of
from zoo.nn.transfer import to_device


@dataclass
class Frames:
    """Frame-level output of an encoder.

    x (B, T, D), or (L, B, T, D) for several layers; float32, zero past the end of each clip.
    lengths (B,) real frames of each clip, on the CPU; frame_rate in Hz; first_time: s, of the first frame.
    """

    x: Tensor
    lengths: Tensor
    frame_rate: float
    first_time: float = 0.0

    @property
    def times(self) -> Tensor:
        """(T,) seconds from the start of the clip, float64. The time of a frame is the middle of its samples.

        A frame has the samples from `hop` times its index on, `Encoder.frame_samples` of them. So the first and the
        last frame are half of them away from the ends of the clip.
        """
        return self.first_time + torch.arange(self.x.shape[-2], dtype=torch.float64) / self.frame_rate

    @property
    def mask(self) -> Tensor:
        """(B, T), True = real."""
        return lengths_to_mask(self.lengths, self.x.shape[-2], self.x.device)

    def pool(self, pooling: str = "mean") -> Tensor:
        """(B, D) or (L, B, D): "mean", "max", "first", or "stats" = mean and standard deviation, twice as wide."""
        return PoolingStats.of(self.x, self.lengths).pool(pooling)

    def unpad(self) -> list[Tensor]:
        """The real frames of each clip: (T_b, D) or (L, T_b, D)."""
        return [self.x[..., b, :n, :] for b, n in enumerate(self.lengths.tolist())]


LATER = {"later": True}
"""Metadata of an option that a Config got after its first release: at its default, no fingerprint changes."""


def _is_later_default(option: Field[Any], value: Any) -> bool:
    return "later" in option.metadata and value == option.default


class Encoder(nn.Module):
    """Base of all encoders. A subclass sets the attributes below in __init__ and implements `forward`.

    family: registered family name; Config: frozen dataclass of plain values, enough to build the model.
    sample_rate: Hz; hop: samples from one frame to the next; min_samples: samples needed for one frame;
    dim: width D; num_layers: transformer blocks.
    """

    family: ClassVar[str]
    Config: ClassVar[type]
    window_seconds: float = 40.0
    """Longer clips are encoded in overlapping windows of this length."""
    context_seconds: float = 4.0
    """Context at each inner edge of a window: it is encoded, then discarded."""

    config: Any
    name: str = ""
    provenance: Mapping[str, Any] = MappingProxyType({})  # where the weights come from; kept by save and load
    origin: checkpoint.Origin | None = None  # the checkpoint that it was loaded from
    sample_rate: int
    hop: int
    min_samples: int
    dim: int
    num_layers: int

    def forward(self, waves: Tensor, lengths: Tensor, *, layer: Layer = -1, norm_stats: Tensor | None = None) -> Frames:
        """Compute frames, with gradients. waves (B, S) float32 at `sample_rate`, zero padded; lengths (B,) samples.

        Keep lengths on the CPU, also if the model is on a GPU: then nothing in `forward` waits for the GPU.
        norm_stats: if `waves` are windows of longer clips, `self.norm_stats` of those clips, stacked; else None.
        """
        raise NotImplementedError

    def __call__(self, waves: Tensor, lengths: Tensor | None = None, **options: Any) -> Frames:
        """`forward`, with hooks, and lengths on the CPU. Without lengths, no clip is padded.

        Raises AudioError unless `waves` is (B, S).
        """
        if waves.dim() != 2:
            raise AudioError("waves", f"has shape {tuple(waves.shape)}; pass a batch (B, S), one clip as wave[None]")
        if lengths is None:
            lengths = torch.full(waves.shape[:1], waves.shape[1])
        return super().__call__(waves, lengths.cpu(), **options)

    def __repr__(self) -> str:
        """One line; torch.nn.Module.__repr__(model) lists all modules."""
        millions = sum(weight.numel() for weight in self.parameters()) / 1e6
        size = f"{millions:.1f} million parameters, {self.num_layers} layers of width {self.dim}"
        return f"{type(self).__name__}({self.name or self.family}: {size}, {dtype_of(self)} on {self.device})"

    def norm_stats(self, clip: Clip) -> Tensor | None:
        """Normalization statistics over a whole clip, as one vector; None if the model does not use any."""
        return None

    @property
    def frame_samples(self) -> int:
        """Samples that one frame covers in a long clip; the last frame of a clip may cover only min_samples."""
        return self.min_samples

    @property
    def first_time(self) -> float:
        """The time of the first frame of every clip in seconds; see `Frames.times`."""
        return self.frame_samples / 2 / self.sample_rate

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop

    @property
    def device(self) -> torch.device:
        return next((t.device for t in (*self.parameters(), *self.buffers())), torch.device("cpu"))

    def count_frames(self, samples: int) -> int:
        """Number of frames of a clip with that many samples; 0 if it is too short."""
        return max(0, (samples - self.min_samples) // self.hop + 1)

    def resolve_layers(self, layer: Layer) -> list[int]:
        """Layer numbers in 0 ... num_layers. Raises ConfigError for a layer that the model does not have."""
        layer = plain_layer(layer)
        if isinstance(layer, str):
            layers = list(range(self.num_layers + 1)) if layer == "all" else []
        else:
            layers = [layer] if isinstance(layer, int) else list(layer)
        if not layers or not all(-self.num_layers - 1 <= k <= self.num_layers for k in layers):
            raise ConfigError(
                f"layer {layer!r}: {self.name or self.family} has layers 0 to {self.num_layers} (0 = input of the "
                f'stack, -1 = last); give a number, a list of numbers, or "all"'
            )
        return [k % (self.num_layers + 1) for k in layers]

    def postprocess_pooled(self, pooled: Tensor, pooling: str) -> Tensor:
        """Last step of `embed` on pooled vectors (..., D); joint embedding models scale to unit length here."""
        return pooled

    @on_host
    def encode(self, waves: Any, sample_rate: int | None = None, *, layer: Layer = -1) -> Frames:
        """Encode clips of any number and length into frames.

        waves: 1-D tensor or array, (B, S) batch, list of different lengths, path, list of paths; see `audio.as_clips`.
        sample_rate: Hz; required for arrays. Files carry their own; another one is an error.
        layer: number, list of numbers or "all"; see `Layer`.

        Returns Frames with x (B, T, D), B = 1 for a single input, or (L, B, T, D) for several layers.
        Raises AudioError, naming the item, for input that cannot be encoded; ConfigError for an unknown layer.
        """
        layer = plain_layer(layer)
        waves = audio.to_list(waves)
        clips, _ = audio.as_clips(waves, sample_rate, self.sample_rate)
        counts = self._count_all(clips, waves)
        layers = self.resolve_layers(layer)
        out = torch.zeros(len(layers), len(clips), max(counts), self.dim, dtype=torch.float32)  # (L, B, T, D)
        for batch, frames in self._forward_batches(clips, layers):
            frames.x = frames.x.cpu()
            for chunk, x in zip(batch, frames.unpad(), strict=True):
                out[:, chunk.clip, chunk.keep] = x[:, chunk.real]
        return Frames(out[0] if isinstance(layer, int) else out, torch.tensor(counts), self.frame_rate, self.first_time)

    @on_host
    def embed(self, waves: Any, sample_rate: int | None = None, *, layer: Layer = -1, pooling: str = "mean") -> Tensor:
        """One vector per clip, pooled over its real frames. Memory does not grow with the length of a clip.

        Arguments as for `encode`; pooling "mean", "max", "first" or "stats" (mean and standard deviation, 2 D wide).

        Returns (B, D), (D,) for a single input, with a leading L for several layers; float32 on the CPU.
        """
        check_pooling(pooling)
        layer = plain_layer(layer)
        waves = audio.to_list(waves)
        clips, single = audio.as_clips(waves, sample_rate, self.sample_rate)
        self._count_all(clips, waves)
        layers = self.resolve_layers(layer)
        stats = [PoolingStats.empty(len(layers), self.dim, device=self.device) for _ in clips]
        for batch, frames in self._forward_batches(clips, layers):
            for chunk, x in zip(batch, frames.unpad(), strict=True):
                stats[chunk.clip].add_(x[:, chunk.real], start=chunk.keep.start == 0)  # of (L, T, D)
        pooled = torch.stack([clip_stats.pool(pooling) for clip_stats in stats], dim=1)  # (L, B, D)
        pooled = self.postprocess_pooled(pooled, pooling).cpu()
        pooled = pooled[0] if isinstance(layer, int) else pooled
        return pooled[..., 0, :] if single else pooled

    @on_host
    def stream(self, wave: Any, sample_rate: int | None = None, *, layer: Layer = -1) -> Iterator[Tensor]:
        """Consecutive frames (T_i, D) or (L, T_i, D) of one recording, window by window.

        Memory does not grow with the length of the recording. Arguments and errors as for `encode`; errors are raised
        by the call itself, not on first use. Raises AudioError for a list or a batch as well.
        """
        layer = plain_layer(layer)
        clip = audio.as_clip(wave, sample_rate, self.sample_rate)
        self._count_all([clip], wave)
        windows = self._windows(clip, self.resolve_layers(layer))
        return (x[0] for x in windows) if isinstance(layer, int) else windows

    def _windows(self, clip: Clip, layers: list[int]) -> Iterator[Tensor]:
        """The kept frames (L, T_i, D) of each window of a clip."""
        chunks = self._chunks([clip])
        norm_stats = self._norm_stats([clip], chunks)  # once per clip: it takes a pass over the whole clip
        for chunk in chunks:
            yield self._window(clip, layers, chunk, norm_stats)

    @on_host
    def _window(
        self, clip: Clip, layers: list[int], chunk: Chunk, norm_stats: dict[int, Tensor | None] | None
    ) -> Tensor:
        """The kept frames (L, T_i, D) of one window."""
        ((_, frames),) = self._forward_batches([clip], layers, [chunk], norm_stats)
        return frames.x[:, 0, chunk.real].cpu()

    def _count_all(self, clips: Sequence[Clip], waves: Any = None) -> list[int]:
        """Number of frames of each clip. Raises AudioError, naming the item, if a clip is too short for one frame."""
        counts = [self.count_frames(len(clip)) for clip in clips]
        if 0 in counts:
            index = counts.index(0)
            wave = waves[index] if isinstance(waves, list | tuple) else waves
            raise AudioError(
                wave if isinstance(wave, str | Path) else getattr(clips[index], "path", f"waveform {index}"),
                f"{len(clips[index])} samples at {self.sample_rate} Hz are too short for one frame; "
                f"{self.name or self.family} needs {self.min_samples}",
            )
        return counts

    def _chunks(self, clips: Sequence[Clip]) -> list[Chunk]:
        context = int(self.context_seconds * self.frame_rate)
        window = max(int(self.window_seconds * self.frame_rate), 2 * context + 1)
        counts = [self.count_frames(len(clip)) for clip in clips]
        return [chunk for c, count in enumerate(counts) for chunk in chunks_of(c, count, window, context)]

    def _forward_batches(
        self,
        clips: Sequence[Clip],
        layers: list[int],
        chunks: list[Chunk] | None = None,
        norm_stats: dict[int, Tensor | None] | None = None,
    ) -> Iterator[tuple[list[Chunk], Frames]]:
        """Run chunks through `forward` in padded batches of similar length; frames.x (L, B, T, D) float32."""
        chunks = self._chunks(clips) if chunks is None else chunks
        norm_stats = self._norm_stats(clips, chunks) if norm_stats is None else norm_stats
        for batch in batches(chunks, self.frame_rate):
            waves, lengths = audio.pad([self._samples(clips[chunk.clip], chunk) for chunk in batch])
            batch_stats = [stats for chunk in batch if (stats := norm_stats.get(chunk.clip)) is not None]
            with eval_mode(self):
                frames = self(
                    to_device(waves, self.device),
                    lengths,
                    layer=layers,
                    norm_stats=torch.stack(batch_stats).to(self.device) if batch_stats else None,
                )
            yield batch, Frames(frames.x.float(), frames.lengths, frames.frame_rate)

    @on_host
    def _norm_stats(self, clips: Sequence[Clip], chunks: list[Chunk]) -> dict[int, Tensor | None]:
        """Clip index -> `norm_stats`, for every clip that is cut into windows."""
        with eval_mode(self):
            return {index: self.norm_stats(clips[index]) for index in {c.clip for c in chunks if not c.whole}}

    def _samples(self, clip: Clip, chunk: Chunk) -> Tensor:
        """The samples that the frames of a chunk cover. A whole clip keeps its last samples, fewer than a hop."""
        if chunk.whole:
            return clip[0 : len(clip)]
        return clip[chunk.start * self.hop : (chunk.stop - 1) * self.hop + self.frame_samples]

    def preprocessing(self) -> dict[str, Any]:
        """How a waveform is prepared for the first layer; recorded in checkpoints and results."""
        return {
            "sample_rate": self.sample_rate,
            "channels": "mean",
            "hop": self.hop,
            "window_seconds": self.window_seconds,
            "context_seconds": self.context_seconds,
        }

    def fingerprint(self) -> str:
        """16 hexadecimal digits of a SHA-256 over family, configuration and current weights."""
        settings = [(option.name, getattr(self.config, option.name), option) for option in fields(self.config)]
        counted = [(name, value) for name, value, option in settings if not _is_later_default(option, value)]
        digest = hashlib.sha256(repr((self.family, sorted(counted))).encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    def save_assets(self, directory: Path) -> list[str]:
        """Write files that a checkpoint needs beside config and weights, such as tokenizer.json.

        Returns what was left out, and why, one sentence each.
        """
        return []

    def load_assets(self, directory: Path) -> None:
        """Read the files that `save_assets` wrote. Raises CheckpointError."""

    def save(self, directory: str | Path) -> None:
        """Write a self-describing checkpoint directory; `zoo.load(directory)` reads it."""
        checkpoint.save(self, Path(directory))
