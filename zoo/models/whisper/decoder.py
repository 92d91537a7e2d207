"""The decoder of Whisper, built for batches of windows from different files.

Prompts are aligned to the right, so that all rows grow at the same column and one cache holds them:

    column   0 1 2 3 4 5 6 ...
    row 0    p p a b c|d e        p: padding, never attended; positions count from the first real token
    row 1    a b c d e|f g        |: `cache.length` after the prompt

Row r attends to window r // (R / W): beams of one window stand together and share its keys and values.

Legend: W windows, R rows, U new tokens, C columns of the cache, T encoder positions, D width, H heads, d = D / H,
V vocabulary, A alignment heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.nn.attention import SelfAttention
from zoo.nn.kernels.linear import PackedLinear
from zoo.nn.linear import Linear
from zoo.nn.masking import padding_mask
from zoo.nn.transfer import to_device
from zoo.nn.transformer import FeedForward


@dataclass
class AudioStates:
    """Encoder states that the decoder attends to: x (W, T, D) in the model's type, the first lengths (W,) positions.

    lengths are on the CPU.
    """

    x: Tensor
    lengths: Tensor

    def select(self, windows: Sequence[int]) -> AudioStates:
        index = torch.tensor(windows)
        return AudioStates(self.x[index.to(self.x.device, non_blocking=True)], self.lengths[index])


@dataclass
class Cross:
    """Keys and values of the windows in all layers, once for all steps: (layers, W, H, T, d) each.

    They are most of the memory of decoding. So there are only two tensors for all layers. The system gets their memory
    back when they are freed, and `keep` makes no copy. mask (W, 1, 1, T), True = real, or None when every position is.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor | None

    def __len__(self) -> int:
        return self.keys.shape[1]

    def keep(self, windows: Tensor) -> None:
        """Keep these windows, numbers on the CPU in ascending order; the others are overwritten."""
        for i, window in enumerate(windows.tolist()):
            if i != window:
                self.keys[:, i], self.values[:, i] = self.keys[:, window], self.values[:, window]
        self.keys, self.values = self.keys[:, : len(windows)], self.values[:, : len(windows)]
        self.mask = None if self.mask is None else self.mask[to_device(windows, self.mask.device)]


