"""Speaker verification: do two clips have the same speaker? All pairs of test clips are compared by their cosine.

    EER    equal error rate: the share of errors at the threshold where as many equal pairs are refused as different
           ones are accepted
    minDCF smallest detection cost over all thresholds, by the cost of the better constant answer (NIST SRE)

Legend: N clips, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_curve
from torch import Tensor

from zoo.audio import Clip
from zoo.benchmarks.evaluated import BATCH, drop_short, items_with, read_clips, task_result, test_items
from zoo.benchmarks.items import EvalItem, EvalItems, value_of
from zoo.benchmarks.results import TaskResult
from zoo.benchmarks.significance import REPLICATES_ANEW, statistic_interval
from zoo.benchmarks.suite import SuiteTask
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError


def equal_error_rate(scores: np.ndarray, same: np.ndarray, weights: np.ndarray | None = None) -> float:
    """EER of P pairs: scores (P,), higher = more alike; same (P,) bool; weights (P,), default 1.

    Between two thresholds, both rates of errors are interpolated. Raises ConfigError without pairs of both kinds.
    """
    counted = np.ones(len(same)) if weights is None else weights
    if not counted[same].any() or not counted[~same].any():
        raise ConfigError("an equal error rate needs pairs of one speaker and pairs of two")
    accepted, found, _ = roc_curve(same, scores, sample_weight=weights, drop_intermediate=False)
    refused = 1 - found  # falls from 1 to 0 as `accepted` rises from 0 to 1
    after = int(np.argmax(refused <= accepted))
    before = max(after - 1, 0)
    gap = (refused - accepted)[[before, after]]
    share = 0.0 if gap[0] == gap[1] else gap[0] / (gap[0] - gap[1])
    return float(accepted[before] + share * (accepted[after] - accepted[before]))


def min_detection_cost(scores: np.ndarray, same: np.ndarray, target: float = 0.01) -> float:
    """minDCF of P pairs: scores (P,), higher = more alike; same (P,). A miss costs as much as a false alarm."""
    accepted, found, _ = roc_curve(same, scores, drop_intermediate=False)
    cost = target * (1 - found) + (1 - target) * accepted
    return float(cost.min() / min(target, 1 - target))


def run(task: SuiteTask, items: EvalItems, encoder: Encoder) -> TaskResult:
    """The equal error rate. Raises ConfigError if the test clips do not have pairs of one speaker and pairs of two.

    The column of the speakers is `target`, "speaker" by default. Clips too short for a speaker vector are left out.
    """
    column = task.target or "speaker"
    notes: list[str] = []
    known = items_with(notes, column, test_items(task, items), lambda item: value_of(item.entry, column) is not None)
    clips = drop_short(notes, read_clips(notes, known, encoder.sample_rate), encoder)
    tested, vectors = _embed(notes, clips, encoder)
    speakers = np.array([str(value_of(item.entry, column)) for item in tested])
    first, second = np.triu_indices(len(tested), k=1)  # (P,) each
    cosines = (vectors @ vectors.T).numpy()  # (N, N)
    scores, same = cosines[first, second], speakers[first] == speakers[second]
    rate = equal_error_rate(scores, same)

    def resampled(selected: np.ndarray) -> float:
        times = np.bincount(selected, minlength=len(tested))
        weights = (times[first] * times[second]).astype(float)
        possible = weights[same].any() and weights[~same].any()
        return equal_error_rate(scores, same, weights) if possible else rate

    interval = statistic_interval(resampled, speakers, replicates=REPLICATES_ANEW, share=True)
    details: dict[str, Any] = {"pairs of one speaker": int(same.sum()), "pairs of two": int((~same).sum())}
    details |= {"chance": 0.5, "minDCF": min_detection_cost(scores, same)}
    np.fill_diagonal(cosines, -np.inf)
    nearest = speakers[cosines.argmax(1)].tolist()
    rows = []
    for item, truth, found in zip(tested, speakers.tolist(), nearest, strict=True):
        rows.append({"item": item.key, "group": item.group, "truth": truth, "nearest": found})
    groups = speakers.tolist()
    return task_result("EER", rate, interval, groups, lower_is_better=True, details=details, notes=notes, rows=rows)


def _embed(notes: list[str], clips: Sequence[tuple[EvalItem, Clip]], encoder: Encoder) -> tuple[list[EvalItem], Tensor]:
    """Clips that are long enough, and their speaker vectors (N, D). Raises ConfigError if a vector is not finite."""
    vectors: list[Tensor | None] = []
    for start in range(0, len(clips), BATCH):
        vectors += _vectors(encoder, [clip for _, clip in clips[start : start + BATCH]])
    usable = [(item, vector) for (item, _), vector in zip(clips, vectors, strict=True) if vector is not None]
    if len(usable) < len(clips):
        notes.append(f"{len(clips) - len(usable)} clips are too short for a speaker vector and are left out")
    if not usable:
        raise ConfigError("no clip of test is long enough for a speaker vector")
    stacked = torch.stack([vector for _, vector in usable])
    if not torch.isfinite(stacked).all():
        raise ConfigError("the encoder gave speaker vectors that are not finite")
    return [item for item, _ in usable], stacked


def _vectors(encoder: Encoder, clips: Sequence[Clip]) -> list[Tensor | None]:
    """The speaker vector of each clip; None for a clip that is too short."""
    try:
        return list(encoder.embed_speaker(list(clips), encoder.sample_rate))  # type: ignore[operator]
    except AudioError:
        if len(clips) == 1:
            return [None]
        middle = len(clips) // 2
        return _vectors(encoder, clips[:middle]) + _vectors(encoder, clips[middle:])
