"""The targets of a round: features, the quantizer that is fitted on them, and the units of train and dev.

FOLDER/quantizer.safetensors   FOLDER/labels/{train,dev}   FOLDER/layers.json, layers/TEACHER   the search for a layer
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from zoo.cluster import Quantizer
from zoo.data.alignments import SILENCES
from zoo.data.manifest import Entry
from zoo.encoder import Encoder
from zoo.io.atomic import replacing_file
from zoo.io.locks import lock_folder
from zoo.recipes.hubert.config import FeatureKind, Round
from zoo.train import processes
from zoo.train.processes import say
from zoo.units import FeatureSource, Labels, fit_quantizer, label_corpus, layer, measure, mfcc39
from zoo.units.fitting import data_fingerprint
from zoo.units.labels import Labeling

SEARCH_HOURS = 0.5  # of training audio for the trial k-means of each layer


@dataclass(frozen=True)
class Corpus:
    """The clips of a run."""

    train: list[Entry]
    dev: list[Entry]

    @property
    def has_phones(self) -> bool:
        return any(entry.phones for entry in self.dev)


@dataclass(frozen=True)
class UnitTargets:
    """Units of train and dev from one quantizer."""

    source: FeatureSource
    train: Labels
    dev: Labels


def make_targets(
    wanted: Round,
    teacher: Encoder | None,
    corpus: Corpus,
    folder: Path,
    rate: float,
    seed: int,
) -> UnitTargets:
    """Fit a quantizer and label the corpus, or read what an earlier run finished.

    All processes of a run call this at once: the first fits, all of them label.

    teacher: the model of the round before; rate: frames a second of the model that is to learn the units.
    """
    with processes.main_first():
        source, quantizer = make_quantizer(wanted, teacher, corpus, folder, rate, seed)
    train = label_together(quantizer, source, corpus.train, folder / "labels" / "train")
    dev = label_together(quantizer, source, corpus.dev, folder / "labels" / "dev")
    tell_measures(dev, corpus, source)
    return UnitTargets(source, train, dev)


def label_together(quantizer: Quantizer, source: FeatureSource, entries: Sequence[Entry], folder: Path) -> Labels:
    """`label_corpus`, whose parts all processes write between them. Same arguments and errors."""
    work = Labeling(quantizer, source, entries, folder)
    if not all(processes.gather(work.finished())):
        with lock_folder(work.folder) if processes.is_main() else nullcontext():
            if processes.is_main():
                work.claim()
            processes.barrier()
            work.write(processes.rank(), processes.world())
            processes.barrier()
    return Labels.open(work.folder)


def make_quantizer(
    wanted: Round,
    teacher: Encoder | None,
    corpus: Corpus,
    folder: Path,
    rate: float,
    seed: int,
) -> tuple[FeatureSource, Quantizer]:
    """The quantizer in `folder`, fitted or read, and what it was fitted on. Arguments as for `make_targets`."""
    if wanted.features == FeatureKind.mfcc:
        source = mfcc39(rate, centered=wanted.centered)
    else:
        assert teacher is not None
        number = wanted.layer
        if number is None:
            number = best_layer(teacher, corpus, folder, wanted.units[0], seed, centered=wanted.centered)
        source = layer(teacher, number, centered=wanted.centered)
    quantizer = fit_quantizer(
        corpus.train,
        source,
        wanted.units[0] if len(wanted.units) == 1 else tuple(wanted.units),
        path=folder / "quantizer.safetensors",
        product=wanted.product,
        seed=seed,
        hours=wanted.hours,
    )
    return source, quantizer


def tell_measures(dev: Labels, corpus: Corpus, source: FeatureSource) -> None:
    """Units of the dev set against its phones, where it has any."""
    if corpus.has_phones:
        found, spoken = measure(dev, corpus.dev), measure(dev, corpus.dev, ignore=SILENCES)
        say(
            f"  {found.units} units of {source.title}: PNMI {found.pnmi:.3f}, "
            f"phone purity {found.phone_purity:.3f} ({spoken.phone_purity:.3f} without silence), "
            f"cluster purity {found.cluster_purity:.3f}, perplexity {found.perplexity:.0f} on dev"
        )


def best_layer(teacher: Encoder, corpus: Corpus, folder: Path, k: int, seed: int, *, centered: bool = False) -> int:
    """The layer whose units have the highest PNMI on dev; the middle one where dev has no phones to measure against.

    What was found is kept in layers.json, and found anew for another teacher, k, seed, corpus or `centered`.
    """
    if not corpus.has_phones:
        number = middle_layer(teacher)
        say(f"  units of layer {number}: the dev set has no `phones` by which a better one could be found")
        return number
    record, features = folder / "layers.json", teacher.fingerprint() + ("-centered" if centered else "")
    asked = {"teacher": features, "k": k, "seed": seed}
    asked |= {"train": data_fingerprint(corpus.train), "dev": data_fingerprint(corpus.dev)}
    found = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    if found.get("asked") != asked:
        found = {"asked": asked, "pnmi": {}}
        for number in range(1, teacher.num_layers + 1):
            source = layer(teacher, number, centered=centered)
            pnmi = _trial(source, corpus, folder / "layers" / features, k, seed)
            found["pnmi"][str(number)] = pnmi
            say(f"layer {number}: PNMI {pnmi:.3f} on dev with {k} units")
        with replacing_file(record) as partial:
            partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(max(found["pnmi"], key=lambda number: found["pnmi"][number]))


def middle_layer(encoder: Encoder) -> int:
    """What the paper takes of Base: layer 6 of 12 (section IV-B)."""
    return round(encoder.num_layers / 2)


def _trial(source: FeatureSource, corpus: Corpus, folder: Path, k: int, seed: int) -> float:
    name = f"layer-{source.layer}"
    quantizer = fit_quantizer(
        corpus.train, source, k, path=folder / f"{name}.safetensors", seed=seed, hours=SEARCH_HOURS
    )
    return measure(label_corpus(quantizer, source, corpus.dev, folder / name), corpus.dev).pnmi


def hours_of(entries: Sequence[Entry]) -> float:
    return sum(entry.duration for entry in entries) / 3600
