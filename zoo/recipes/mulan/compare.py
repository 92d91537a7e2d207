"""Finished runs side by side, on the same test clips: which of two set-ups retrieves better, and is it more than luck?

python -m zoo.recipes.mulan.compare runs/default runs/infonce          two set-ups
python -m zoo.recipes.mulan.compare runs/a0,runs/a1 runs/b0,runs/b1    two of two seeds each, which are averaged

Differences are to the first. Intervals are over the groups of the first run's exam (pieces), not over seeds.

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
from zoo.recipes.mulan.evaluation import TRAINED, EmbeddedModel, alike, embed_clips, numbered, retrieval
from zoo.recipes.mulan.report import probability, table
from zoo.recipes.mulan.run import usable
from zoo.recipes.mulan.spectra import Spectrograms
from zoo.recipes.mulan.texts import Texts
from zoo.train.fit import BEST
from zoo.train.runfolder import CONFIG

METRICS = ("R@10", "MRR")


def compare(setups: Sequence[Sequence[Path]]) -> str:
    """A table in Markdown: a line for each metric of each set-up, which is the folders of its runs.

    Raises ConfigError for a folder that holds no run, or one on other data.
    """
    folders = [folder for runs in setups for folder in runs]
    configs = {folder: _configuration(folder) for folder in folders}
    first = configs[folders[0]]
    if strangers := [str(folder) for folder in folders if configs[folder].data.source != first.data.source]:
        raise ConfigError(f"{', '.join(strangers)}: trained on other data than {folders[0]}, {first.data.source}")
    texts = Texts(first.data.text)
    entries = [entry for entry in usable(first, texts) if entry.split == "test"]
    test = Spectrograms(entries, _model(folders[0]), first.data).readable().entries
    groups = numbered(test, first.exam.group)
    means = []
    for runs in setups:
        found = [_figures(folder, configs[folder], first, test, texts) for folder in runs]
        means.append({key: np.mean([figures[key] for figures in found], axis=0) for key in found[0]})
    lines = []
    for key in means[0]:
        for runs, mean in zip(setups, means, strict=True):
            span = ratio_interval(mean[key], np.ones(len(test)), groups)
            cells = [", ".join(key), _label(runs), f"{mean[key].mean():.3f} ({span.low:.3f} to {span.high:.3f})"]
            lines.append(cells + (["", ""] if mean is means[0] else _change(mean[key], means[0][key], groups)))
    return "\n".join(table(["", "runs", "value", f"minus {_label(setups[0])}", "p"], lines)[1:])


def _figures(
    folder: Path, own: MulanTrainConfig, first: MulanTrainConfig, test: Sequence[Entry], texts: Texts
) -> dict[tuple[str, str], np.ndarray]:
    """(direction, metric) -> (N,): what each test clip, or its text, gets as a query. own: the run's configuration."""
    model = _model(folder)
    wanted = [texts.first(entry) for entry in test]
    audio = embed_clips(model, Spectrograms(test, model, own.data), np.arange(len(test)))
    subject = EmbeddedModel(TRAINED, audio, model.embed_text)
    rows = retrieval(subject, wanted, alike(test, wanted, first.exam.same), numbered(test, first.exam.group))
    return {(row.task, row.metric): row.per_item for row in rows if row.metric in METRICS and row.per_item is not None}


def _change(values: np.ndarray, first: np.ndarray, groups: np.ndarray) -> list[str]:
    """How values (N,) differ from those of the first, and how likely that is luck."""
    found = paired_bootstrap(values, first, np.ones(len(values)), groups)
    span = f"{found.interval.low:+.3f} to {found.interval.high:+.3f}"
    return [f"{found.difference:+.3f} ({span})", probability(found.p)]


def _configuration(folder: Path) -> MulanTrainConfig:
    if not (folder / CONFIG).is_file() or not (folder / BEST).is_dir():
        raise ConfigError(f"{folder}: no run with a model; its folder has {CONFIG} and {BEST}/")
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
            raise ConfigError("two run folders or more are compared; those of several seeds are joined by commas")
        print(compare([[Path(name).expanduser() for name in argument.split(",")] for argument in sys.argv[1:]]))


if __name__ == "__main__":
    main()
