"""The audio towers of MuLan (Huang et al. 2022, arXiv 2208.12415), from a log-mel window to one vector.

    log-mel -> standardize, blank the padding -> ResNet-50: mean over real time and frequency
                                              -> AST: mean of the two tokens after the last norm

Spectrograms are time first, and always padded or cropped to `frames`. Values in padding have no effect: they are
replaced by 0 after standardization, and excluded from pooling and attention.

Legend: B batch, T mel frames, N mels, C channels, P patches, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.nn.conv2d import ConvNorm
from zoo.nn.linear import Linear
from zoo.nn.masking import has_padding, lengths_to_mask, padding_mask, zero_padding
from zoo.nn.transformer import Transformer

LEVEL, SPREAD = -4.2677393, 2 * 4.5689974
"""AST takes (log-mel - LEVEL) / SPREAD, with statistics of AudioSet (arXiv 2104.01778). MuLan's are unknown."""
AST_WIDTH, AST_STD = 768, 0.02
"""Narrower towers start with larger weights, like the text tower. With AST's own they learn more slowly at first."""


class _Tower(nn.Module):
    """Base of both towers. mels, frames: size of one window; dim: width of the output."""

    def __init__(self, mels: int, frames: int, dim: int, level: float, spread: float) -> None:
        super().__init__()
        self.mels, self.frames, self.dim = mels, frames, dim
        self.level, self.spread = level, spread

    def standardize(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """mel (B, T, N) -> float32, standardized, zero in padding. Raises ConfigError for another shape."""
        if mel.ndim != 3 or mel.shape[1:] != (self.frames, self.mels):
            raise ConfigError(
                f"spectrogram of shape {tuple(mel.shape)}: expected (batch, {self.frames} frames, "
                f"{self.mels} mels), time first and padded"
            )
        mask = lengths_to_mask(lengths, self.frames, mel.device)
        return zero_padding((mel.float() - self.level) / self.spread, mask)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a residual; the 3x3 has the stride, as in torchvision ("v1.5")."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.reduce = ConvNorm(inputs, width, 1)
        self.spatial = ConvNorm(width, width, 3, (stride, stride))
        self.expand = ConvNorm(width, outputs, 1)
        resized = stride != 1 or inputs != outputs
        self.shortcut = ConvNorm(inputs, outputs, 1, (stride, stride)) if resized else None

    def forward(self, x: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x (B, C, T, N), may be overwritten; rows (B,) real rows of T, None = all -> (B, C', T', N') and its rows."""
        new_rows = None if rows is None else self.spatial.shrink(rows)
        y = self.spatial(self.reduce(x, rows=rows), rows=rows)
        residual = x if self.shortcut is None else self.shortcut(x, relu=False, rows=rows)
        return self.expand(y, residual, rows=new_rows), new_rows


class ResNetTower(_Tower):
    """ResNet-50 (arXiv 1512.03385) over a one-channel image of T x N. By default its first convolution has no stride.

    width: channels of the stem; blocks: bottlenecks of each stage; stem_stride: (time, frequency), (2, 2) in the
    paper, for photographs.
    """

    def __init__(
        self,
        mels: int = 64,
        width: int = 64,
        blocks: Sequence[int] = (3, 4, 6, 3),
        stem_stride: tuple[int, int] = (1, 1),
        frames: int = 1000,
        *,
        level: float = LEVEL,
        spread: float = SPREAD,
    ) -> None:
        super().__init__(mels, frames, width * 4 * 2 ** (len(blocks) - 1), level, spread)
        self.stem = ConvNorm(1, width, 7, stem_stride)
        self.stages = nn.ModuleList()
        channels = width
        for stage, count in enumerate(blocks):
            inner = width * 2**stage
            bottlenecks = nn.ModuleList()
            for block in range(count):
                bottlenecks.append(Bottleneck(channels, inner, 2 if stage > 0 and block == 0 else 1))
                channels = 4 * inner
            self.stages.append(bottlenecks)
        self.step = stem_stride[0] * 2 ** len(blocks)  # mel frames from one output position to the next
        self.apply(_init_resnet)

    def forward(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """mel (B, T, N) natural log, lengths (B,) real frames >= 1 -> (B, D)."""
        image = self.standardize(mel, lengths)[:, None].to(self.stem.conv.weight.dtype)  # (B, 1, T, N)
        rows = lengths if self.training and has_padding(lengths, self.frames) else None
        x = self.stem(image.contiguous(memory_format=torch.channels_last), rows=rows)
        x = F.max_pool2d(x, 3, 2, 1)
        rows = None if rows is None else (self.stem.shrink(rows) + 1) // 2
        for stage in self.stages:
            for block in cast(nn.ModuleList, stage):
                x, rows = block(x, rows)  # (B, C, T', N'), (B,)
        counts = (lengths + self.step - 1) // self.step  # (B,) positions with a real center
        over_time = x.float().mean(3).transpose(1, 2)  # (B, T', C)
        over_time = zero_padding(over_time, lengths_to_mask(counts, x.shape[2], x.device))
        counts = counts.to(x.device, non_blocking=True)
        return (over_time.sum(1) / counts[:, None]).to(x.dtype)


class ASTTower(_Tower):
    """Audio Spectrogram Transformer (Gong et al. 2021, arXiv 2104.01778): overlapping patches, two tokens, learned
    positions, pre-norm blocks.

    Patches are in the order of time, then of frequency, so that patches of padding come last.
    """

    def __init__(
        self,
        mels: int = 128,
        dim: int = 768,
        layers: int = 12,
        heads: int = 12,
        ffn_dim: int = 3072,
        patch: int = 16,
        stride: int = 10,
        frames: int = 1000,
        *,
        dropout: float = 0.0,
        level: float = LEVEL,
        spread: float = SPREAD,
    ) -> None:
        super().__init__(mels, frames, dim, level, spread)
        if patch > min(mels, frames):
            raise ConfigError(f"patch {patch} does not fit into {frames} frames of {mels} mels; lower it")
        self.patch, self.stride = patch, stride
        self.steps, self.bands = (frames - patch) // stride + 1, (mels - patch) // stride + 1
        self.embed = Linear(patch * patch, dim)
        self.tokens = nn.Parameter(torch.empty(2, dim))  # [CLS] and the distillation token
        self.position = nn.Parameter(torch.empty(2 + self.steps * self.bands, dim))
        self.transformer = Transformer(
            layers,
            dim,
            heads,
            ffn_dim,
            norm_first=True,
            dropout=dropout,
            attention_dropout=dropout,
            activation_dropout=dropout,
            eps=1e-12,
        )
        self.apply(partial(_init_ast, std=AST_STD * max(1.0, AST_WIDTH / dim) ** 0.5))

    def embed_patches(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """The input of the transformer: mel (B, T, N) natural log, lengths (B,) real frames -> (B, 2 + P, D)."""
        x = self.standardize(mel, lengths).to(self.embed.weight.dtype)
        x = x.unfold(1, self.patch, self.stride).unfold(2, self.patch, self.stride)  # (B, steps, bands, patch, patch)
        x = self.embed(x.flatten(3).flatten(1, 2))  # (B, P, D)
        return torch.cat([self.tokens.expand(len(x), -1, -1), x], dim=1) + self.position

    def forward(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """mel (B, T, N) natural log, lengths (B,) real frames >= 1 -> (B, D)."""
        x = self.embed_patches(mel, lengths)  # (B, 2 + P, D)
        steps = ((lengths + self.stride - 1) // self.stride).clamp(max=self.steps)  # (B,) time steps with a real frame
        mask = padding_mask(2 + steps * self.bands, x)
        (x,) = self.transformer(x, mask, [len(self.transformer.blocks)], first=2)  # (B, 2, D)
        return x.mean(1)


class SpecAugment(nn.Module):
    """Masks random bands and time spans of a spectrogram (Park et al. 2019, arXiv 1904.08779), in training mode only.

    Each of `time_masks` spans is 0 to `time_width` frames long. Each of `freq_masks` bands is 0 to `freq_width` mels
    wide. Both are filled with the clip's mean. The paper does not give MuLan's settings; these are our choice.
    """

    def __init__(self, time_masks: int = 2, time_width: int = 96, freq_masks: int = 2, freq_width: int = 8) -> None:
        super().__init__()
        self.time_masks, self.time_width = time_masks, time_width
        self.freq_masks, self.freq_width = freq_masks, freq_width

    def forward(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """mel (B, T, N), lengths (B,) real frames, None = all -> (B, T, N)."""
        if not self.training:
            return mel
        clips, frames, mels = mel.shape
        lengths = torch.full((clips,), frames) if lengths is None else lengths
        real = lengths_to_mask(lengths, frames, mel.device)  # (B, T)
        lengths = lengths.to(mel.device, non_blocking=True)
        level = zero_padding(mel.float(), real).sum((1, 2)) / (lengths * mels)  # (B,)
        over_time = _spans(self.time_masks, self.time_width, lengths, frames) & real  # (B, T)
        over_mels = _spans(self.freq_masks, self.freq_width, torch.full_like(lengths, mels), mels)  # (B, N)
        blank = over_time[:, :, None] | over_mels[:, None, :]  # (B, T, N)
        return torch.where(blank, level.to(mel.dtype)[:, None, None], mel)


def _spans(count: int, width: int, sizes: Tensor, positions: int) -> Tensor:
    """(B, positions), True inside any of `count` spans of length 0 to `width` within the first sizes[b] positions."""
    draws = torch.rand(2, len(sizes), count, device=sizes.device)
    widths = (draws[0] * (sizes.clamp(max=width)[:, None] + 1)).floor()  # (B, count)
    starts = (draws[1] * (sizes[:, None] - widths + 1)).floor()
    index = torch.arange(positions, device=sizes.device)
    inside = (index >= starts[..., None]) & (index < (starts + widths)[..., None])  # (B, count, positions)
    return inside.any(1)


def _init_resnet(module: nn.Module) -> None:
    """Kaiming normal over outputs, as torchvision; the last norm of a bottleneck starts at 0 (arXiv 1706.02677)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, Bottleneck):
        nn.init.zeros_(module.expand.norm.weight)


def _init_ast(module: nn.Module, std: float) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=std)
        nn.init.zeros_(module.bias)
    elif isinstance(module, ASTTower):
        nn.init.normal_(module.tokens, std=std)
        nn.init.normal_(module.position, std=std)
