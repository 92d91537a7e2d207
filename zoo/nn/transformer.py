"""The transformer that HuBERT, Whisper's encoder, AST and BERT wear in four dresses.

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
    """Attention and feed-forward, each with a residual; LayerNorm before each (norm_first) or after each residual."""

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

    def forward(self, x: Tensor, mask: Tensor | None, first: int | None = None) -> Tensor:
        """x (B, T, D), mask (B, T) True = real -> (B, T, D), or its first frames alone (B, first, D)."""
        if self.norm_first:
            x = x[:, :first] + self.dropout(self.attention(self.attention_norm(x), mask, first))
            return x + self.dropout(self.ffn(self.ffn_norm(x)))
        x = self.attention_norm(x[:, :first] + self.dropout(self.attention(x, mask, first)))
        return self.ffn_norm(x + self.dropout(self.ffn(x)))


class Transformer(nn.Module):
    """A stack of blocks and one LayerNorm: on the input of post-norm blocks, on the output of pre-norm ones.

    Layers are numbered as everywhere in zoo: 0 = input of the first block (after the input norm, if any), k = output of
    block k. In a pre-norm stack the last layer includes the output norm, as fairseq's output and transformers'
    last_hidden_state do.
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

    def forward(self, x: Tensor, mask: Tensor | None, layers: list[int], first: int | None = None) -> list[Tensor]:
        """x (B, T, D) -> one (B, T, D) per entry of `layers` (0 ... L); blocks past the last do not run.

        first: how many frames of the last of them are wanted, where one reads [CLS] tokens; all when left out.
        """
        wanted, last = set(layers), max(layers)
        x = self.dropout(x if self.norm_first else self.norm(x))
        states = {0: x}
        for k, block in enumerate(self.blocks[:last], start=1):
            kept = first if k == last else None
            dropped = self.training and torch.rand(()).item() < self.layerdrop
            x = x[:, :kept] if dropped else block(x, mask, kept)
            if k in wanted:
                states[k] = x
        if self.norm_first and last == len(self.blocks):
            states[last] = self.norm(x)
        return [states[k] for k in layers]
