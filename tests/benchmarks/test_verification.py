"""Speaker verification: the equal error rate, and the task on a model whose vectors are known."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from small import small
from tone_tasks import evaluate, only
from torch import Tensor

from zoo.benchmarks.suite import SuiteTask
from zoo.benchmarks.verification import equal_error_rate
from zoo.data import manifest
from zoo.errors import AudioError, ConfigError

TASK = {"kind": "verification"}


def plain_eer(scores: np.ndarray, same: np.ndarray) -> float:
    """From its definition: both rates at every threshold, and where the line between two thresholds crosses."""
    points = [(0.0, 1.0)]  # (accepted pairs of two, refused pairs of one)
    for threshold in sorted(set(scores), reverse=True):
        accepted = scores >= threshold
        points.append((np.mean(accepted[~same]), np.mean(~accepted[same])))
    for (x0, y0), (x1, y1) in pairwise(points):
        if y1 <= x1:
            t = (y0 - x0) / ((y0 - x0) - (y1 - x1))
            return float(x0 + t * (x1 - x0))
    raise AssertionError


@pytest.mark.parametrize("seed", range(20))
def test_equal_error_rate_is_that_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    same = rng.random(60) < 0.3
    scores = rng.normal(size=60) + same * rng.uniform(-1, 3)
    scores = scores.round(1 if seed % 2 else 9)  # with ties, and without
    assert equal_error_rate(scores, same) == pytest.approx(plain_eer(scores, same), abs=1e-12)


def test_weights_count_as_repetitions() -> None:
    rng = np.random.default_rng(0)
    same, times = rng.random(40) < 0.4, rng.integers(0, 4, 40)
    scores = rng.normal(size=40) + same
    repeated = plain_eer(np.repeat(scores, times), np.repeat(same, times))
    assert equal_error_rate(scores, same, times.astype(float)) == pytest.approx(repeated, abs=1e-12)


def test_equal_error_rates_that_are_known() -> None:
    same = np.array([True, True, False, False])
    assert equal_error_rate(np.array([0.9, 0.8, 0.2, 0.1]), same) == 0
    assert equal_error_rate(np.array([0.1, 0.2, 0.8, 0.9]), same) == 1
    assert equal_error_rate(np.array([0.5, 0.5, 0.5, 0.5]), same) == 0.5
    rng = np.random.default_rng(1)
    many = np.arange(200_000) % 2 == 0
    assert equal_error_rate(rng.normal(size=200_000) + 2 * many, many) == pytest.approx(norm.cdf(-1), abs=0.005)
    with pytest.raises(ConfigError, match="pairs of one speaker and pairs of two"):
        equal_error_rate(np.ones(3), np.ones(3, dtype=bool))


def knows_speakers(corpus: Path, confused: int = 0) -> Any:
    """A model whose vector is one direction per speaker; every fourth clip of `confused` ones looks like another."""
    speakers = {round(entry.duration * 16_000): entry.speaker for entry in manifest.read(corpus)}
    numbers = {speaker: number for number, speaker in enumerate(sorted(set(speakers.values())))}
    model = small("wavlm-base-sv")

    def embed_speaker(waves: list[Tensor], sample_rate: int) -> Tensor:
        rows = [numbers[speakers[len(wave)]] + (confused and len(wave) % 4 == 0) for wave in waves]
        return torch.eye(len(numbers) + 1)[rows]

    model.embed_speaker = embed_speaker
    return model


@pytest.mark.parametrize("confused", [0, 1])
def test_the_task_compares_all_pairs(corpus: Path, tmp_path: Path, confused: int) -> None:
    model = knows_speakers(corpus, confused)
    record = only(evaluate(corpus, tmp_path / "out", SuiteTask("same speaker", **TASK), models=[model]))
    assert record.status == "ok" and record.metric == "EER" and record.lower_is_better
    assert (record.score == 0) == (not confused) == (record.details["minDCF"] == 0)
    assert record.low is not None and record.low <= record.score <= record.high
    assert record.test_items == 12 and record.groups == 3
    assert record.details["pairs of one speaker"] == 3 * 6 and record.details["pairs of two"] == 66 - 18


def test_a_real_head_runs_and_short_clips_are_left_out(corpus: Path, tmp_path: Path) -> None:
    model = small("wavlm-base-sv")
    record = only(evaluate(corpus, tmp_path / "out", SuiteTask("same speaker", **TASK), models=[model]))
    assert record.status == "ok" and 0 <= record.score <= 1
    assert record.test_items < 12 and "too short for a speaker vector" in record.notes[0]


def test_models_without_a_speaker_head_are_skipped(corpus: Path, tmp_path: Path) -> None:
    record = only(evaluate(corpus, tmp_path / "out", SuiteTask("same speaker", **TASK), models=["logmel"]))
    assert record.status == "skipped" and record.reason == "it has no speaker head"


def test_one_speaker_is_not_enough(corpus: Path, tmp_path: Path) -> None:
    model = knows_speakers(corpus)
    task = SuiteTask("same", target="one", **TASK)
    record = only(evaluate(corpus, tmp_path / "out", task, models=[model]))
    assert record.status == "skipped" and "pairs of one speaker and pairs of two" in record.reason


def test_when_all_clips_are_too_short(corpus: Path, tmp_path: Path) -> None:
    model = small("wavlm-base-sv")

    def embed_speaker(waves: Any, sample_rate: int) -> Tensor:
        raise AudioError("waveform 0", "too short")

    model.embed_speaker = embed_speaker
    record = only(evaluate(corpus, tmp_path / "out", SuiteTask("same speaker", **TASK), models=[model]))
    assert record.status == "skipped" and "no clip of test is long enough" in record.reason
