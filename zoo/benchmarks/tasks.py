"""Tasks that use a verb of the encoder instead of a probe: transcribe, embed_text, units, and embedding itself, timed.

Legend: N clips, M texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from zoo.benchmarks import chance, hallucination, speed, units, wer
from zoo.benchmarks.conditions import Condition
from zoo.benchmarks.evaluated import embedded, having, readable, score, test_items, transcripts
from zoo.benchmarks.items import EvalItems, value_of
from zoo.benchmarks.results import Record, Rows
from zoo.benchmarks.retrieval import classify, retrieve
from zoo.benchmarks.significance import ratio_interval
from zoo.benchmarks.suite import SuiteTask
from zoo.encoder import Encoder
from zoo.errors import ConfigError


@runtime_checkable
class Transcribes(Protocol):
    def transcribe(self, waves: Any, sample_rate: int | None = None, **options: Any) -> Any: ...


@runtime_checkable
class EmbedsText(Protocol):
    def embed_text(self, texts: Any) -> Tensor: ...


def unsupported_reason(task: SuiteTask, encoder: Encoder) -> str:
    """Why this encoder cannot sit this task; empty if it can."""
    if task.kind in ("wer", "hallucination") and not isinstance(encoder, Transcribes):
        return "it does not transcribe"
    if task.kind in ("retrieval", "zero_shot") and not isinstance(encoder, EmbedsText):
        return "it does not embed text"
    if task.kind == "units" and getattr(encoder, "quantizer", None) is None:
        return "it has no quantizer"
    return ""


def run(
    record: Record, task: SuiteTask, items: EvalItems, encoder: Encoder, condition: Condition | None = None
) -> Rows:
    """Fill the record; returns what was said of each test clip. Raises ConfigError where there is nothing to ask.

    condition: what happens to the clips before; of `CORRUPTIBLE` tasks alone.
    """
    if condition:
        return CORRUPTIBLE[task.kind](record, task, items, encoder, condition)
    return (CORRUPTIBLE | _RUNNERS)[task.kind](record, task, items, encoder)


def _wer(
    record: Record, task: SuiteTask, items: EvalItems, encoder: Encoder, condition: Condition | None = None
) -> Rows:
    asked = having(record, "a transcript", test_items(task, items), lambda item: bool(item.entry.text))
    found = readable(record, asked, encoder.sample_rate, condition)
    said = transcripts(task, encoder, [clip for _, clip in found])
    known = [item for item, _ in found]
    truth, groups = [str(item.entry.text) for item in known], [item.group for item in known]
    rates = wer.all_error_rates(truth, said, np.array(groups))
    chosen = rates[task.metric or "basic"]
    record.lower_is_better = True
    score(record, f"WER, {task.metric or 'basic'}", chosen.wer, chosen.interval, groups)
    fields = ("wer", "cer", "substitutions", "deletions", "insertions", "wordless")
    record.details = {
        name: {f: getattr(found, f) for f in fields}
        | {"low": found.interval.low, "high": found.interval.high, "words": int(found.words.sum())}
        for name, found in rates.items()
    }
    errors, words = chosen.errors.tolist(), chosen.words.tolist()
    rows = zip(known, truth, said, errors, words, strict=True)
    return [
        {"item": i.key, "group": i.group, "truth": t, "predicted": s, "errors": e, "words": w} for i, t, s, e, w in rows
    ]


def _retrieval(
    record: Record, task: SuiteTask, items: EvalItems, encoder: Encoder, condition: Condition | None = None
) -> Rows:
    asked = having(record, "a caption", test_items(task, items), lambda item: bool(item.entry.captions))
    known, vectors = embedded(record, asked, encoder, condition)
    captions = [item.entry.captions[0] for item in known]
    same = np.unique(captions, return_inverse=True)[1]
    texts = encoder.embed_text(captions)  # type: ignore[operator]
    found = retrieve(vectors, texts, np.arange(len(known)), same)
    groups = [item.group for item in known]
    interval = ratio_interval(1 / found.ranks, np.ones(len(known)), np.array(groups))
    score(record, "MRR", found.mean_reciprocal_rank, interval, groups)
    record.details = {
        "recall@1": found.recall(1),
        "recall@10": found.recall(10),
        "median rank": found.median_rank,
        "chance": chance.retrieval((same[:, None] == same).sum(1), len(same))["MRR"],
    }
    rows = zip(known, captions, found.ranks.tolist(), strict=True)
    return [{"item": i.key, "group": i.group, "truth": caption, "rank": rank} for i, caption, rank in rows]


def _zero_shot(
    record: Record, task: SuiteTask, items: EvalItems, encoder: Encoder, condition: Condition | None = None
) -> Rows:
    asked = having(
        record, task.target, test_items(task, items), lambda item: value_of(item.entry, task.target) is not None
    )
    classes = sorted({str(value_of(item.entry, task.target)) for item in asked})
    if len(classes) < 2:
        raise ConfigError(f"the test split has one class only: {classes[0]}")
    known, vectors = embedded(record, asked, encoder, condition)
    together, alone = classify(vectors, classes, encoder.embed_text, task.templates)  # type: ignore[arg-type]
    truth = np.array([classes.index(str(value_of(item.entry, task.target))) for item in known])
    groups = [item.group for item in known]
    right = together == truth
    interval = ratio_interval(right.astype(float), np.ones(len(right)), np.array(groups))
    score(record, "accuracy", float(right.mean()), interval, groups)
    record.details = {
        "classes": classes,
        "chance": 1 / len(classes),
        "by template": dict(zip(task.templates, (alone == truth).mean(1).tolist(), strict=True)),
    }
    rows = zip(known, truth, together, strict=True)
    return [{"item": i.key, "group": i.group, "truth": classes[t], "predicted": classes[p]} for i, t, p in rows]


def _speed(record: Record, task: SuiteTask, items: EvalItems, encoder: Encoder) -> Rows:
    found = speed.measure(encoder)
    record.metric, record.score = "x real time", found.real_time_factor
    record.low, record.high = found.slowest, found.fastest
    record.details = asdict(found)
    return []


CORRUPTIBLE: dict[str, Callable[..., Rows]] = {"wer": _wer, "retrieval": _retrieval, "zero_shot": _zero_shot}
_RUNNERS: dict[str, Callable[..., Rows]] = {"speed": _speed, "units": units.run, "hallucination": hallucination.run}
