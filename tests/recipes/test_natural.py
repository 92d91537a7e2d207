"""recipes/natural.py: plans, phoneme symbols for Kokoro, and clips of a fake synthesizer."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from zoo.data import manifest

VOICES = ["af_heart", "bm_lewis", "zf_xiaoyi"]


@pytest.fixture(scope="module")
def natural() -> ModuleType:
    path = Path(__file__).parents[2] / "recipes" / "natural.py"
    spec = importlib.util.spec_from_file_location("natural", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["natural"] = module  # dataclasses need their module there
    spec.loader.exec_module(module)
    return module


def test_plans_are_functions_of_seed_and_index(natural: ModuleType) -> None:
    plans = [natural.plan(0, i, VOICES) for i in range(200)]
    assert plans == [natural.plan(0, i, VOICES) for i in range(200)]
    assert plans != [natural.plan(1, i, VOICES) for i in range(200)]
    assert {plan.style for plan in plans} == set(natural.STYLES)
    assert {len(plan.voices) for plan in plans} == {1, 2, 3}
    assert all(sum(plan.voices.values()) == pytest.approx(1) for plan in plans)
    assert {plan.accent for plan in plans} == {"en", "en-us"}


def test_transcripts_are_words(natural: ModuleType) -> None:
    """Only the spoken text has punctuation, and "ay" for the letter A, which would be read as an article."""
    plans = [natural.plan(0, i, VOICES) for i in range(200)]
    for plan in plans:
        if plan.style != "sentence":
            assert plan.text.replace(" ", "").isalpha()
            spoken = plan.spoken_text.lower().replace("ay", "a").replace(",", "").rstrip(".!?")
            assert spoken == plan.text.lower().replace("may", "ma")
    assert any("A" in plan.text.split() for plan in plans if plan.style == "spelling")


@pytest.mark.parametrize(
    ("accent", "symbols"), [("en-us", "nˈIn, zˈiəɹO. nˈO fˈɑɹməɹ? ʤˈA"), ("en", "nˈIn, zˈiəɹQ. nˈQ fˈɑːmə? ʤˈA")]
)
def test_phonemes(natural: ModuleType, accent: str, symbols: str) -> None:
    assert natural.phonemes("nine, zero. no farmer? J", accent) == symbols


def test_a_clip_and_its_row(natural: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def synthesize(self, plan: object) -> np.ndarray:
            return np.zeros(natural.SAMPLE_RATE // 2)

    monkeypatch.setattr(natural, "_kokoro", Silent(), raising=False)
    plan = natural.plan(0, 3, VOICES)
    path = tmp_path / "clips" / "000003.flac"
    natural._make((path, plan))
    manifest.write(tmp_path / "manifest.jsonl", [natural.entry(path, plan)])
    (entry,) = manifest.read(tmp_path / "manifest.jsonl")
    assert (entry.audio, entry.duration, entry.text, entry.split) == (path, 0.5, plan.text, "train")
    assert entry.labels == {"style": plan.style}
