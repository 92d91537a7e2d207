"""Every family against transformers, with random weights: all layers, and batches against single clips.

ZOO_PARITY=docs/parity.md pytest tests/models/test_parity.py      writes the table of the documentation
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from neighbors import REFERENCES
from small import noise

import zoo
from zoo.encoder import Encoder

LAYERS, BATCH = 2e-5, 1e-5
SAMPLES = (400, 719, 720, 16_000, 48_123)  # from one frame
_rows: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Writes the rows that the tests found to the file that ZOO_PARITY names."""
    yield
    if "ZOO_PARITY" in os.environ:
        Path(os.environ["ZOO_PARITY"]).write_text(_page(), encoding="utf-8")


def _page() -> str:
    return "\n".join(
        [
            "# Parity",
            "",
            "Largest differences from transformers in float32, with random weights, over clips from one frame to 3 s.",
            "`tests/models/test_parity.py` measures them and writes this page (`ZOO_PARITY=docs/parity.md`).",
            'Allowed: 2e-05 in a layer, 1e-05 between a batch and single clips. "windows" is layer 0 of a recording',
            "that is cut into windows, against the reference on the whole recording.",
            "",
            "| family | reference | layers 0, 1, ... | windows | batch against single |",
            "|-|-|-|-|-|",
            *_rows,
            "",
        ]
    )


@pytest.mark.parametrize("family", REFERENCES)
def test_all_layers_and_batches(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = REFERENCES[family]
    theirs = reference.make()
    ours = zoo.load(reference.save(theirs, tmp_path), device="cpu")
    clips = [noise(4.0, seed)[:samples] + 0.01 for seed, samples in enumerate(SAMPLES)]
    expected = [reference.hidden_states(theirs, clip) for clip in clips]
    single = [ours.encode(clip, 16_000, layer="all").x[:, 0] for clip in clips]
    assert [states.shape for states in single] == [states.shape for states in expected]
    gaps = [(a - b).abs().amax((1, 2)) for a, b in zip(single, expected, strict=True)]
    layers = torch.stack(gaps).amax(0)  # (L + 1,)
    together = ours.encode(clips, 16_000, layer="all").unpad()
    batch = max(float((a - b).abs().max()) for a, b in zip(together, single, strict=True))
    monkeypatch.setattr(Encoder, "window_seconds", 4.0)
    monkeypatch.setattr(Encoder, "context_seconds", 1.5)
    recording = noise(6.0)
    whole = reference.hidden_states(theirs, recording)[0]
    windows = float((ours.encode(recording, 16_000, layer=0).x[0] - whole).abs().max())
    figures = " ".join(f"{gap:.0e}" for gap in layers.tolist())
    _rows.append(f"| {family} | {reference.cls.__name__} | {figures} | {windows:.0e} | {batch:.0e} |")
    assert layers.max() <= LAYERS and windows <= LAYERS and batch <= BATCH, _rows[-1]
