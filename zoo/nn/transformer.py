"""The transformer of HuBERT, Whisper's encoder, AST and BERT.

Legend: B batch, T frames, D width, L layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.nn.activation import gelu
from zoo.nn.attention import SelfAttention
from zoo.nn.dropout import Dropout
from zoo.nn.linear import Linear


class FeedForward(nn.Module):
    """down(gelu(up(x)))."""

    def __init__(self, dim: int, ffn_dim: int, activation_dropout: float = 0.0) -> None:
        super().__init__()
        self.up = Linear(dim, ffn_dim)
        self.down = Linear(ffn_dim, dim)
        self.dropout = Dropout(activation_dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.dropout(gelu(self.up(x))))


class Block(nn.Module):
    """Attention and feed-forward, each with a residual. LayerNorm comes before each (norm_first) or after each residual
    addition.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        ffn_dim: int,
        *,
        norm_first: bool,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.attention_norm = nn.LayerNorm(dim, eps)
        self.attention = SelfAttention(dim, heads, attention_dropout)
        self.ffn_norm = nn.LayerNorm(dim, eps)
        self.ffn = FeedForward(dim, ffn_dim, activation_dropout)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None, first: int | None = None, bias: Tensor | None = None) -> Tensor:
        """x (B, T, D), mask (B, T) True = real -> (B, T, D), or (B, first, D): only the first frames.

        bias: for the attention.
        """
        if self.norm_first:
            x = x[:, :first] + self.dropout(self.attention(self.attention_norm(x), mask, first, bias))
            return x + self.dropout(self.ffn(self.ffn_norm(x)))
        x = self.attention_norm(x[:, :first] + self.dropout(self.attention(x, mask, first, bias)))
        return self.ffn_norm(x + self.dropout(self.ffn(x)))


class Transformer(nn.Module):
    """A stack of blocks and one LayerNorm: on the input of post-norm blocks, on the output of pre-norm blocks.

    Layer 0 is the input of the first block (after the input norm, if any), layer k the output of block k. In a pre-norm
    stack the last layer includes the output norm, as in fairseq's output and transformers' last_hidden_state.
    """

    def __init__(
        self,
        layers: int,
        dim: int,
        heads: int,
        ffn_dim: int,
        *,
        norm_first: bool,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        layerdrop: float = 0.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.layerdrop = layerdrop
        self.norm = nn.LayerNorm(dim, eps)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(
                dim,
                heads,
                ffn_dim,
                norm_first=norm_first,
                dropout=dropout,
                attention_dropout=attention_dropout,
                activation_dropout=activation_dropout,
                eps=eps,
            )
            for _ in range(layers)
        )

    def forward(
        self, x: Tensor, mask: Tensor | None, layers: list[int], first: int | None = None, bias: Tensor | None = None
    ) -> list[Tensor]:
        """x (B, T, D) -> one (B, T, D) per entry of `layers` (0 ... L). Blocks after the last of these do not run.

        first: compute only this many frames of the last layer, for example 1 to read a [CLS] token; default all.
        bias: for the attention of every block.
        """
        last = max(layers)
        x = self.dropout(x if self.norm_first else self.norm(x))
        states = {0: x}
        for k, block in enumerate(self.blocks[:last], start=1):
            count = first if k == last else None
            dropped = self.training and torch.rand(()).item() < self.layerdrop
            x = x[:, :count] if dropped else block(x, mask, count, bias)
            if k in layers:
                states[k] = x
        if self.norm_first and last == len(self.blocks):
            states[last] = self.norm(x)
        return [states[k] for k in layers]
