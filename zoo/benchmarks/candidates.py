"""The layers and poolings that a task may choose from on dev.

A candidate is a layer with a pooling, as one number: k < L is layer k with the pooling of the task, or with the mean if
the pooling is chosen too (pooling: best); k >= L is layer k - L with mean and standard deviation.

Legend: N clips, D width, L layers.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from zoo.benchmarks.features import Features
from zoo.benchmarks.suite import SuiteTask


def of(task: SuiteTask, layers: int) -> list[int]:
    """What the task may choose from: all layers, or the last one; each with one pooling, or with two."""
    chosen = [layers - 1] if task.layers == "last" else list(range(layers))
    if task.pooling == "best":
        chosen += [layers + layer for layer in chosen]
    return chosen


def has_choice(task: SuiteTask) -> bool:
    """Is there anything to choose on dev? If not, k-shot and kNN need no dev clips."""
    return task.layers != "last" or task.pooling == "best"


def layer_and_pooling(task: SuiteTask, layers: int, candidate: int) -> tuple[int, str]:
    """The layer and the pooling of a candidate."""
    if task.pooling != "best":
        return candidate, task.pooling
    return candidate % layers, "mean" if candidate < layers else "stats"


def pooled(task: SuiteTask, features: Features, candidate: int, clips: np.ndarray) -> Tensor:
    """Features of clips for a candidate: (N, D), or (N, 2 D) with the standard deviation."""
    layer, pooling = layer_and_pooling(task, features.layers, candidate)
    return features.pooled(layer, clips, pooling)
