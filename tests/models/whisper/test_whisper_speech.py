"""Real weights on real speech. ZOO_WHISPER_WEIGHTS is a folder with tiny.en; the tests are skipped without it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo.text.normalizers import normalizer

WEIGHTS = os.environ.get("ZOO_WHISPER_WEIGHTS")
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not WEIGHTS, reason="set ZOO_WHISPER_WEIGHTS to a folder with tiny.en"),
]


@pytest.fixture(scope="module")
def model() -> Any:
    return zoo.load(Path(str(WEIGHTS)) / "tiny.en")


@pytest.fixture(scope="module")
def read(data_root: Path) -> list[dict[str, Any]]:
    lines = (data_root / "read" / "manifest.jsonl").read_text().splitlines()[2:6]
    return [{**json.loads(line), "path": data_root / "read" / json.loads(line)["audio"]} for line in lines]


def errors(reference: str, found: str) -> float:
    """Word error rate after the English normalizer."""
    a, b = (normalizer("english")(text).split() for text in (reference, found))
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, start=1):
        left, row[0] = row[0], i
        for j, other in enumerate(b, start=1):
            left, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, left + (word != other))
    return row[-1] / len(a)


@pytest.mark.parametrize("options", [{}, {"mode": "sequential"}, {"beam_size": 5}, {"padding": "none"}], ids=str)
def test_read_speech_is_transcribed(model: Any, read: list[dict[str, Any]], options: dict[str, Any]) -> None:
    found = model.transcribe([line["path"] for line in read], word_timestamps=True, **options)
    assert errors(" ".join(line["text"] for line in read), " ".join(t.text for t in found)) < 0.15
    for transcript, line in zip(found, read, strict=True):
        assert transcript.language == "en" and transcript.duration == pytest.approx(line["duration"], abs=0.01)
        assert "".join(word.text for word in transcript.words).split() == transcript.text.split()
        times = [t for word in transcript.words for t in (word.start, word.end)]
        assert times == sorted(times) and times[0] >= 0 and times[-1] <= transcript.duration


def test_silence_and_noise_have_no_text(model: Any) -> None:
    white = 0.05 * torch.randn(20 * 16_000, generator=torch.Generator().manual_seed(0))
    assert [t.text for t in model.transcribe([torch.zeros(20 * 16_000), white], 16_000)] == ["", ""]
