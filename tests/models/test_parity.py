"""Every family against transformers, with random weights: all layers, and batches against single clips.

ZOO_PARITY=docs/parity.md pytest tests/models/test_parity.py      writes the table of the documentation
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import foreign_clap
import pytest
import torch
from foreign_wrapped import WRAPPED, expected_states, foreign
from neighbors import REFERENCES
from small import noise
from torch import Tensor

import zoo
from zoo.encoder import Encoder
from zoo.testing import difference

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
            "that is cut into windows, against the reference on the whole recording. Wrapped models are computed by",
            "transformers itself, in batches of equal length.",
            "",
            "| family | reference | layers 0, 1, ... | windows | batch against single |",
            "|-|-|-|-|-|",
            *_rows,
            "",
        ]
    )


def _compare(ours: Encoder, clips: list[Tensor], expected: list[Tensor]) -> tuple[Tensor, float]:
    """Largest difference at each layer (L + 1,), and, as in the contract, between the batch and single clips."""
    single = [ours.encode(clip, 16_000, layer="all").x[:, 0] for clip in clips]
    assert [states.shape for states in single] == [states.shape for states in expected]
    gaps = [(a - b).abs().amax((1, 2)) for a, b in zip(single, expected, strict=True)]
    together = ours.encode(clips, 16_000, layer="all").unpad()
    batch = max(difference(a, b) for a, b in zip(together, single, strict=True))
    return torch.stack(gaps).amax(0), batch


def _add_row(family: str, reference: str, layers: Tensor, windows: str, batch: float) -> None:
    figures = " ".join(f"{gap:.0e}" for gap in layers.tolist())
    _rows.append(f"| {family} | {reference} | {figures} | {windows} | {batch:.0e} |")


@pytest.mark.parametrize("family", REFERENCES)
def test_all_layers_and_batches(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = REFERENCES[family]
    theirs = reference.make()
    ours = zoo.load(reference.save(theirs, tmp_path), device="cpu")
    clips = [noise(4.0, seed)[:samples] + 0.01 for seed, samples in enumerate(SAMPLES)]
    layers, batch = _compare(ours, clips, [reference.hidden_states(theirs, clip) for clip in clips])
    monkeypatch.setattr(Encoder, "window_seconds", 4.0)
    monkeypatch.setattr(Encoder, "context_seconds", 1.5)
    recording = noise(6.0)
    whole = reference.hidden_states(theirs, recording)[0]
    windows = float((ours.encode(recording, 16_000, layer=0).x[0] - whole).abs().max())
    _add_row(family, reference.cls.__name__, layers, f"{windows:.0e}", batch)
    assert layers.max() <= LAYERS and windows <= LAYERS and batch <= BATCH, _rows[-1]


@pytest.mark.parametrize("kind", WRAPPED)
def test_all_layers_and_batches_of_wrapped_models(kind: str) -> None:
    theirs, extractor = foreign(kind)
    ours = zoo.wrap(theirs, extractor)
    sizes = (ours.min_samples, ours.min_samples + ours.hop, 16_000, 16_000, 48_123)
    clips = [noise(4.0, seed)[:size] for seed, size in enumerate(sizes)]
    layers, batch = _compare(ours, clips, [expected_states(theirs, extractor, clip) for clip in clips])
    _add_row(f"wrapped: {kind}", type(theirs).__name__, layers, "-", batch)
    assert layers.max() <= LAYERS and batch <= BATCH, _rows[-1]


@pytest.mark.parametrize("fused", [False, True], ids=["unfused", "fused"])
def test_all_stages_and_batches_of_clap(fused: bool, tmp_path: Path) -> None:
    theirs, folder = foreign_clap.saved(tmp_path, fused)
    ours = zoo.load(folder, device="cpu")
    sizes = (1_024, 30_000, 70_000, foreign_clap.WINDOW, *((150_000, 290_000) if fused else ()))
    clips = [noise(7.0, seed, foreign_clap.RATE)[:size] for seed, size in enumerate(sizes)]
    gaps = []
    for clip in clips:
        embedding, states = foreign_clap.reference(theirs, clip, is_longer=len(clip) > foreign_clap.WINDOW)
        found = [*foreign_clap.states_of(ours, clip), ours.embed(clip, foreign_clap.RATE)]
        gaps.append(torch.stack([(a - b).abs().max() for a, b in zip(found, [*states, embedding], strict=True)]))
    together = ours.embed(clips, foreign_clap.RATE)
    batch = max(difference(a, ours.embed(clip, foreign_clap.RATE)) for a, clip in zip(together, clips, strict=True))
    layers = torch.stack(gaps).amax(0)
    _add_row(f"CLAP, {'fused' if fused else 'unfused'}: stages, embedding", "ClapModel", layers, "-", batch)
    assert layers.max() <= LAYERS and batch <= BATCH, _rows[-1]
