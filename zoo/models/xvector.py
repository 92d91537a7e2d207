"""Speaker vectors: an x-vector head on the layers of an encoder (Snyder et al. 2018; SUPERB, arXiv 2105.01051).

    weighted layers -> linear -> five dilated convolutions over time -> mean and deviation -> linear -> unit length

Legend: L layers, T frames, D width of the encoder, W width of the last convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo import audio
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError
from zoo.nn.linear import Linear
from zoo.nn.pooling import PoolingStats

KERNELS, DILATIONS = (5, 3, 3, 1, 1), (1, 2, 3, 1, 1)
CONTEXT = sum((kernel - 1) * dilation for kernel, dilation in zip(KERNELS, DILATIONS, strict=True))
"""Frames after its first one that an output of the convolutions covers."""


class XVector(nn.Module):
    """The head. widths: of the convolutions; out_dim: of the vector; layers: of the encoder, weighted by a learned
    softmax over 0 ... L; 0 = the last layer alone.
    """

    def __init__(self, dim: int, widths: Sequence[int], out_dim: int, layers: int = 0) -> None:
        super().__init__()
        if len(widths) != len(KERNELS):
            raise ConfigError(f"speaker_widths {tuple(widths)}: give {len(KERNELS)} widths, one for each convolution")
        self.width = widths[-1]
        self.layer_weights = nn.Parameter(torch.zeros(layers + 1)) if layers else None
        self.projection = Linear(dim, widths[0])
        inputs = [widths[0], *widths[:-1]]
        self.convs = nn.ModuleList(
            nn.Conv1d(i, o, kernel, dilation=dilation)
            for i, o, kernel, dilation in zip(inputs, widths, KERNELS, DILATIONS, strict=True)
        )
        self.out = Linear(2 * self.width, out_dim)

    def over_time(self, states: Tensor) -> Tensor:
        """States (L + 1, T, D), or (1, T, D) without layer weights -> (T - CONTEXT, W), T > CONTEXT."""
        states = states.to(self.out.bias.dtype)
        if self.layer_weights is None:  # the last layer of pre-norm models is taken after the output norm
            mixed = states[-1]
        else:
            mixed = (self.layer_weights.softmax(0)[:, None, None] * states).sum(0)
        x = self.projection(mixed).T  # (widths[0], T)
        for conv in self.convs:
            x = F.relu(conv(x))
        return x.T

    def vector(self, stats: PoolingStats) -> Tensor:
        """Unit vector (out_dim,) of a clip, from statistics of at least two outputs of `over_time`."""
        mean = stats.total / stats.count
        spread = (stats.squares - stats.count * mean.square()).clamp(min=0)
        deviation = (spread / (stats.count - 1)).sqrt()
        pooled = torch.cat([mean, deviation]).to(self.out.bias)
        return F.normalize(self.out(pooled).float(), dim=-1)


class SpeakerEncoder(Encoder):
    """An Encoder with an x-vector head or None, which subclasses set in __init__."""

    speaker: XVector | None

    def embed_speaker(self, waves: Any, sample_rate: int | None = None) -> Tensor:
        """One unit vector per clip for its speaker: (B, speaker_dim), (speaker_dim,) for a single input.

        The dot product of two vectors is their cosine: high for one speaker, low for two. Arguments as for `embed`.
        The frames of a recording that is longer than a window are encoded window by window.
        Raises ConfigError if the model has no speaker head, and the errors of `encode`.
        """
        if self.speaker is None:
            raise ConfigError(
                f"{self.name or self.family} has no speaker head; load a model that has one, such as wavlm-base-plus-sv"
            )
        waves = audio.to_list(waves)
        clips, single = audio.as_clips(waves, sample_rate, self.sample_rate)
        _check_frames(self._count_all(clips, waves), waves, self)
        layers = [self.num_layers] if self.speaker.layer_weights is None else list(range(self.num_layers + 1))
        stats = [PoolingStats.empty(self.speaker.width, device=self.device) for _ in clips]
        for batch, frames in self._forward_batches(clips, layers):
            for chunk, states in zip(batch, frames.unpad(), strict=True):
                covered = states[:, chunk.real.start : chunk.real.stop + CONTEXT]  # (L, T, D)
                if covered.shape[1] <= CONTEXT:  # the end of a recording, inside the window before
                    continue
                with torch.no_grad():
                    outputs = self.speaker.over_time(covered).float()
                stats[chunk.clip].add_(outputs, start=chunk.keep.start == 0)
        with torch.no_grad():
            vectors = torch.stack([self.speaker.vector(clip_stats) for clip_stats in stats]).cpu()
        return vectors[0] if single else vectors


def _check_frames(counts: Sequence[int], waves: Any, model: Encoder) -> None:
    """Raises AudioError, naming the item, if a clip is too short for a deviation over time."""
    needed = CONTEXT + 2
    short = [index for index, count in enumerate(counts) if count < needed]
    if short:
        item = waves[short[0]] if isinstance(waves, list | tuple) else waves
        name = item if isinstance(item, str | Path) else f"waveform {short[0]}"
        samples = model.min_samples + (needed - 1) * model.hop
        raise AudioError(name, f"too short for a speaker vector, which needs {samples / model.sample_rate:.2f} s")
