"""How windows are assigned to batches and cores."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo.models.whisper.config import WhisperConfig
from zoo.models.whisper.decoding import DecodingOptions
from zoo.models.whisper.model import Whisper
from zoo.models.whisper.scheduler import BatchScheduler
from zoo.models.whisper.segmenters import Window

RATE = 16_000


def scheduler(
    monkeypatch: pytest.MonkeyPatch,
    windows: int,
    *,
    cores: int = 1,
    max_windows: int | None = None,
    padding: str = "30s",
    dim: int = 512,
    **options: Any,
) -> BatchScheduler:
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    config = WhisperConfig(dim=dim, heads=8, decoder_heads=8, decoder_layers=6, encoder_layers=1)
    model = Whisper(config).to(torch.bfloat16)
    return BatchScheduler.of(model, padding, DecodingOptions(**options), max_windows, windows)


def of_seconds(seconds: float, count: int) -> list[Window]:
    return [Window(None, 0, int(seconds * RATE), None) for _ in range(count)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("windows", "cores", "workers"),
    [(1, 1, 1), (99, 1, 1), (7, 2, 1), (8, 2, 2), (0, 2, 1), (40, 16, 8), (64, 16, 16), (11, 3, 1), (12, 3, 3)],
)
def test_each_worker_has_enough_windows(
    monkeypatch: pytest.MonkeyPatch, windows: int, cores: int, workers: int
) -> None:
    found = scheduler(monkeypatch, windows, cores=cores)
    assert found.workers == workers and found.workers * found.cores == cores


@pytest.mark.parametrize(
    ("windows", "cores", "max_windows", "size"),
    [
        (21, 2, None, 11),  # two batches, not three
        (40, 2, None, 10),  # four batches rather than 16, 16 and 8
        (40, 1, None, 14),
        (40, 2, 4, 4),
        (3, 1, None, 3),
        (40, 2, 100, 20),
    ],
)
def test_batches_are_even(
    monkeypatch: pytest.MonkeyPatch, windows: int, cores: int, max_windows: int | None, size: int
) -> None:
    assert (
        scheduler(monkeypatch, windows, cores=cores, max_windows=max_windows).batch_size(of_seconds(30, windows))
        == size
    )


@pytest.mark.parametrize(
    ("padding", "seconds", "options", "size"),
    [
        ("30s", 3, {}, 6),  # (1500 + 224) keys and values of 2048 numbers in 6 layers, 2 bytes each: 85 MB
        pytest.param("none", 3, {}, 16, marks=pytest.mark.slow),
        pytest.param("none", 28, {}, 6, marks=pytest.mark.slow),
        pytest.param("30s", 3, {"beam_size": 5}, 4, marks=pytest.mark.slow),  # 129 MB
        pytest.param("30s", 3, {"temperatures": (0.5,), "best_of": 10}, 4, marks=pytest.mark.slow),
    ],
)
def test_a_batch_takes_half_a_gib(
    monkeypatch: pytest.MonkeyPatch, padding: str, seconds: float, options: dict[str, Any], size: int
) -> None:
    found = scheduler(monkeypatch, 99, padding=padding, dim=2048, **options)
    assert found._capacity(of_seconds(seconds, 1)[0]) == size