class Cache:
    """Keys and values of the tokens so far, in buffers of fixed size: per layer (R, H, C, d) each.

    length: filled columns; padding (R,): columns at the left of each row without a token; cpu_padding: the same on the
    CPU, so that the longest text is known without waiting.
    """

    def __init__(self, like: Tensor, layers: int, heads: int, capacity: int, padding: Tensor) -> None:
        """like (..., D): a tensor of the width, type and device of the keys; padding (R,): on the CPU."""
        shape = (len(padding), heads, capacity, like.shape[-1] // heads)
        self.keys = [like.new_zeros(shape) for _ in range(layers)]
        self.values = [like.new_zeros(shape) for _ in range(layers)]
        self.padding, self.cpu_padding = to_device(padding, like.device), padding
        self.length = 0

    @property
    def rows(self) -> int:
        return len(self.padding)

    @property
    def capacity(self) -> int:
        return self.keys[0].shape[2]

    def select(self, rows: Tensor) -> None:
        """Keep these rows, numbers on the CPU, repeats allowed: drops ended rows and reorders beams."""
        self.cpu_padding = self.cpu_padding[rows]
        rows = to_device(rows, self.padding.device)
        used = slice(0, self.length)
        for buffers in (self.keys, self.values):
            for i, buffer in enumerate(buffers):
                if len(rows) <= self.rows:
                    buffers[i] = buffer[: len(rows)]
                    buffers[i][:, :, used] = buffer[rows, :, used]
                else:
                    buffers[i] = buffer[rows]
        self.padding = self.padding[rows]


class CrossAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V with queries from the text and keys and values from the audio."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(dim, dim)
        self.kv = Linear(dim, 2 * dim)
        self.out = Linear(dim, dim)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (W, H, T, d) of x (W, T, D)."""
        k, v = self.kv(x).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return k, v

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """x (R, U, D) -> (R, U, D), and the scores before the softmax (R, H, U, T)."""
        rows, size, _ = x.shape
        beams = rows // len(keys)
        q = self.query(x).unflatten(-1, (self.heads, -1)) * (x.shape[-1] // self.heads) ** -0.5  # (R, U, H, d)
        q = q.unflatten(0, (-1, beams)).permute(0, 3, 1, 2, 4).flatten(2, 3)  # (W, H, beams U, d)
        scores = q @ keys.transpose(2, 3)  # (W, H, beams U, T)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        y = scores.softmax(-1) @ values  # (W, H, beams U, d)
        y = y.unflatten(2, (beams, size)).permute(0, 2, 3, 1, 4).reshape(rows, size, -1)  # (R, U, D)
        scores = scores.unflatten(2, (beams, size)).transpose(1, 2).flatten(0, 1)  # (R, H, U, T)
        return self.out(y), scores


class DecoderBlock(nn.Module):
    """Self-attention over the tokens so far, cross-attention, feed-forward; LayerNorm before each."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, heads)
        self.cross_norm = nn.LayerNorm(dim)
        self.cross = CrossAttention(dim, heads)
        self.ffn_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, 4 * dim)

    def attend(self, x: Tensor, keys: Tensor, values: Tensor, start: int, mask: Tensor) -> Tensor:
        """x (R, U, D) at columns start ... -> (R, U, D); their keys and values go into the buffers (R, H, C, d)."""
        end = start + x.shape[1]
        q, k, v = self.attention.qkv(x).unflatten(-1, (3, self.attention.heads, -1)).permute(2, 0, 3, 1, 4)
        keys[:, :, start:end], values[:, :, start:end] = k, v
        y = F.scaled_dot_product_attention(q, keys[:, :, :end], values[:, :, :end], attn_mask=mask)  # (R, H, U, d)
        return self.attention.out(y.transpose(1, 2).flatten(2))

    def forward_text(self, x: Tensor, states: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Whole texts x (R, U, D), one for each window of states (W, T, D), mask (W, 1, 1, T) -> (R, U, D).

        Also returns the scores of cross-attention before the softmax (R, H, U, T).
        """
        qkv = self.attention.qkv(self.attention_norm(x))
        q, k, v = qkv.unflatten(-1, (3, self.attention.heads, -1)).permute(2, 0, 3, 1, 4)  # each (R, H, U, d)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention.out(y.transpose(1, 2).flatten(2))
        keys, values = (part.contiguous() for part in self.cross.project(states))  # (W, H, T, d)
        y, scores = self.cross(self.cross_norm(x), keys, values, mask)
        x = x + y
        return x + self.ffn(self.ffn_norm(x)), scores


class Decoder(nn.Module):
    """Token embedding and positions, pre-norm blocks, output norm; logits through the embedding transposed."""

    def __init__(
        self,
        vocab_size: int,
        text_ctx: int,
        dim: int,
        heads: int,
        layers: int,
        alignment_heads: Sequence[tuple[int, int]] = (),
    ) -> None:
        super().__init__()
        self.heads = heads
        self.text_ctx = text_ctx
        self.tokens = nn.Embedding(vocab_size, dim)
        self.positions = nn.Parameter(torch.empty(text_ctx, dim).normal_(std=0.01))
        self.blocks = nn.ModuleList(DecoderBlock(dim, heads) for _ in range(layers))
        # Without known alignment heads, all heads of the upper half, as in openai-whisper.
        upper = tuple((layer, head) for layer in range(layers // 2, layers) for head in range(heads))
        self.alignment_heads = tuple(alignment_heads) or upper
        self.norm = nn.LayerNorm(dim)
        self._to_logits = PackedLinear()
        self.layerdrop = 0.0  # of `forward_text`: share of blocks that a training step leaves out

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Decoder:
        self._to_logits = PackedLinear()
        return super()._apply(fn, recurse)

    def cross(self, states: AudioStates) -> Cross:
        """Keys and values of all layers for windows of audio."""
        windows, size, dim = states.x.shape
        shape = (len(self.blocks), windows, self.heads, size, dim // self.heads)
        keys, values = states.x.new_empty(shape), states.x.new_empty(shape)
        for i, block in enumerate(self.blocks):
            keys[i], values[i] = cast(DecoderBlock, block).cross.project(states.x)
        return Cross(keys, values, _attended(states))

    def forward_text(self, tokens: Tensor, states: AudioStates) -> tuple[Tensor, Tensor]:
        """Teacher forcing, differentiable: tokens (R, U) of whole texts, one for each window -> (R, U, D).

        Texts are padded at the right; padding does not change the output of the tokens before it. The output norm is
        applied. Also returns the cross-attention scores of the last block before the softmax: (R, H, U, T), empty if
        layerdrop left the block out.
        """
        scores = states.x.new_empty(0)
        x = F.embedding(tokens, self.tokens.weight) + self.positions[: tokens.shape[1]]  # (R, U, D)
        mask = _attended(states)
        for block in self.blocks:
            if self.training and torch.rand(()).item() < self.layerdrop:
                scores = states.x.new_empty(0)
            else:
                x, scores = cast(DecoderBlock, block).forward_text(x, states.x, mask)
        return self.norm(x), scores

    def new_cache(self, rows: int, capacity: int, padding: Tensor | None = None) -> Cache:
        """An empty cache of `capacity` columns. padding (R,), on the CPU: columns at the left without a token."""
        like = self.tokens.weight
        padding = torch.zeros(rows, dtype=torch.long) if padding is None else padding
        return Cache(like, len(self.blocks), self.heads, capacity, padding)

    def forward(
        self,
        tokens: Tensor,
        cross: Cross,
        cache: Cache,
        *,
        last_only: bool = True,
        at: Tensor | None = None,
        need_attention: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Append tokens (R, U) to the cache and decode them. The first tokens are aligned to the right.

        Returns float32 logits: (R, V) after the last token, (R, P, V) after the tokens in columns `at` (R, P), or
        (R, U, V) after each token without last_only. With need_attention also the scores of the alignment heads before
        the softmax, (R, A, U, T). Raises ConfigError for a text that is too long for the cache or the positions.
        """
        start, end = cache.length, cache.length + tokens.shape[1]
        position = torch.arange(start, end, device=tokens.device) - cache.padding[:, None]  # (R, U)
        if end > cache.capacity or end - int(cache.cpu_padding.min()) > self.text_ctx:
            raise ConfigError(
                f"{end} tokens, but the cache holds {cache.capacity} and the decoder has {self.text_ctx} positions"
            )
        x = F.embedding(tokens, self.tokens.weight) + self.positions[position.clamp(min=0)]  # (R, U, D)
        mask = _visible(start, end, cache.padding)
        scores_of: dict[int, Tensor] = {}  # layer -> (R, H, U, T)
        alignment_layers = {layer for layer, _ in self.alignment_heads} if need_attention else set()
        for i, module in enumerate(self.blocks):
            block = cast(DecoderBlock, module)
            x = x + block.attend(block.attention_norm(x), cache.keys[i], cache.values[i], start, mask)
            y, scores = block.cross(block.cross_norm(x), cross.keys[i], cross.values[i], cross.mask)
            if i in alignment_layers:
                scores_of[i] = scores
            x = x + y
            x = x + block.ffn(block.ffn_norm(x))
        cache.length = end
        if at is not None:
            x = x.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))  # (R, P, D)
        elif last_only:
            x = x[:, -1]  # (R, D)
        x = self.norm(x)
        logits = self._to_logits(x, self.tokens.weight).float()  # (R, V) or (R, U, V)
        if not need_attention:
            return logits, None
        return logits, torch.stack([scores_of[i][:, h] for i, h in self.alignment_heads], dim=1).float()


def _attended(states: AudioStates) -> Tensor | None:
    """(W, 1, 1, T), True = real, or None when every position is."""
    mask = padding_mask(states.lengths, states.x)
    return None if mask is None else mask[:, None, None]


def _visible(start: int, end: int, padding: Tensor) -> Tensor:
    """(R, 1, U, C): columns that each new token attends to: real ones up to its own. Padding attends to itself."""
    column = torch.arange(end, device=padding.device)
    query = column[start:, None]  # (U, 1)
    real = column >= padding[:, None, None]  # (R, 1, C)
    return ((real & (column <= query)) | (column == query))[:, None]
