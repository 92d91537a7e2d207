"""Swin transformer (Liu et al. 2021, arXiv 2103.14030) over a square image of patches, as in HTS-AT (arXiv 2202.00874).

Attention stays inside windows of m x m patches; every second block shifts the windows by half. After each stage but the
last, 2 x 2 patches become one patch of twice the width.

Legend: B images, H = W patches of a side, P = H W, D width, A heads, N windows of an image, m patches of a window's
side, d = D / A.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.nn.kernels.dropout import Dropout
from zoo.nn.linear import Linear
from zoo.nn.transformer import Block

MASKED = -100.0  # added to the scores of patches that only meet because the shifted image wraps around
INIT_STD = 0.02


class WindowAttention(nn.Module):
    """Self-attention inside windows, with a learned bias for every offset between two patches of a window."""

    index: Tensor
    mask: Tensor | None

    def __init__(self, dim: int, heads: int, side: int, window: int, shift: int) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError(f"width {dim} of a stage is not a multiple of its {heads} heads")
        self.heads, self.side, self.window, self.shift = heads, side, window, shift
        self.qkv = Linear(dim, 3 * dim)
        self.out = Linear(dim, dim)
        self.bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads).normal_(std=INIT_STD))
        self.register_buffer("index", _offsets(window), persistent=False)  # (m^2 m^2,)
        mask = _shift_mask(side, window, shift) if shift else None
        self.register_buffer("mask", mask, persistent=False)  # (N, 1, m^2, m^2)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, P, D) -> (B, P, D)."""
        images, _, _ = x.shape
        windows, size = (self.side // self.window) ** 2, self.window**2
        qkv = self.qkv(self._partition(x))  # (B, N, m^2, 3 D)
        qkv = qkv.view(images, windows, size, 3, self.heads, -1).permute(3, 0, 1, 4, 2, 5)  # (3, B, N, A, m^2, d)
        q, k, v = qkv.flatten(2, 3).unbind(0)  # (B, N A, m^2, d)
        bias = self.bias[self.index].view(size, size, self.heads).permute(2, 0, 1)  # (A, m^2, m^2)
        scores = bias.expand(windows, -1, -1, -1) if self.mask is None else bias + self.mask  # (N, A, m^2, m^2)
        scores = scores.to(q.dtype).flatten(0, 1)[None]  # (1, N A, m^2, m^2)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=scores)
        y = y.unflatten(1, (windows, self.heads)).transpose(2, 3).flatten(3)  # (B, N, m^2, D)
        return self._join(self.out(y))

    def _partition(self, x: Tensor) -> Tensor:
        """(B, P, D) -> windows (B, N, m^2, D) of the shifted image."""
        count = self.side // self.window
        x = x.unflatten(1, (self.side, self.side))
        x = torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x
        x = x.unflatten(1, (count, self.window)).unflatten(3, (count, self.window))  # (B, n, m, n, m, D)
        return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def _join(self, x: Tensor) -> Tensor:
        """The inverse of _partition."""
        count = self.side // self.window
        x = x.unflatten(1, (count, count)).unflatten(3, (self.window, self.window))  # (B, n, n, m, m, D)
        x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)  # (B, H, W, D)
        x = torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x
        return x.flatten(1, 2)


class SwinBlock(Block):
    """A pre-norm transformer block with attention inside windows."""

    def __init__(self, dim: int, heads: int, side: int, window: int, shift: int, dropout: float) -> None:
        super().__init__(dim, heads, 4 * dim, norm_first=True)
        self.attention = WindowAttention(dim, heads, side, window, shift)  # type: ignore[assignment]
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, first: int | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """x (B, P, D) -> (B, P, D). The other arguments have no use here."""
        x = x + self.attention(self.attention_norm(x))
        return x + self.dropout(self.ffn(self.ffn_norm(x)))


class PatchMerging(nn.Module):
    """2 x 2 patches -> one patch of twice the width."""

    def __init__(self, dim: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.norm = nn.LayerNorm(4 * dim)
        self.reduce = Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, P, D) -> (B, P / 4, 2 D)."""
        half = self.side // 2
        x = x.unflatten(1, (half, 2, half, 2))  # (B, H/2, row, W/2, column, D)
        x = x.permute(0, 1, 3, 4, 2, 5).flatten(3).flatten(1, 2)  # column before row, as in Swin's weights
        return self.reduce(self.norm(x))


class Swin(nn.Module):
    """Stages of blocks over `side` x `side` patches. depths: blocks of each stage; heads: attention heads of each."""

    def __init__(
        self, dim: int, side: int, window: int, depths: Sequence[int], heads: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        self.merges = nn.ModuleList()
        for stage, (depth, count) in enumerate(zip(depths, heads, strict=True)):
            if side % window:
                raise ConfigError(
                    f"stage {stage} has {side} x {side} patches: not a multiple of the window of {window} x {window}"
                )
            shifts = [window // 2 if block % 2 and side > window else 0 for block in range(depth)]
            blocks = [SwinBlock(dim, count, side, window, shift, dropout) for shift in shifts]
            self.stages.append(nn.Sequential(*blocks))
            if stage < len(depths) - 1:
                self.merges.append(PatchMerging(dim, side))
                dim, side = 2 * dim, side // 2
        self.dim = dim
        self.norm = nn.LayerNorm(dim)
        self.apply(_init_weights)

    def states(self, x: Tensor) -> Iterator[Tensor]:
        """x (B, P, D) -> x, and the state after each stage, merged patches included: (B, P / 4^k, 2^k D)."""
        yield x
        for stage, blocks in enumerate(self.stages):
            x = blocks(x)
            x = self.merges[stage](x) if stage < len(self.merges) else x
            yield x

    def forward(self, x: Tensor) -> Tensor:
        """x (B, P, D) -> the normalized output of the last stage, mean over its patches (B, D')."""
        for state in self.states(x):
            x = state
        return self.norm(x).mean(1)


def _offsets(window: int) -> Tensor:
    """The row of the bias table for each pair of patches of a window, query before key: (m^2 m^2,)."""
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    rows, columns = rows.flatten(), columns.flatten()  # (m^2,)
    down = rows[:, None] - rows + window - 1  # (m^2, m^2), 0 to 2 m - 2
    right = columns[:, None] - columns + window - 1
    return (down * (2 * window - 1) + right).flatten()


def _shift_mask(side: int, window: int, shift: int) -> Tensor:
    """MASKED where two patches of a shifted window are not neighbors in the image, else 0: (N, 1, m^2, m^2)."""
    position = torch.arange(side)
    region = (position >= side - window).long() + (position >= side - shift).long()  # (H,) 0, 1 or 2
    regions = region[:, None] * 3 + region  # (H, W)
    count = side // window
    regions = regions.view(count, window, count, window).transpose(1, 2).reshape(count * count, -1)  # (N, m^2)
    apart = regions[:, :, None] != regions[:, None, :]  # (N, m^2, m^2)
    return (apart * MASKED)[:, None]


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
