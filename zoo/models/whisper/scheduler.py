"""How many windows are decoded together, and how many batches at once.

A decoder step is too small to be divided among cores. On a CPU several batches run at once, each on its own cores.
Together they take about as long as one batch on all cores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zoo.models.whisper.decoding import DecodingOptions
from zoo.models.whisper.segmenters import Window

MEMORY = 1 << 29  # bytes of keys and values of all batches together
MIN_WINDOWS, MAX_WINDOWS = 4, 16  # of a batch: many share one pass over the weights, few have similar lengths


@dataclass
class BatchScheduler:
    """Runs `workers` batches at once, each on `cores` cores.

    max_windows: windows of a batch, None = as many as memory allows.
    position_bytes: memory of a window for each encoder position; text_bytes: for the longest text.
    """

    model: Any
    padding: str
    workers: int
    cores: int
    max_windows: int | None
    position_bytes: int
    text_bytes: int

    @classmethod
    def of(
        cls, model: Any, padding: str, options: DecodingOptions, max_windows: int | None, windows: int
    ) -> BatchScheduler:
        """For `windows` windows. There are no more workers than windows can keep busy with batches of MIN_WINDOWS."""
        cores = torch.get_num_threads() if model.device.type == "cpu" else 1
        possible = [n for n in range(1, cores + 1) if cores % n == 0 and n * MIN_WINDOWS <= max(windows, MIN_WINDOWS)]
        config, workers = model.config, max(possible)
        position_bytes = 2 * config.decoder_layers * config.dim * model.decoder.positions.element_size()
        candidates = options.samples if options.temperatures[0] else options.beam_size
        text_bytes = candidates * config.text_ctx // 2 * position_bytes
        return cls(model, padding, workers, cores // workers, max_windows, position_bytes, text_bytes)

    def batch_size(self, ready: Sequence[Window]) -> int:
        """Number of windows in the next batch. ready: longest first. All workers get equal batches."""
        max_windows = self.max_windows or self._capacity(ready[0])
        rounds = math.ceil(len(ready) / (max_windows * self.workers))
        return math.ceil(len(ready) / (rounds * self.workers))

    def _capacity(self, longest: Window) -> int:
        """Windows of this length that fit into memory."""
        config = self.model.config
        positions = config.audio_ctx
        if self.padding == "none":
            attended = math.ceil((longest.stop - longest.start) / self.model.hop) + config.pad_positions
            positions = min(positions, max(attended, config.min_positions))
        count = MEMORY // self.workers // (positions * self.position_bytes + self.text_bytes)
        return max(MIN_WINDOWS, min(MAX_WINDOWS, count))
