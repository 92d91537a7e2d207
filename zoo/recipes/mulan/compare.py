"""Compare finished runs on the same test clips: retrieval scores, their differences, intervals and p-values.

python -m zoo.recipes.mulan.compare runs/default runs/infonce          two set-ups
python -m zoo.recipes.mulan.compare runs/a0,runs/a1 runs/b0,runs/b1    two set-ups with two seeds each, averaged

Differences are relative to the first set-up. Intervals are over groups of clips (config.evaluation.group of the first
run; by default pieces of music), not over seeds.

Legend: N test clips.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo import config as configuration
from zoo import loading
from zoo.benchmarks.significance import paired_bootstrap, ratio_interval
from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.io.terminal import readable_errors
from zoo.models.mulan.model import MuLan
from zoo.recipes.mulan.config import MulanTrainConfig
from zoo.recipes.mulan.evaluation import TRAINED, EmbeddedModel, embed_clips, group_numbers, relevance_groups, retrieval
from zoo.recipes.mulan.report import probability, table
from zoo.recipes.mulan.run import usable
from zoo.recipes.mulan.spectra import Spectrograms
from zoo.recipes.mulan.texts import Texts
from zoo.train.fit import BEST
from zoo.train.runfolder import CONFIG

METRICS = ("R@10", "MRR")


def compare(setups: Sequence[Sequence[Path]]) -> str:
    """A table in Markdown with a line for each metric and set-up. setups: the run folders of each set-up.

    Raises ConfigError for a folder without a finished run, or with a run on other data.
    """
    folders = [folder for runs in setups for folder in runs]
    configs = {folder: _configuration(folder) for folder in folders}
    first = configs[folders[0]]
    if others := [str(folder) for folder in folders if configs[folder].data.source != first.data.source]:
        raise ConfigError(
            f"{', '.join(others)}: trained on other data than {folders[0]} ({first.data.source}); compare runs on the "
            "same data"
        )
    texts = Texts(first.data.text)
    entries = [entry for entry in usable(first, texts) if entry.split == "test"]
    test = Spectrograms(entries, _model(folders[0]), first.data).readable().entries
    groups = group_numbers(test, first.evaluation.group)
    means = []
    for runs in setups:
        scores = [_scores(folder, configs[folder], first, test, texts) for folder in runs]
        means.append({key: np.mean([of_run[key] for of_run in scores], axis=0) for key in scores[0]})
    lines = []
    for key in means[0]:
        for runs, mean in zip(setups, means, strict=True):
            interval = ratio_interval(mean[key], np.ones(len(test)), groups)
            cells = [
                ", ".join(key),
                _label(runs),
                f"{mean[key].mean():.3f} ({interval.low:.3f} to {interval.high:.3f})",
            ]
            lines.append(cells + (["", ""] if mean is means[0] else _change(mean[key], means[0][key], groups)))
    return "\n".join(table(["", "runs", "value", f"minus {_label(setups[0])}", "p"], lines)[1:])


def _scores(
    folder: Path, own: MulanTrainConfig, first: MulanTrainConfig, test: Sequence[Entry], texts: Texts
) -> dict[tuple[str, str], np.ndarray]:
    """(direction, metric) -> (N,): the score of each query, a text or a clip. own: the configuration of this run."""
    model = _model(folder)
    queries = [texts.first(entry) for entry in test]
    audio = embed_clips(model, Spectrograms(test, model, own.data), np.arange(len(test)))
    embedded = EmbeddedModel(TRAINED, audio, model.embed_text)
    same = relevance_groups(test, queries, first.evaluation.same)
    rows = retrieval(embedded, queries, same, group_numbers(test, first.evaluation.group))
    return {(row.task, row.metric): row.per_item for row in rows if row.metric in METRICS and row.per_item is not None}


def _change(values: np.ndarray, first: np.ndarray, groups: np.ndarray) -> list[str]:
    """Cells with the difference of values (N,) to those of the first set-up, its interval and its p-value."""
    comparison = paired_bootstrap(values, first, np.ones(len(values)), groups)
    interval = f"{comparison.interval.low:+.3f} to {comparison.interval.high:+.3f}"
    return [f"{comparison.difference:+.3f} ({interval})", probability(comparison.p)]


def _configuration(folder: Path) -> MulanTrainConfig:
    if not (folder / CONFIG).is_file() or not (folder / BEST).is_dir():
        raise ConfigError(f"{folder}: not the folder of a finished MuLan run; give a folder with {CONFIG} and {BEST}/")
    return configuration.load(MulanTrainConfig, [folder / CONFIG])


def _model(folder: Path) -> MuLan:
    model = loading.load(folder / BEST)
    assert isinstance(model, MuLan)
    return model


def _label(runs: Sequence[Path]) -> str:
    return ", ".join(map(str, runs))


def main() -> None:
    with readable_errors():
        if len(sys.argv) < 3:
            raise ConfigError("give two or more run folders; join those of several seeds with commas")
        print(compare([[Path(name).expanduser() for name in argument.split(",")] for argument in sys.argv[1:]]))


if __name__ == "__main__":
    main()
