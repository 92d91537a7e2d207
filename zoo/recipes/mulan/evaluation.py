"""What training was good for: retrieval, zero-shot classes and probes on held-out clips, beside three others.

before      the model as training began: untrained, unless it began with weights
ridge       linear regression from mean and deviation of the clip's log-mel to the trained model's text embeddings: all
            that a contrastive model is expected to beat
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

CLIPS = 64  # embedded at once
TRAINED, BEFORE, RIDGE = "trained", "before training", "ridge on log-mel"
DIRECTIONS = ("text to music", "music to text")


@dataclass
class MulanScore:
    """One figure. chance: what a random order gives; per_item (N,): what it is the mean of, where there is such."""

    task: str
    metric: str
    subject: str
    value: float
    interval: Interval
    chance: float
    details: dict[str, Any] = field(default_factory=dict)
    per_item: np.ndarray | None = None


@dataclass
class MulanEvaluation:
    """All figures; comparisons: (task, metric, other subject) -> trained minus other."""

    rows: list[MulanScore]
    comparisons: dict[tuple[str, str, str], Comparison]
    clips: int
    groups: int


@dataclass
class EmbeddedModel:
    """One that is examined. audio (N, D): its embeddings of the test clips."""

    name: str
    audio: Tensor
    embed_text: Callable[[Sequence[str]], Tensor]


def evaluate(
    trained: MuLan, before: MuLan, datasets: Mapping[str, AudioDataset], texts: Texts, config: EvaluationConfig
) -> MulanEvaluation:
    """All questions to all subjects. datasets: Spectrograms of train, dev and test; unreadable clips are left out.

    Raises ConfigError where fewer than two clips of a split can be read, or all texts of train are the same.
    """
    most = {"train": config.ridge_clips}
    splits = {name: cast(Spectrograms, data).readable(most.get(name)) for name, data in datasets.items()}
    if few := [name for name, data in splits.items() if len(data) < 2]:
        raise ConfigError(f"{len(splits[few[0]])} of {len(datasets[few[0]])} {few[0]} clips can be read; it takes 2")
    entries = {name: list(data.entries) for name, data in splits.items()}
    groups = {name: numbered(chosen, config.group) for name, chosen in entries.items()}
    places = {name: np.arange(len(data)) for name, data in splits.items()}  # that probes see
    places["train"] = places["train"][:: stride(len(splits["train"]), config.train_clips)]
    embedded = {
        subject: {
            name: embed_clips(model, splits[name], places[name]) for name in (splits if config.probes else ["test"])
        }
        for subject, model in ((TRAINED, trained), (BEFORE, before))
    }
    measured = {name: statistics(data) for name, data in splits.items()}
    subjects = [
        EmbeddedModel(TRAINED, embedded[TRAINED]["test"], trained.embed_text),
        EmbeddedModel(BEFORE, embedded[BEFORE]["test"], before.embed_text),
        EmbeddedModel(RIDGE, ridge(measured, entries, groups, trained, texts), trained.embed_text),
    ]
    wanted = [texts.first(entry) for entry in entries["test"]]
    same = alike(entries["test"], wanted, config.same)
    rows = [row for s in subjects for row in retrieval(s, wanted, same, groups["test"])]
    for question in config.zero_shot:
        rows += [row for s in subjects for row in zero_shot(s, question, entries["test"], groups["test"])]
    features = embedded | {RIDGE: {name: measured[name][chosen] for name, chosen in places.items()}}
    seen = {name: [entries[name][place] for place in chosen] for name, chosen in places.items()}
    units = {name: groups[name][chosen] for name, chosen in places.items()}
    rows += [row for column in config.probes for row in probes(column, features, seen, units)]
    return MulanEvaluation(rows, _compare(rows, groups["test"]), len(wanted), len(set(groups["test"].tolist())))


def embed_clips(model: MuLan, data: Spectrograms, places: np.ndarray) -> Tensor:
    """What model.embed gives for whole clips, from their spectrograms: (N, D)."""
    parts = []
    with eval_mode(model):
        for first in range(0, len(places), CLIPS):
            mels = [data.spectrogram(place) for place in places[first : first + CLIPS].tolist()]
            lengths = torch.tensor([len(mel) for mel in mels])
            counts = torch.tensor([model.count_frames(int(n) * data.logmel.hop) for n in lengths]).clamp(min=1)
            padded = pad_sequence(mels, batch_first=True).float()  # (B, T, mels)
            x = model.embed_windows(*(part.to(model.device) for part in (padded, lengths, counts)))  # (B, windows, D)
            parts.append(normalize(x.sum(1), dim=-1).cpu())
    return torch.cat(parts)


def statistics(data: Spectrograms) -> Tensor:
    """Mean and standard deviation over time of every mel: (N, 2 mels)."""
    whole = (data.spectrogram(place).float() for place in range(len(data)))
    return torch.stack([torch.cat([mel.mean(0), mel.std(0, correction=0)]) for mel in whole])


def ridge(
    features: Mapping[str, Tensor],
    entries: Mapping[str, Sequence[Entry]],
    groups: Mapping[str, np.ndarray],
    model: MuLan,
    texts: Texts,
) -> Tensor:
    """Log-mel statistics regressed to the mean embedding of a clip's texts, penalty chosen on dev: (N, D) on test."""

    def target(entry: Entry) -> np.ndarray:
        every = [text for kind in texts.of(entry).values() for text in kind]
        return model.embed_text(every).mean(0).numpy()

    train, dev, test = (
        Split(_always(features[name]), np.stack([target(entry) for entry in entries[name]]), groups[name])
        for name in ("train", "dev", "test")
    )
    found = probe(train, dev, test, [0], ProbeConfig(kind="value", metric="r2"))
    return normalize(torch.from_numpy(found.outputs.mean(0)).float(), dim=1)


