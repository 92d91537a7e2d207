"""How windows are shared out: how many are decoded together, and how many batches at once.

The steps of a decoder are too small to be divided among cores. On a CPU several batches at once, each on cores of its
own, take about as long as one of them would with all the cores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zoo.models.whisper.decoding import DecodingOptions
from zoo.models.whisper.segmenters import Window

MEMORY = 1 << 29  # bytes of keys and values, of all batches together
FEWEST, MOST = 4, 16  # windows of a batch: the weights are read once for all of them; few differ little in length


@dataclass
class BatchScheduler:
    """workers batches at once on `cores` cores each; most: windows of a batch, None = by memory.

    position, text: bytes that a window takes for a position that it hears, and for all that it may write.
    """

    model: Any
    context: str
    workers: int
    cores: int
    most: int | None
    position: int
    text: int

    @classmethod
    def of(cls, model: Any, context: str, options: DecodingOptions, most: int | None, windows: int) -> BatchScheduler:
        """For so many windows: each worker gets a batch that is worth reading the weights for."""
        cores = torch.get_num_threads() if model.device.type == "cpu" else 1
        fits = [n for n in range(1, cores + 1) if cores % n == 0 and n * FEWEST <= max(windows, FEWEST)]
        config, workers = model.config, max(fits)
        position = 2 * config.decoder_layers * config.dim * model.decoder.positions.element_size()
        candidates = options.samples if options.temperatures[0] else options.beam_size
        text = candidates * config.text_ctx // 2 * position
        return cls(model, context, workers, cores // workers, most, position, text)

    def batch_size(self, ready: Sequence[Window]) -> int:
        """How many of these windows, longest first, the next batch takes: all workers get as many."""
        most = self.most or self._room(ready[0])
        rounds = math.ceil(len(ready) / (most * self.workers))
        return math.ceil(len(ready) / (rounds * self.workers))

    def _room(self, longest: Window) -> int:
        config = self.model.config
        positions = config.audio_ctx
        if self.context == "clip":
            heard = math.ceil((longest.stop - longest.start) / self.model.hop) + config.tail
            positions = min(positions, max(heard, config.least))
        held = MEMORY // self.workers // (positions * self.position + self.text)
        return max(FEWEST, min(MOST, held))
