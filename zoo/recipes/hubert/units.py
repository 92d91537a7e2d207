"""The targets of a round: features, the quantizer fitted on them, and the units of train and dev.

FOLDER/quantizer.safetensors, FOLDER/labels/{train,dev}
FOLDER/layers.json, FOLDER/layers/ENCODER   the search for the best layer
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
    config: Round,
    target_encoder: Encoder | None,
    corpus: Corpus,
    folder: Path,
    rate: float,
    seed: int,
) -> UnitTargets:
    """Fit a quantizer and label the corpus, or read the finished parts of an earlier run.

    All processes of a run call this together: the first one fits, all of them label.

    config: of the round; target_encoder: a layer of it is clustered, None for MFCC; rate: frame rate of the
    model that is trained on the units.
    """
    with processes.main_first():
        source, quantizer = make_quantizer(config, target_encoder, corpus, folder, rate, seed)
    train = label_together(quantizer, source, corpus.train, folder / "labels" / "train")
    dev = label_together(quantizer, source, corpus.dev, folder / "labels" / "dev")
    report_measures(dev, corpus, source)
    return UnitTargets(source, train, dev)


def label_together(quantizer: Quantizer, source: FeatureSource, entries: Sequence[Entry], folder: Path) -> Labels:
    """`label_corpus` with its parts shared by all processes. Same arguments and errors."""
    labeling = Labeling(quantizer, source, entries, folder)
    if not all(processes.gather(labeling.finished())):
        with lock_folder(labeling.folder) if processes.is_main() else nullcontext():
            if processes.is_main():
                labeling.claim()
            processes.barrier()
            labeling.write(processes.rank(), processes.world())
            processes.barrier()
    return Labels.open(labeling.folder)


def make_quantizer(
    config: Round,
    target_encoder: Encoder | None,
    corpus: Corpus,
    folder: Path,
    rate: float,
    seed: int,
) -> tuple[FeatureSource, Quantizer]:
    """The features of a round and their quantizer in `folder`, fitted or read. Arguments as for `make_targets`."""
    if config.features == FeatureKind.mfcc:
        source = mfcc39(rate, centered=config.centered)
    else:
        assert target_encoder is not None
        number = config.layer
        if number is None:
            number = best_layer(target_encoder, corpus, folder, config.units[0], seed, centered=config.centered)
        source = layer(target_encoder, number, centered=config.centered)
    quantizer = fit_quantizer(
        corpus.train,
        source,
        config.units[0] if len(config.units) == 1 else tuple(config.units),
        path=folder / "quantizer.safetensors",
        product=config.product,
        seed=seed,
        hours=config.hours,
    )
    return source, quantizer


def report_measures(dev: Labels, corpus: Corpus, source: FeatureSource) -> None:
    """Compare the units of the dev set with its phones, if it has phones, and show the result."""
    if corpus.has_phones:
        measures, without_silence = measure(dev, corpus.dev), measure(dev, corpus.dev, ignore=SILENCES)
        say(
            f"  {measures.units} units of {source.title}: PNMI {measures.pnmi:.3f}, "
            f"phone purity {measures.phone_purity:.3f} ({without_silence.phone_purity:.3f} without silence), "
            f"cluster purity {measures.cluster_purity:.3f}, perplexity {measures.perplexity:.0f} on dev"
        )


def best_layer(encoder: Encoder, corpus: Corpus, folder: Path, k: int, seed: int, *, centered: bool = False) -> int:
    """The layer with the highest PNMI of its units on dev; the middle layer if dev has no phones.

    The result is stored in layers.json. The search is repeated for another encoder, k, seed, corpus or `centered`.
    """
    if not corpus.has_phones:
        number = middle_layer(encoder)
        say(f"  units of layer {number}, the middle one: a search for the best needs `phones` in the dev set")
        return number
    path, features = folder / "layers.json", encoder.fingerprint() + ("-centered" if centered else "")
    settings = {"encoder": features, "k": k, "seed": seed}
    settings |= {"train": data_fingerprint(corpus.train), "dev": data_fingerprint(corpus.dev)}
    search = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if search.get("settings") != settings:
        search = {"settings": settings, "pnmi": {}}
        for number in range(1, encoder.num_layers + 1):
            source = layer(encoder, number, centered=centered)
            pnmi = _trial(source, corpus, folder / "layers" / features, k, seed)
            search["pnmi"][str(number)] = pnmi
            say(f"layer {number}: PNMI {pnmi:.3f} on dev with {k} units")
        with replacing_file(path) as partial:
            partial.write_text(json.dumps(search, indent=1) + "\n", encoding="utf-8")
    return int(max(search["pnmi"], key=lambda number: search["pnmi"][number]))


def middle_layer(encoder: Encoder) -> int:
    """The middle layer, as in the paper: layer 6 of 12 for Base (section IV-B)."""
    return round(encoder.num_layers / 2)


def _trial(source: FeatureSource, corpus: Corpus, folder: Path, k: int, seed: int) -> float:
    name = f"layer-{source.layer}"
    quantizer = fit_quantizer(
        corpus.train, source, k, path=folder / f"{name}.safetensors", seed=seed, hours=SEARCH_HOURS
    )
    return measure(label_corpus(quantizer, source, corpus.dev, folder / name), corpus.dev).pnmi


def hours_of(entries: Sequence[Entry]) -> float:
    return sum(entry.duration for entry in entries) / 3600