def retrieval(
    subject: EmbeddedModel, wanted: Sequence[str], same: np.ndarray, groups: np.ndarray
) -> Iterator[MulanScore]:
    """Both directions. Queries and answers: the test clips, and one text for each."""
    text, count = subject.embed_text(wanted), len(wanted)
    right = same[:, None] == same[None, :]  # (N, N)
    for task, answers, queries in zip(DIRECTIONS, (subject.audio, text), (text, subject.audio), strict=True):
        found = retrieve(answers, queries, np.arange(count), same)
        ranks = found.ranks
        scores = (normalize(queries, dim=1) @ normalize(answers, dim=1).T).numpy()
        per_item = {f"R@{k}": found.found_in(k) for k in (1, 5, 10)} | {
            "MRR": 1 / ranks,
            "mAP": np.array([average_precision(s, r) for s, r in zip(scores, right, strict=True)]),
        }
        by_chance = chance.retrieval(right.sum(1), count)
        for metric, values in per_item.items():
            interval = ratio_interval(values, np.ones(count), groups)
            row = MulanScore(task, metric, subject.name, float(values.mean()), interval, by_chance[metric])
            row.per_item = values
            yield row
        spread = statistic_interval(lambda chosen, ranks=ranks: float(np.median(ranks[chosen])), groups)  # type: ignore[misc]
        yield MulanScore(task, "median rank", subject.name, float(np.median(ranks)), spread, by_chance["median rank"])


def zero_shot(
    subject: EmbeddedModel, question: ZeroShot, entries: Sequence[Entry], groups: np.ndarray
) -> Iterator[MulanScore]:
    """Accuracy with all prompts together; details: with each alone, and the share of the commonest class."""
    column = question.column
    asked = np.array([i for i, entry in enumerate(entries) if entry.labels.get(column) is not None], dtype=int)
    names = [str(entries[i].labels[column]) for i in asked]
    classes = sorted(set(names))
    if len(classes) < 2:
        return
    truth = np.array([classes.index(name) for name in names])
    together, alone = classify(subject.audio[asked], classes, subject.embed_text, question.templates)
    hits = (together == truth).astype(float)
    details = {
        "classes": len(classes),
        "commonest class": float(np.bincount(truth).max() / len(truth)),
        "by prompt": dict(zip(question.templates, (alone == truth).mean(1).tolist(), strict=True)),
    }
    interval = ratio_interval(hits, np.ones(len(hits)), groups[asked])
    row = MulanScore(
        f"zero-shot {column}", "accuracy", subject.name, float(hits.mean()), interval, 1 / len(classes), details
    )
    row.per_item = np.full(len(entries), np.nan)
    row.per_item[asked] = hits
    yield row


def probes(
    column: str,
    features: Mapping[str, Mapping[str, Tensor]],
    entries: Mapping[str, Sequence[Entry]],
    groups: Mapping[str, np.ndarray],
) -> Iterator[MulanScore]:
    """Accuracy of linear classifiers on clip embeddings, and on log-mel statistics; classes that train has."""
    labels = {name: [entry.labels.get(column) for entry in chosen] for name, chosen in entries.items()}
    classes = sorted({str(label) for label in labels["train"] if label is not None})
    if len(classes) < 2:
        return
    places = {
        name: np.array([i for i, label in enumerate(found) if str(label) in classes], dtype=int)
        for name, found in labels.items()
    }
    if not len(places["dev"]) or not len(places["test"]):
        return
    targets = {n: np.array([classes.index(str(labels[n][i])) for i in p]) for n, p in places.items()}
    commonest = float(np.bincount(targets["test"]).max() / len(targets["test"]))
    for subject, found in features.items():
        train, dev, test = (
            Split(_always(found[name][places[name]]), targets[name], groups[name][places[name]])
            for name in ("train", "dev", "test")
        )
        result = probe(train, dev, test, [0], ProbeConfig())
        right = (result.outputs == targets["test"]).astype(float)  # (S, N)
        interval = seeds_interval(right, groups["test"][places["test"]])
        details = {"classes": len(classes), "penalty": result.penalty}
        yield MulanScore(f"probe {column}", "accuracy", subject, float(right.mean()), interval, commonest, details)


def _always(x: Tensor) -> Callable[[int], Tensor]:
    return lambda layer: x


def numbered(entries: Sequence[Entry], column: str | None) -> np.ndarray:
    """A number for each value; clips without one stand for themselves."""
    values = [entry.labels.get(column) if column else None for entry in entries]
    names = [f"item {i}" if value is None else f"value {value}" for i, value in enumerate(values)]
    return np.unique(names, return_inverse=True)[1]


def alike(entries: Sequence[Entry], wanted: Sequence[str], column: str | None) -> np.ndarray:
    """Clips with one number are as right as each other: those with one value of the column, or with one text."""
    if column and any(entry.labels.get(column) is not None for entry in entries):
        return numbered(entries, column)
    return np.unique(list(wanted), return_inverse=True)[1]


def _compare(rows: Sequence[MulanScore], groups: np.ndarray) -> dict[tuple[str, str, str], Comparison]:
    """Trained against the others, on the same items."""
    best = {(row.task, row.metric): row.per_item for row in rows if row.subject == TRAINED}
    found = {}
    for row in rows:
        own = best[row.task, row.metric]
        if row.subject != TRAINED and own is not None and row.per_item is not None:
            asked = ~np.isnan(own)
            pair = own[asked], row.per_item[asked], np.ones(int(asked.sum())), groups[asked]
            found[row.task, row.metric, row.subject] = paired_bootstrap(*pair)
    return found
