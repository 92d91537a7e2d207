"""`zoo demo`: the three models in the package at work on generated speech and music.

HuBERT and MuLan beside plain MFCC: who lies next to whom, and a map; hidden units; a search by text; transcripts; and a
few tasks of the mini suite, with its report.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.manifold import TSNE
from torch import Tensor

from zoo import corpora, embed, loading
from zoo.benchmarks import pages, runner
from zoo.data import manifest
from zoo.encoder import Encoder

LABELS = {"speech": ("gender", "speaker", "lang"), "music": ("family", "tempo", "mode")}
"""The label columns to look for in each corpus; the first colors the map."""
REMARKS = {"speech": "The last layer of HuBERT has what is said; who says it is in its first ones (layer=0)."}
ENCODERS = {"speech": ("mfcc", "hubert"), "music": ("mfcc", "mulan")}
QUERIES = ("a waltz with music box", "fast music with drums", "a slow tune for flute")
EXAM = {"hubert": ("keyword", "phones"), "mulan": ("instrument", "captions")}
"""Tasks of the mini suite."""
SHOWN = 4
"""Clips whose units or transcripts are shown."""


@dataclass(frozen=True)
class Embedded:
    """One corpus seen by one encoder: vectors (N, D), standardized per dimension, one row per entry."""

    corpus: str
    encoder: str
    entries: list[manifest.Entry]
    vectors: Tensor

    def neighbors(self) -> Tensor:
        """(N, N) entries by falling cosine similarity to each entry; last come itself and clips of the same piece."""
        unit = torch.nn.functional.normalize(self.vectors, dim=1)
        pieces = np.array([e.labels.get("piece", i) for i, e in enumerate(self.entries)])
        same = torch.from_numpy(pieces[:, None] == pieces)  # (N, N)
        return (unit @ unit.T).masked_fill(same, -torch.inf).argsort(dim=1, descending=True)

    def labels(self, column: str) -> list[str]:
        return [str(getattr(e, column, None) or e.labels.get(column, "?")) for e in self.entries]


def run(out: Path, console: Console, *, exam: bool = True) -> None:
    """Build the tiny corpora, show what the models make of them, and write map.png into `out`.

    exam: examine them too, on the small corpora, and write the report.
    """
    paths = {corpus: corpora.build(corpus, "tiny") for corpus in LABELS}
    models = {name: loading.load(name) for name in ("mfcc", "hubert", "mulan", "whisper")}
    views = [
        _embed(corpus, paths[corpus], models[name], out, console) for corpus in LABELS for name in ENCODERS[corpus]
    ]
    for corpus in LABELS:
        _show(corpus, [v for v in views if v.corpus == corpus], console)
    speech = [entry for entry in manifest.read(paths["speech"]) if entry.split == "test"]
    spoken = [entry for entry in speech if entry.lang == "en" and entry.labels.get("style") == "keyword"][:SHOWN]
    _show_speech(spoken, models["hubert"], models["whisper"], console)
    _show_search(manifest.read(paths["music"]), models["mulan"], console)
    console.print(f"\nmap of all clips: {_draw(views, out / 'map.png')}", soft_wrap=True)
    if exam:
        _examine(out / "exam", console)


def _embed(corpus: str, path: Path, encoder: Encoder, out: Path, console: Console) -> Embedded:
    folder = out / f"{corpus}-{encoder.name}"
    embed.run(path, encoder, folder, pooling="stats", progress=console)
    paths, vectors = embed.load(folder)
    entries = manifest.read(path)
    place = {str(entry.audio): entry for entry in entries}
    scaled = (vectors - vectors.mean(0)) / vectors.std(0).clamp(min=1e-6)
    return Embedded(corpus, encoder.name, [place[p] for p in paths], scaled)


def _show(corpus: str, views: list[Embedded], console: Console) -> None:
    """How often the nearest clip shares a label, beside chance; and the neighbors of a few clips."""
    console.print(f"\n[bold]{corpus}: share of clips whose nearest clip has the same ...[/]")
    scores = Table("encoder", *LABELS[corpus])
    for view in views:
        nearest = view.neighbors()[:, 0].tolist()
        hits = [
            np.mean([y[n] == own for own, n in zip(y, nearest, strict=True)]) for y in map(view.labels, LABELS[corpus])
        ]
        scores.add_row(view.encoder, *(f"{hit:.2f}" for hit in hits))
    chance = [_chance(views[0].labels(column)) for column in LABELS[corpus]]
    scores.add_row("chance", *(f"{c:.2f}" for c in chance))
    console.print(scores)
    if corpus in REMARKS:
        console.print(REMARKS[corpus])
    console.print(f"\n[bold]{corpus}: neighbors by {views[-1].encoder}[/]")
    near = Table("clip", "nearest three")
    for i in range(0, len(views[-1].entries), max(1, len(views[-1].entries) // 4)):
        others = views[-1].neighbors()[i, :3].tolist()
        near.add_row(_describe(views[-1].entries[i]), "\n".join(_describe(views[-1].entries[n]) for n in others))
    console.print(near)


def _show_speech(entries: list[manifest.Entry], hubert: Any, whisper: Any, console: Console) -> None:
    """What is said, what Whisper writes, and HuBERT's hidden units, one of each run."""
    console.print("\n[bold]speech: voices that no training has heard[/]")
    table = Table("said", "written by whisper-mini", "hidden units of hubert-mini")
    for entry in entries:
        units = hubert.units(entry.audio, dedup=True).tolist()
        written = whisper.transcribe(entry.audio, language="en", vad="none").text
        table.add_row(entry.text, written, " ".join(map(str, units[:16])) + (" ..." if len(units) > 16 else ""))
    console.print(table)


