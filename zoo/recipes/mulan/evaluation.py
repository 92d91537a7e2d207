"""Evaluation of a trained MuLan on held-out clips: retrieval, zero-shot classification, probes, and three baselines.

before      the model before training: untrained, unless training started from given weights
ridge       linear regression from mean and deviation of a clip's log-mel to the trained model's text embeddings
chance      a random order

Legend: N clips, D width, C classes, S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from zoo.benchmarks import chance
from zoo.benchmarks.metrics import average_precision
from zoo.benchmarks.probe import ProbeConfig, Split, probe
from zoo.benchmarks.retrieval import classify, retrieve
from zoo.benchmarks.significance import (
    Comparison,
    Interval,
    paired_bootstrap,
    ratio_interval,
    seeds_interval,
    statistic_interval,
)
from zoo.data.dataset import AudioDataset
from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.models.mulan.model import MuLan
from zoo.nn.eval_mode import eval_mode
from zoo.recipes.mulan.config import EvaluationConfig, ZeroShot
from zoo.recipes.mulan.spectra import Spectrograms, stride
from zoo.recipes.mulan.texts import Texts

CLIPS = 64  # embedded together
TRAINED, BEFORE, RIDGE = "trained", "before training", "ridge on log-mel"
DIRECTIONS = ("text to music", "music to text")


@dataclass
class MulanScore:
    """One score of one model. chance: of a random order; per_item (N,): scores of items, if `value` is their mean."""

    task: str
    metric: str
    model: str
    value: float
    interval: Interval
    chance: float
    details: dict[str, Any] = field(default_factory=dict)
    per_item: np.ndarray | None = None


@dataclass
class MulanEvaluation:
    """All scores. comparisons: (task, metric, other model) -> trained minus other."""

    rows: list[MulanScore]
    comparisons: dict[tuple[str, str, str], Comparison]
    clips: int
    groups: int


@dataclass
class EmbeddedModel:
    """A model under test. audio (N, D): its embeddings of the test clips."""

    name: str
    audio: Tensor
    embed_text: Callable[[Sequence[str]], Tensor]


def evaluate(
    trained: MuLan, before: MuLan, datasets: Mapping[str, AudioDataset], texts: Texts, config: EvaluationConfig
) -> MulanEvaluation:
    """Evaluate all models on all tasks. datasets: Spectrograms of train, dev and test; unreadable clips are left out.

    Raises ConfigError if a split has fewer than two readable clips, or if all texts of train are the same.
    """
    max_clips = {"train": config.ridge_clips}
    splits = {name: cast(Spectrograms, data).readable(max_clips.get(name)) for name, data in datasets.items()}
    if few := [name for name, data in splits.items() if len(data) < 2]:
        raise ConfigError(
            f"{len(splits[few[0]])} of {len(datasets[few[0]])} {few[0]} clips can be read; at least 2 are needed"
        )
    entries = {name: list(data.entries) for name, data in splits.items()}
    groups = {name: group_numbers(chosen, config.group) for name, chosen in entries.items()}
    indices = {name: np.arange(len(data)) for name, data in splits.items()}  # clips for probes
    indices["train"] = indices["train"][:: stride(len(splits["train"]), config.train_clips)]
    embedded = {
        model_name: {
            name: embed_clips(model, splits[name], indices[name]) for name in (splits if config.probes else ["test"])
        }
        for model_name, model in ((TRAINED, trained), (BEFORE, before))
    }
    mel_statistics = {name: statistics(data) for name, data in splits.items()}
    models = [
        EmbeddedModel(TRAINED, embedded[TRAINED]["test"], trained.embed_text),
        EmbeddedModel(BEFORE, embedded[BEFORE]["test"], before.embed_text),
        EmbeddedModel(RIDGE, ridge(mel_statistics, entries, groups, trained, texts), trained.embed_text),
    ]
    queries = [texts.first(entry) for entry in entries["test"]]
    same = relevance_groups(entries["test"], queries, config.same)
    rows = [row for model in models for row in retrieval(model, queries, same, groups["test"])]
    for task in config.zero_shot:
        rows += [row for model in models for row in zero_shot(model, task, entries["test"], groups["test"])]
    features = embedded | {RIDGE: {name: mel_statistics[name][chosen] for name, chosen in indices.items()}}
    probe_entries = {name: [entries[name][i] for i in chosen] for name, chosen in indices.items()}
    probe_groups = {name: groups[name][chosen] for name, chosen in indices.items()}
    rows += [row for column in config.probes for row in probes(column, features, probe_entries, probe_groups)]
    return MulanEvaluation(rows, _compare(rows, groups["test"]), len(queries), len(set(groups["test"].tolist())))


def embed_clips(model: MuLan, data: Spectrograms, indices: np.ndarray) -> Tensor:
    """Embeddings of whole clips from their spectrograms: (N, D), equal to those of model.embed."""
    parts = []
    with eval_mode(model):
        for first in range(0, len(indices), CLIPS):
            mels = [data.spectrogram(index) for index in indices[first : first + CLIPS].tolist()]
            lengths = torch.tensor([len(mel) for mel in mels])
            counts = torch.tensor([model.count_frames(int(n) * data.logmel.hop) for n in lengths]).clamp(min=1)
            padded = pad_sequence(mels, batch_first=True).float()  # (B, T, mels)
            x = model.embed_windows(*(part.to(model.device) for part in (padded, lengths, counts)))  # (B, windows, D)
            parts.append(normalize(x.sum(1), dim=-1).cpu())
    return torch.cat(parts)


def statistics(data: Spectrograms) -> Tensor:
    """Mean and standard deviation over time of every mel: (N, 2 mels)."""
    whole = (data.spectrogram(index).float() for index in range(len(data)))
    return torch.stack([torch.cat([mel.mean(0), mel.std(0, correction=0)]) for mel in whole])


def ridge(
    features: Mapping[str, Tensor],
    entries: Mapping[str, Sequence[Entry]],
    groups: Mapping[str, np.ndarray],
    model: MuLan,
    texts: Texts,
) -> Tensor:
    """Ridge regression from log-mel statistics to the mean embedding of a clip's texts: its predictions (N, D) on test.

    The penalty is chosen on dev.
    """

    def target(entry: Entry) -> np.ndarray:
        all_texts = [text for kind in texts.of(entry).values() for text in kind]
        return model.embed_text(all_texts).mean(0).numpy()

    train, dev, test = (
        Split(_constant(features[name]), np.stack([target(entry) for entry in entries[name]]), groups[name])
        for name in ("train", "dev", "test")
    )
    result = probe(train, dev, test, [0], ProbeConfig(kind="value", metric="r2"))
    return normalize(torch.from_numpy(result.outputs.mean(0)).float(), dim=1)


def retrieval(model: EmbeddedModel, texts: Sequence[str], same: np.ndarray, groups: np.ndarray) -> Iterator[MulanScore]:
    """Retrieval scores in both directions, among the N test clips and one text for each of them.

    same (N,): items with the same number are relevant to each other. groups (N,): resampled for intervals.
    """
    text, count = model.embed_text(texts), len(texts)
    relevant = same[:, None] == same[None, :]  # (N, N)
    for task, answers, queries in zip(DIRECTIONS, (model.audio, text), (text, model.audio), strict=True):
        retrieved = retrieve(answers, queries, np.arange(count), same)
        ranks = retrieved.ranks
        scores = (normalize(queries, dim=1) @ normalize(answers, dim=1).T).numpy()
        per_item = {f"R@{k}": retrieved.found_in(k) for k in (1, 5, 10)} | {
            "MRR": 1 / ranks,
            "mAP": np.array([average_precision(s, r) for s, r in zip(scores, relevant, strict=True)]),
        }
        by_chance = chance.retrieval(relevant.sum(1), count)
        for metric, values in per_item.items():
            interval = ratio_interval(values, np.ones(count), groups)
            row = MulanScore(task, metric, model.name, float(values.mean()), interval, by_chance[metric])
            row.per_item = values
            yield row
        spread = statistic_interval(lambda chosen, ranks=ranks: float(np.median(ranks[chosen])), groups)  # type: ignore[misc]
        yield MulanScore(task, "median rank", model.name, float(np.median(ranks)), spread, by_chance["median rank"])


def zero_shot(
    model: EmbeddedModel, task: ZeroShot, entries: Sequence[Entry], groups: np.ndarray
) -> Iterator[MulanScore]:
    """Accuracy with all prompts together. details: accuracy of each prompt, and the share of the commonest class."""
    column = task.column
    labeled = np.array([i for i, entry in enumerate(entries) if entry.labels.get(column) is not None], dtype=int)
    names = [str(entries[i].labels[column]) for i in labeled]
    classes = sorted(set(names))
    if len(classes) < 2:
        return
    truth = np.array([classes.index(name) for name in names])
    together, by_prompt = classify(model.audio[labeled], classes, model.embed_text, task.templates)
    hits = (together == truth).astype(float)
    details = {
        "classes": len(classes),
        "commonest class": float(np.bincount(truth).max() / len(truth)),
        "by prompt": dict(zip(task.templates, (by_prompt == truth).mean(1).tolist(), strict=True)),
    }
    interval = ratio_interval(hits, np.ones(len(hits)), groups[labeled])
    row = MulanScore(
        f"zero-shot {column}", "accuracy", model.name, float(hits.mean()), interval, 1 / len(classes), details
    )
    row.per_item = np.full(len(entries), np.nan)
    row.per_item[labeled] = hits
    yield row


def probes(
    column: str,
    features: Mapping[str, Mapping[str, Tensor]],
    entries: Mapping[str, Sequence[Entry]],
    groups: Mapping[str, np.ndarray],
) -> Iterator[MulanScore]:
    """Accuracy of linear classifiers on clip embeddings and on log-mel statistics. Classes are the labels of train."""
    labels = {name: [entry.labels.get(column) for entry in chosen] for name, chosen in entries.items()}
    classes = sorted({str(label) for label in labels["train"] if label is not None})
    if len(classes) < 2:
        return
    indices = {
        name: np.array([i for i, label in enumerate(of_split) if str(label) in classes], dtype=int)
        for name, of_split in labels.items()
    }
    if not len(indices["dev"]) or not len(indices["test"]):
        return
    targets = {
        name: np.array([classes.index(str(labels[name][i])) for i in chosen]) for name, chosen in indices.items()
    }
    commonest = float(np.bincount(targets["test"]).max() / len(targets["test"]))
    for model, of_model in features.items():
        train, dev, test = (
            Split(_constant(of_model[name][indices[name]]), targets[name], groups[name][indices[name]])
            for name in ("train", "dev", "test")
        )
        result = probe(train, dev, test, [0], ProbeConfig())
        correct = (result.outputs == targets["test"]).astype(float)  # (S, N)
        interval = seeds_interval(correct, groups["test"][indices["test"]])
        details = {"classes": len(classes), "penalty": result.penalty}
        yield MulanScore(f"probe {column}", "accuracy", model, float(correct.mean()), interval, commonest, details)


def _constant(x: Tensor) -> Callable[[int], Tensor]:
    return lambda layer: x


def group_numbers(entries: Sequence[Entry], column: str | None) -> np.ndarray:
    """A group number for each clip: clips with the same value share one, a clip without a value is its own group."""
    values = [entry.labels.get(column) if column else None for entry in entries]
    names = [f"item {i}" if value is None else f"value {value}" for i, value in enumerate(values)]
    return np.unique(names, return_inverse=True)[1]


def relevance_groups(entries: Sequence[Entry], texts: Sequence[str], column: str | None) -> np.ndarray:
    """A number for each clip: clips with the same number are equally right answers.

    They have the same value of the column or, without a column, the same text.
    """
    if column and any(entry.labels.get(column) is not None for entry in entries):
        return group_numbers(entries, column)
    return np.unique(list(texts), return_inverse=True)[1]


def _compare(rows: Sequence[MulanScore], groups: np.ndarray) -> dict[tuple[str, str, str], Comparison]:
    """The trained model compared with each other model, on the same items."""
    best = {(row.task, row.metric): row.per_item for row in rows if row.model == TRAINED}
    comparisons = {}
    for row in rows:
        own = best[row.task, row.metric]
        if row.model != TRAINED and own is not None and row.per_item is not None:
            scored = ~np.isnan(own)
            pair = own[scored], row.per_item[scored], np.ones(int(scored.sum())), groups[scored]
            comparisons[row.task, row.metric, row.model] = paired_bootstrap(*pair)
    return comparisons
