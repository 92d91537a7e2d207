"""Interface between the decoder and the search loops: rows that begin, step, are reordered and dropped.

rows = windows x group: the candidates of one window (beams, samples) are neighbors and share its cross-attention.

Legend: W windows, G candidates a window, R = W x G rows, U tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class Rows(Protocol):
    """What a search needs from a decoder. Logits are float32; the caller may overwrite them."""

    def begin(self) -> tuple[Tensor, Tensor]:
        """Read the prompts, one row a window -> logits (W, V) of the first token, and at <|startoftranscript|>."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """Append one token (R,) to each row -> logits (R, V) of the next."""
        ...

    def select(self, rows: Tensor, windows: Tensor | None = None) -> None:
        """Keep these rows, in this order, repetitions allowed.

        windows: the windows to keep, ascending; None = all. Both are numbers on the CPU.
        """
        ...


class DecoderRows:
    """Rows of a Whisper decoder."""

    def __init__(self, decoder: Any, cross: Any, prompts: Sequence[Sequence[int]], sot: int, steps: int) -> None:
        """cross: of the windows; `select` drops windows from it in place. prompts: ids before each transcript, `sot`
        among them; steps: maximum number of tokens that follow.
        """
        self.decoder, self.cross, self.sot = decoder, cross, sot
        longest = max(map(len, prompts))
        self.device = decoder.tokens.weight.device
        pads = [longest - len(prompt) for prompt in prompts]
        padded = [[sot] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
        self.prompts = torch.tensor(padded, device=self.device)  # (W, U)
        self.cache = decoder.new_cache(len(prompts), longest + steps, torch.tensor(pads))

    def begin(self) -> tuple[Tensor, Tensor]:
        """See Rows. Prompts are aligned at their ends, so that all rows write to the same column from here on."""
        is_sot = self.prompts == self.sot
        is_sot &= torch.arange(is_sot.shape[1], device=self.device) >= self.cache.padding[:, None]
        first = is_sot.int().argmax(1)  # (W,)
        columns = torch.stack([first, torch.full_like(first, is_sot.shape[1] - 1)], 1)  # (W, 2)
        logits, _ = self.decoder(self.prompts, self.cross, self.cache, at=columns)  # (W, 2, V)
        return logits[:, 1].contiguous(), logits[:, 0]

    def step(self, tokens: Tensor) -> Tensor:
        """See Rows."""
        logits: Tensor = self.decoder(tokens[:, None], self.cross, self.cache)[0]
        return logits

    def select(self, rows: Tensor, windows: Tensor | None = None) -> None:
        """See Rows."""
        self.cache.select(rows)
        if windows is not None:
            self.cross.keep(windows)
