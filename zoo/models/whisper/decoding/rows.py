"""The decoder as the search loops see it: rows that are begun, stepped, reordered and dropped.

rows = windows x group: the candidates of one window (beams, samples) stand together and share its cross-attention.

Legend: W windows, G candidates a window, R = W x G rows, U tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class Rows(Protocol):
    """What a search needs. Logits are float32 and the caller's to overwrite."""

    def begin(self) -> tuple[Tensor, Tensor]:
        """Read the prompts, one row a window -> logits (W, V) of the first token, those at <|startoftranscript|>."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """One more token (R,) a row -> (R, V) logits of the next."""
        ...

    def select(self, rows: Tensor, windows: Tensor | None = None) -> None:
        """Go on with these rows, in this order, repetitions allowed.

        windows: those that are left, ascending; None = all.
        """
        ...


class DecoderRows:
    """Rows of a Whisper decoder."""

    def __init__(self, decoder: Any, cross: Any, prompts: Sequence[Sequence[int]], sot: int, steps: int) -> None:
        """cross: of the windows; it loses those that leave. prompts: ids that precede the transcript of each, `sot`
        among them; steps: most tokens to follow.
        """
        self.decoder, self.cross, self.sot = decoder, cross, sot
        longest = max(map(len, prompts))
        self.device = decoder.tokens.weight.device
        pads = [longest - len(prompt) for prompt in prompts]
        padded = [[sot] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
        self.prompts = torch.tensor(padded, device=self.device)  # (W, U)
        padding = torch.tensor(pads, device=self.device)
        self.cache = decoder.new_cache(len(prompts), longest + steps, padding)

    def begin(self) -> tuple[Tensor, Tensor]:
        """See Rows. Prompts are aligned at their ends, so that all rows write the same column from here on."""
        is_sot = self.prompts == self.sot
        is_sot &= torch.arange(is_sot.shape[1], device=self.device) >= self.cache.padding[:, None]
        first = is_sot.int().argmax(1)  # (W,)
        places = torch.stack([first, torch.full_like(first, is_sot.shape[1] - 1)], 1)  # (W, 2)
        logits, _ = self.decoder(self.prompts, self.cross, self.cache, at=places)  # (W, 2, V)
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
