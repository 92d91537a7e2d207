"""Tasks that use a verb of the encoder instead of a probe: transcribe, embed_text, and embedding itself, timed.

Legend: N clips, M texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import yaml
from torch import Tensor

from zoo import audio
from zoo.benchmarks import speed, wer
from zoo.benchmarks.items import Item, Items, value_of
from zoo.benchmarks.results import Record, Rows
from zoo.benchmarks.retrieval import classify, retrieve
from zoo.benchmarks.significance import ratio_interval
from zoo.benchmarks.suite import Task
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError, MissingDependencyError

_BATCH = 16  # clips


@runtime_checkable
class Transcribes(Protocol):
    def transcribe(self, waves: Any, sample_rate: int | None = None, **options: Any) -> Any: ...


@runtime_checkable
class EmbedsText(Protocol):
    def embed_text(self, texts: Any) -> Tensor: ...


def missing_verb(task: Task, encoder: Encoder) -> str:
    """Why this encoder cannot sit this task; empty if it can."""
    if task.kind == "wer" and not isinstance(encoder, Transcribes):
        return "it does not transcribe"
    if task.kind in ("retrieval", "zero_shot") and not isinstance(encoder, EmbedsText):
        return "it does not embed text"
    return ""


def run(record: Record, task: Task, items: Items, encoder: Encoder) -> Rows:
    """Fill the record; returns what was said of each test clip. Raises ConfigError where there is nothing to ask."""
    return _RUNNERS[task.kind](record, task, items, encoder)


def _wer(record: Record, task: Task, items: Items, encoder: Encoder) -> Rows:
    asked = [item for item in _test_items(task, items) if item.entry.text]
    if not asked:
        raise ConfigError("no clip of test has a transcript")
    options = {key: yaml.safe_load(value) for key, value in task.options.items()}
    said: list[str] = []
    readable = _readable(record, asked, encoder.sample_rate)
    for start in range(0, len(readable), _BATCH):
        clips = [clip for _, clip in readable[start : start + _BATCH]]
        said += [t.text for t in encoder.transcribe(clips, encoder.sample_rate, **options)]  # type: ignore[operator]
    known = [item for item, _ in readable]
    truth, groups = [str(item.entry.text) for item in known], np.array([item.group for item in known])
    rates = wer.all_error_rates(truth, said, groups)
    chosen = rates[task.metric or "basic"]
    record.metric, record.lower_is_better = f"WER, {task.metric or 'basic'}", True
    record.score, record.low, record.high = chosen.wer, chosen.interval.low, chosen.interval.high
    record.test_items, record.groups = len(known), len(set(groups.tolist()))
    fields = ("wer", "cer", "substitutions", "deletions", "insertions", "left_out")
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


def _retrieval(record: Record, task: Task, items: Items, encoder: Encoder) -> Rows:
    asked = [item for item in _test_items(task, items) if item.entry.captions]
    if not asked:
        raise ConfigError("no clip of test has captions")
    known, vectors = _embed(record, asked, encoder)
    captions = [item.entry.captions[0] for item in known]
    same = np.unique(captions, return_inverse=True)[1]
    texts = encoder.embed_text(captions)  # type: ignore[operator]
    found = retrieve(vectors, texts, np.arange(len(known)), same)
    groups = np.array([item.group for item in known])
    interval = ratio_interval(1 / found.ranks, np.ones(len(known)), groups)
    record.metric, record.score, record.low, record.high = (
        "MRR",
        found.mean_reciprocal_rank,
        interval.low,
        interval.high,
    )
    record.test_items, record.groups = len(known), len(set(groups.tolist()))
    chance = float((1 / np.arange(1, len(known) + 1)).mean())
    record.details = {
        "recall@1": found.recall_at_1,
        "recall@10": found.recall_at_10,
        "median rank": found.median_rank,
        "chance": chance,
    }
    rows = zip(known, captions, found.ranks.tolist(), strict=True)
    return [{"item": i.key, "group": i.group, "truth": caption, "rank": rank} for i, caption, rank in rows]


def _zero_shot(record: Record, task: Task, items: Items, encoder: Encoder) -> Rows:
    asked = [item for item in _test_items(task, items) if value_of(item.entry, task.target) is not None]
    classes = sorted({str(value_of(item.entry, task.target)) for item in asked})
    if len(classes) < 2:
        raise ConfigError("test has one class only")
    known, vectors = _embed(record, asked, encoder)
    together, alone = classify(vectors, classes, encoder.embed_text, task.templates)  # type: ignore[arg-type]
    truth = np.array([classes.index(str(value_of(item.entry, task.target))) for item in known])
    groups = np.array([item.group for item in known])
    right = together == truth
    interval = ratio_interval(right.astype(float), np.ones(len(right)), groups)
    record.metric, record.score = "accuracy", float(right.mean())
    record.low, record.high = interval.low, interval.high
    record.test_items, record.groups = len(known), len(set(groups.tolist()))
    record.details = {
        "classes": classes,
        "chance": 1 / len(classes),
        "by template": dict(zip(task.templates, (alone == truth).mean(1).tolist(), strict=True)),
    }
    rows = zip(known, truth, together, strict=True)
    return [{"item": i.key, "group": i.group, "truth": classes[t], "predicted": classes[p]} for i, t, p in rows]


def _speed(record: Record, task: Task, items: Items, encoder: Encoder) -> Rows:
    found = speed.measure(encoder)
    record.metric, record.score = "x real time", found.real_time_factor
    record.low, record.high = found.slowest, found.fastest
    record.details = asdict(found)
    return []


_RUNNERS: dict[str, Callable[[Record, Task, Items, Encoder], Rows]] = {
    "wer": _wer,
    "retrieval": _retrieval,
    "zero_shot": _zero_shot,
    "speed": _speed,
}


def _test_items(task: Task, items: Items) -> list[Item]:
    return [items.items[place] for place in items.chosen(task) if items.items[place].entry.split == "test"]


def _readable(record: Record, asked: Sequence[Item], sample_rate: int) -> list[tuple[Item, audio.Clip]]:
    """The clips that can be decoded; the others are noted."""
    found, failed = [], []
    for item in asked:
        try:
            clip = audio.load(item.entry.audio, sample_rate, start=item.entry.start, end=item.entry.end)
        except (AudioError, MissingDependencyError) as error:
            failed.append(f"{item.key}: {getattr(error, 'reason', error)}")
            continue
        found.append((item, clip))
    if not found:
        raise ConfigError(f"no clip of test can be read, e.g. {failed[0]}")
    if failed:
        record.notes.append(f"{len(failed)} of {len(asked)} clips could not be used, e.g. {failed[0]}")
    return found


def _embed(record: Record, asked: Sequence[Item], encoder: Encoder) -> tuple[list[Item], Tensor]:
    """The clips that can be embedded, and their vectors (N, D)."""
    readable = _readable(record, asked, encoder.sample_rate)
    usable = [(item, clip) for item, clip in readable if encoder.count_frames(len(clip))]
    if len(usable) < len(readable):
        record.notes.append(f"{len(readable) - len(usable)} clips are too short for this encoder and are left out")
    if not usable:
        raise ConfigError("no clip of test is long enough for this encoder")
    vectors = [
        encoder.embed([clip for _, clip in usable[start : start + _BATCH]], encoder.sample_rate)
        for start in range(0, len(usable), _BATCH)
    ]
    return [item for item, _ in usable], torch.cat(vectors)
