"""The text tower of MuLan and CLAP: BERT (Devlin et al. 2018, arXiv 1810.04805), or RoBERTa (arXiv 1907.11692).

Legend: B batch, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.nn.masking import padding_mask
from zoo.nn.transformer import Transformer

BERT_WIDTH, BERT_STD = 768, 0.02
"""Narrower towers start with larger weights, so that words change [CLS] as much as they do at BERT's width. With BERT's
own weights the effect is too small, and contrastive training from scratch learns very slowly at first."""


class TextTower(nn.Module):
    """Post-norm transformer over words + positions + segment; its output is the last state of the first token, [CLS].

    A text is one segment, so a single vector replaces BERT's table of two segment embeddings.
    """

    def __init__(
        self,
        vocab: int,
        dim: int = 768,
        layers: int = 12,
        heads: int = 12,
        ffn_dim: int = 3072,
        positions: int = 512,
        *,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        eps: float = 1e-12,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError(f"dim {dim} is not a multiple of heads {heads}")
        self.dim = dim
        self.words = nn.Embedding(vocab, dim)
        self.positions = nn.Embedding(positions, dim)
        self.segment = nn.Parameter(torch.empty(dim).normal_(std=0.02))
        self.transformer = Transformer(
            layers,
            dim,
            heads,
            ffn_dim,
            norm_first=False,
            dropout=dropout,
            attention_dropout=attention_dropout,
            eps=eps,
        )
        self.apply(partial(_init_weights, std=BERT_STD * max(1.0, BERT_WIDTH / dim) ** 0.5))

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """ids (B, T), lengths (B,) >= 1 real tokens -> (B, D). Values in padding have no effect.

        Raises ConfigError for texts with more tokens than there are positions.
        """
        size = ids.shape[1]
        if size > self.positions.num_embeddings:
            raise ConfigError(
                f"texts of {size} tokens, but the tower has {self.positions.num_embeddings} positions; "
                f"cut them with tokenizer.encode(texts, {self.positions.num_embeddings})"
            )
        mask = padding_mask(lengths, ids)  # (B, T)
        if mask is not None:
            ids = torch.where(mask, ids, 0)
        x = self.words(ids) + self.positions.weight[:size] + self.segment  # (B, T, D)
        (x,) = self.transformer(x, mask, [len(self.transformer.blocks)], first=1)
        return x[:, 0]  # (B, D)


def _init_weights(module: nn.Module, std: float) -> None:
    """BERT's initial values: normal, biases 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
