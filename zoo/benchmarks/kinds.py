"""Names of the kinds of tasks, and kinds that are added from outside of this package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zoo.errors import ConfigError

CLASSIFIERS = ("kshot", "knn", "mlp")
"""Published protocols that train a classifier on frozen features."""
PROBES = ("class", "tags", "value", "phones", *CLASSIFIERS)
UNSUPERVISED = ("clustering", "pairs")
"""Kinds that compare the features of test clips with each other, without training."""
ROBUST = (*PROBES, "wer", "retrieval", "zero_shot")
"""Kinds that `robustness` supports."""
OF_TEXT = ("retrieval", "zero_shot")
"""Kinds for models that embed audio and text. Ridge regression is their baseline."""
WITHOUT_ENCODER_BASELINES = (*OF_TEXT, "wer", "units", "hallucination")
"""Kinds that MFCC, log-mel and untrained models do not take part in."""
BUILT_IN = (*ROBUST, *UNSUPERVISED, "abx", "robustness", "units", "verification", "hallucination", "speed")


@dataclass(frozen=True)
class TaskKind:
    """A kind of task from outside, see `register_task_kind`."""

    run: Callable[..., Any]
    metric: str
    lower_is_better: bool
    baselines: bool
    unsupported: Callable[[Any], str] | None


ADDED: dict[str, TaskKind] = {}


def names() -> tuple[str, ...]:
    """All kinds, those of this package first."""
    return (*BUILT_IN, *ADDED)


def register_task_kind(
    name: str,
    run: Callable[..., Any],
    *,
    metric: str,
    lower_is_better: bool = False,
    baselines: bool = True,
    unsupported: Callable[[Any], str] | None = None,
) -> None:
    """Add a kind of task; `kind: NAME` in a suite then uses it.

    run: called with (notes, task, items, encoder): a list of remarks to add to, the SuiteTask, all clips of the source
    as EvalItems, and the Encoder. It returns a row for each test clip, made by zoo.benchmarks.evaluated.result_row, or
    a pair: these rows, and a dictionary of details. The score is the sum of the values divided by the sum of the
    weights; its interval and comparisons with other models are computed from the rows. A ConfigError skips the task.
    metric: the name of the score in tables. baselines: evaluate MFCC, log-mel and untrained models too.
    unsupported: called with an encoder; why it does not support these tasks, or "".

    Results are found again by the settings of the task. Use another name when `run` gives other scores.
    Raises ConfigError for a name of this package.
    """
    if not name or name in BUILT_IN:
        raise ConfigError(f"task kind {name!r}: this name is taken or empty; choose another one")
    ADDED[name] = TaskKind(run, metric, lower_is_better, baselines, unsupported)
