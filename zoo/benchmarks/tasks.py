"""Tasks on a capability of the encoder instead of a probe: transcribe, embed_text, units, and the speed of embed.

Legend: N clips, M texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
from torch import Tensor

from zoo.benchmarks import abx, hallucination, speed, units, verification, wer
from zoo.benchmarks.conditions import Condition
from zoo.benchmarks.confusion import class_details
from zoo.benchmarks.evaluated import (
    caption,
    embed_items,
    items_with,
    read_clips,
    task_result,
    test_items,
    transcribe_clips,
)
from zoo.benchmarks.items import EvalItem, EvalItems, value_of
from zoo.benchmarks.kinds import ADDED, TaskKind
from zoo.benchmarks.results import TaskResult
from zoo.benchmarks.retrieval import Retrieval, chance, classify, relevance_groups, retrieve
from zoo.benchmarks.significance import Interval, ratio_interval, statistic_interval
from zoo.benchmarks.suite import SuiteTask
from zoo.encoder import Encoder
from zoo.errors import ConfigError

Embed = Callable[..., tuple[list[EvalItem], Tensor]]
"""`embed_items`, or an Embedder."""


def unsupported_reason(task: SuiteTask, encoder: Encoder) -> str:
    """Why this encoder does not support this task; empty if it does."""
    if task.kind in ("wer", "hallucination") and not hasattr(encoder, "transcribe"):
        return "it does not transcribe"
    if task.kind in ("retrieval", "zero_shot") and not hasattr(encoder, "embed_text"):
        return "it does not embed text"
    if task.kind == "units" and getattr(encoder, "quantizer", None) is None:
        return "it has no quantizer"
    if task.kind == "verification" and getattr(encoder, "speaker", None) is None:
        return "it has no speaker head"
    if task.kind in ADDED and ADDED[task.kind].unsupported is not None:
        return ADDED[task.kind].unsupported(encoder)  # type: ignore[misc]
    return ""


def run(
    task: SuiteTask,
    items: EvalItems,
    encoder: Encoder,
    condition: Condition | None = None,
    embed: Embed = embed_items,
) -> TaskResult:
    """The score, with a row for each test clip. Raises ConfigError if there is no clip.

    condition: corruption of the clips, for `CORRUPTIBLE` tasks only. embed: `embed_items`, or the Embedder of a run.
    """
    if task.kind in _OF_TEXT:
        return _OF_TEXT[task.kind](task, items, encoder, condition, embed)
    if condition:
        return CORRUPTIBLE[task.kind](task, items, encoder, condition)
    if task.kind in ADDED:
        return _run_added(ADDED[task.kind], task, items, encoder)
    return (CORRUPTIBLE | _RUNNERS)[task.kind](task, items, encoder)


def _run_added(kind: TaskKind, task: SuiteTask, items: EvalItems, encoder: Encoder) -> TaskResult:
    """The score from the rows: the sum of the values divided by the sum of the weights."""
    notes: list[str] = []
    returned = kind.run(notes, task, items, encoder)
    rows, details = returned if isinstance(returned, tuple) else (returned, {})
    rows = list(rows)
    if not rows:
        raise ConfigError("the test split has no clips for this task")
    for row in rows:
        if not {"item", "group", "value", "weight"} <= set(row):
            raise ConfigError(f"kind {task.kind!r}: a row lacks item, group, value or weight: {row}; use result_row")
    value = np.array([row["value"] for row in rows], dtype=float)
    weight = np.array([row["weight"] for row in rows], dtype=float)
    if not (weight >= 0).all() or weight.sum() == 0:
        raise ConfigError(f"kind {task.kind!r}: weights must be 0 or more, and not all 0")
    groups = [str(row["group"]) for row in rows]
    share = bool((value >= 0).all() and (value <= weight).all())
    interval = ratio_interval(value, weight, np.array(groups), share=share)
    fields = {"lower_is_better": kind.lower_is_better, "details": details, "notes": notes, "rows": rows}
    return task_result(kind.metric, float(value.sum() / weight.sum()), interval, groups, **fields)


def _wer(task: SuiteTask, items: EvalItems, encoder: Encoder, condition: Condition | None = None) -> TaskResult:
    notes: list[str] = []
    with_text = items_with(notes, "a transcript", test_items(task, items), lambda item: bool(item.entry.text))
    clips = read_clips(notes, with_text, encoder.sample_rate, condition)
    tested = [item for item, _ in clips]
    hypotheses = transcribe_clips(task, encoder, [clip for _, clip in clips], [item.entry for item in tested])
    truth, groups = [str(item.entry.text) for item in tested], [item.group for item in tested]
    rates = wer.all_error_rates(truth, hypotheses, np.array(groups))
    chosen = rates[task.metric or "basic"]
    names = ("wer", "cer", "substitutions", "deletions", "insertions", "wordless")
    details = {}
    for normalizer, rate in rates.items():
        details[normalizer] = {name: getattr(rate, name) for name in names}
        details[normalizer] |= {"low": rate.interval.low, "high": rate.interval.high, "words": int(rate.words.sum())}
    errors, words = chosen.errors.tolist(), chosen.words.tolist()
    rows = []
    for item, text, hypothesis, error, length in zip(tested, truth, hypotheses, errors, words, strict=True):
        row = {"item": item.key, "group": item.group, "truth": text, "predicted": hypothesis}
        rows.append(row | {"errors": error, "words": length})
    fields = {"lower_is_better": True, "details": details, "notes": notes, "rows": rows}
    return task_result(f"WER, {task.metric or 'basic'}", chosen.wer, chosen.interval, groups, **fields)


def _retrieval(
    task: SuiteTask, items: EvalItems, encoder: Encoder, condition: Condition | None, embed: Embed
) -> TaskResult:
    notes: list[str] = []
    with_caption = items_with(notes, "a caption", test_items(task, items), lambda item: bool(caption(item)))
    tested, vectors = embed(notes, with_caption, encoder, condition)
    captions = [caption(item) for item in tested]
    same = relevance_groups([item.entry for item in tested], captions, task.target)
    texts = encoder.embed_text(captions)  # type: ignore[operator]
    answers, queries = (texts, vectors) if task.queries == "audio" else (vectors, texts)
    result = retrieve(answers, queries, np.arange(len(tested)), same)
    groups = [item.group for item in tested]
    metrics = _retrieval_metrics(result, np.array(groups))
    interval = Interval(metrics["MRR"]["low"], metrics["MRR"]["high"])
    details = {
        "recall@1": result.recall(1),
        "recall@10": result.recall(10),
        "median rank": result.median_rank,
        "chance": metrics["MRR"]["chance"],
        "metrics": metrics,
    }
    rows = []
    for item, text, rank in zip(tested, captions, result.ranks.tolist(), strict=True):
        rows.append({"item": item.key, "group": item.group, "truth": text, "rank": rank})
    fields = {"details": details, "notes": notes, "rows": rows}
    return task_result("MRR", result.mean_reciprocal_rank, interval, groups, **fields)


def _retrieval_metrics(result: Retrieval, groups: np.ndarray) -> dict[str, dict[str, float]]:
    """Each metric with its interval, and its value for a random order."""
    by_chance = chance(result.relevant.sum(1), len(groups))
    metrics = {}
    for name, values in result.per_query().items():
        interval = ratio_interval(values, np.ones(len(values)), groups)
        metrics[name] = {"score": float(values.mean()), "low": interval.low, "high": interval.high}
    ranks = result.ranks
    interval = statistic_interval(lambda chosen: float(np.median(ranks[chosen])), groups)
    metrics["median rank"] = {"score": result.median_rank, "low": interval.low, "high": interval.high}
    for name, metric in metrics.items():
        metric["chance"] = by_chance[name]
    return metrics


def _zero_shot(
    task: SuiteTask, items: EvalItems, encoder: Encoder, condition: Condition | None, embed: Embed
) -> TaskResult:
    notes: list[str] = []
    with_target = items_with(
        notes, task.target, test_items(task, items), lambda item: value_of(item.entry, task.target) is not None
    )
    classes = sorted({str(value_of(item.entry, task.target)) for item in with_target})
    if len(classes) < 2:
        raise ConfigError(f"the test split has one class only: {classes[0]}")
    tested, vectors = embed(notes, with_target, encoder, condition)
    together, single = classify(vectors, classes, encoder.embed_text, task.templates)  # type: ignore[arg-type]
    truth = np.array([classes.index(str(value_of(item.entry, task.target))) for item in tested])
    groups = [item.group for item in tested]
    correct = together == truth
    interval = ratio_interval(correct.astype(float), np.ones(len(correct)), np.array(groups))
    details = {
        "classes": classes,
        "chance": 1 / len(classes),
        "by template": dict(zip(task.templates, (single == truth).mean(1).tolist(), strict=True)),
    }
    details |= class_details(classes, truth, together[None])
    rows = []
    for item, right, predicted in zip(tested, truth, together, strict=True):
        row = {"item": item.key, "group": item.group}
        rows.append(row | {"truth": classes[right], "predicted": classes[predicted]})
    fields = {"details": details, "notes": notes, "rows": rows}
    return task_result("accuracy", float(correct.mean()), interval, groups, **fields)


def _speed(task: SuiteTask, items: EvalItems, encoder: Encoder) -> TaskResult:
    measured = speed.measure(encoder)
    factors = measured.real_time_factor, measured.slowest, measured.fastest
    return TaskResult("x real time", *factors, details=asdict(measured))


_OF_TEXT: dict[str, Callable[..., TaskResult]] = {"retrieval": _retrieval, "zero_shot": _zero_shot}
CORRUPTIBLE: dict[str, Callable[..., TaskResult]] = {"wer": _wer, **_OF_TEXT}
_RUNNERS: dict[str, Callable[..., TaskResult]] = {
    "speed": _speed,
    "units": units.run,
    "abx": abx.run,
    "verification": verification.run,
    "hallucination": hallucination.run,
}