def _show_search(entries: list[manifest.Entry], mulan: Any, console: Console) -> None:
    """The clips that lie nearest to texts."""
    scores = mulan.similarity([entry.audio for entry in entries], QUERIES)  # (N, queries)
    console.print("\n[bold]music: search by text with mulan-mini[/]")
    table = Table("asked for", "nearest three, by their captions")
    for query, column in zip(QUERIES, scores.T, strict=True):
        table.add_row(query, "\n".join(_describe(entries[i]) for i in column.topk(3).indices.tolist()))
    console.print(table)


def _examine(out: Path, console: Console) -> None:
    """A few tasks of the mini suite, each model beside its baselines."""
    console.print("\n[bold]exam[/]; the first time, an hour of speech and an hour of music are made for it")
    for name, tasks in EXAM.items():
        runner.run([name], "mini", out, tasks=tasks, console=console)
    console.print(f"report with charts: {out / pages.REPORT}", soft_wrap=True)


def _chance(labels: list[str]) -> float:
    """Probability that another clip drawn at random has the same label."""
    _, counts = np.unique(labels, return_counts=True)
    return float((counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1)))


def _describe(entry: manifest.Entry) -> str:
    text = f"{entry.speaker}: {entry.text}" if entry.text else entry.captions[1]
    return text if len(text) <= 60 else text[:57] + "..."


def _draw(views: list[Embedded], path: Path) -> Path:
    """A t-SNE map per view, colored by the first label of its corpus."""
    figure, axes = plt.subplots(len(LABELS), len(views) // len(LABELS), figsize=(12, 10), squeeze=False)
    for axis, view in zip(axes.flat, views, strict=True):
        column = LABELS[view.corpus][0]
        perplexity = min(30.0, len(view.entries) / 4)
        points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(view.vectors.numpy())
        labels = np.array(view.labels(column))
        for label in sorted(set(labels)):
            axis.scatter(*points[labels == label].T, s=22, alpha=0.8, label=label)
        axis.set(title=f"{view.corpus}: {view.encoder}", xticks=[], yticks=[])
        axis.legend(title=column, fontsize=8, title_fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
