"""The evaluation at the end of a recipe: a suite of its own for zoo.benchmarks.

RUN/evaluation/suite.yaml     the tasks; `zoo bench run --suite` evaluates any other model on them
               *.jsonl        manifests of their clips
               results.json, results.md, report.html, predictions/    as of every benchmark
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from zoo import config
from zoo.benchmarks import compare, differences, pages, runner
from zoo.benchmarks.suite import Suite, SuiteSource, SuiteTask
from zoo.data import manifest
from zoo.data.manifest import Entry
from zoo.data.sources import Source
from zoo.encoder import Encoder
from zoo.errors import ConfigError, ZooError
from zoo.io.atomic import replacing_file

FOLDER, SUITE = "evaluation", "suite.yaml"
MAX_TRAIN_CLIPS = 5000  # that are read for the most frequent text
TEST = "test"
BEFORE = "before training"
"""Name of the initial model in the results."""


@dataclass
class EvaluationClips:
    """Clips of one source of the suite. limit: largest number of clips of a split; group: unit of the intervals."""

    entries: Sequence[Entry]
    limit: dict[str, int] = field(default_factory=dict)
    group: str = ""


def write_suite(out: Path, about: str, clips: Mapping[str, EvaluationClips], tasks: Sequence[SuiteTask]) -> Suite:
    """Write the suite of a run, with a manifest for each source of clips. The suite has the name of the run folder.

    Splits may share speakers or files, as in the training data; then the results have a note.
    """
    folder = out.absolute() / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    sources = {}
    for number, (name, source) in enumerate(clips.items()):
        path = folder / f"clips-{number}.jsonl"
        manifest.write(path, source.entries)
        sources[name] = SuiteSource([Source(str(path))], source.limit, source.group, shared="as in the training data")
    suite = Suite(out.absolute().name, about, data=sources, tasks=list(tasks))
    with replacing_file(folder / SUITE) as partial:
        partial.write_text(config.to_yaml(suite), encoding="utf-8")
    return suite


def write_wer_suite(
    out: Path,
    about: str,
    normalizer: str,
    test: Mapping[str, Sequence[Entry]],
    train: Sequence[Entry],
    options: dict[str, str],
) -> Suite:
    """Write a suite with the word error rate on each of these sources of test clips.

    train: clips that give the most frequent text, the baseline on the source TEST. options: arguments of transcribe.
    """
    clips = {}
    for name, entries in test.items():
        with_train = [*train, *entries] if name == TEST else entries
        clips[name] = EvaluationClips(with_train, {"train": MAX_TRAIN_CLIPS})
    tasks = [SuiteTask(name, name, "wer", metric=normalizer, options=dict(options)) for name in clips]
    return write_suite(out, about, clips, tasks)


def evaluate(suite: Suite, models: Sequence[Encoder], out: Path, device: str) -> str:
    """Evaluate models on the suite of a run; returns the results as text.

    The trained model is still useful if it cannot be evaluated. So the text says why, and no ZooError is raised.
    """
    folder = out / FOLDER
    command = f"zoo bench run --suite {folder / SUITE} -m {out / 'best'}"
    try:
        store = runner.run(models, suite, folder, device=device, command=command)
        runner.raise_if_nothing_evaluated(store)
    except ZooError as error:
        return f"no evaluation: {error}"
    text = (folder / pages.TABLE).read_text(encoding="utf-8")
    with suppress(ConfigError):  # no two models to compare
        text += "\n" + differences.markdown(compare.compare([folder]))
    return f"{text}\nwritten to {folder}"
