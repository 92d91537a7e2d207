"""Suites: the tasks of a benchmark, as data. A suite is a YAML file, see zoo/benchmarks/suites/mini.yaml.

Suites inside this package are loaded by name, others by file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from zoo import config
from zoo.benchmarks import conditions, kinds
from zoo.benchmarks.kinds import PROBES, ROBUST
from zoo.benchmarks.metrics import OF_KIND
from zoo.benchmarks.options import OPTIONS, with_defaults
from zoo.data.sources import Source, parse
from zoo.errors import ConfigError
from zoo.text.normalizers import NORMALIZERS

PROTOCOL = 1
"""Increased when the same task, model and data give another score than before."""

_VARIABLE = re.compile(r"\$\{oc\.env:(\w+)\}")
_TEXTS = ("prompt", "prefix")
"""Options that stay text, even if YAML reads them as something else: "Glossary: ..." is no mapping."""


@dataclass
class SuiteSource:
    """Clips, and their splits."""

    sources: list[Source] = field(  # or their short form; ${oc.env:NAME} stands for an environment variable
        default_factory=list, metadata={config.PARSER: parse}
    )
    limit: dict[str, int] = field(default_factory=dict)  # largest number of clips of each split
    group: str = ""  # column that no two splits may share; the unit of intervals (default: speaker, ..., or file)
    shared: str = ""  # reason why splits may share groups or audio files, if the published split does so
    split_by: str = ""  # column that defines new splits, in place of those of the manifest
    dev: list[str] = field(default_factory=list)  # values of split_by for dev
    test: list[str] = field(default_factory=list)  # values of split_by for test; the rest is train
    folds: str = ""  # column of cross-validation folds: each is test once, and the next one dev; or random 5: five
    whole: str = ""  # all clips are in this split, in place of those of the source
    pair: list[str] = field(default_factory=list)  # two audio columns of a data set: each row is a pair of clips

    def __post_init__(self) -> None:
        self.sources = parse(self.sources)


@dataclass
class SuiteTask:
    """One task: it gives one score per encoder."""

    name: str = ""
    data: str = ""  # name of a source of this suite
    kind: str = (
        ""  # class, tags, value, phones, wer, retrieval, zero_shot, robustness, units, ...: zoo.benchmarks.kinds
    )
    target: str = ""  # column to predict; retrieval: clips with its value are equally right (default: with the caption)
    columns: list[str] = field(default_factory=list)  # tags: each value of these columns is a tag
    where: dict[str, str] = field(default_factory=dict)  # only clips with these values in these columns
    metric: str = ""  # default by kind
    balanced: bool = False  # all classes have the same weight in the loss
    pooling: str = "stats"  # mean, stats = mean and standard deviation over time, or the best of both on dev
    layers: str = "best"  # best on dev, last, or weighted: a learned mixture of all, as SUPERB
    seeds: int = 5
    of: str = ""  # robustness: name of the base task ...
    conditions: list[str] = field(default_factory=list)  # ... and corruptions of its test clips: pink 10, room 0.6, ...
    templates: list[str] = field(default_factory=lambda: ["{}"])  # zero_shot: prompts
    queries: str = "text"  # retrieval: text finds clips, or audio finds captions
    options: dict[str, str] = field(
        default_factory=dict
    )  # wer, hallucination: arguments of transcribe (language: clip = its own); others: zoo.benchmarks.options

    def arguments(self) -> dict[str, Any]:
        """The options as Python values."""
        return {key: text if key in _TEXTS else _value(text) for key, text in self.options.items()}


@dataclass
class Suite:
    """Sources and tasks, by name."""

    name: str = ""
    about: str = ""
    frames: int = 20  # phones: time points per clip
    data: dict[str, SuiteSource] = field(default_factory=dict)
    tasks: list[SuiteTask] = field(default_factory=list)

    def base(self, task: SuiteTask) -> SuiteTask:
        """The base task of a robustness task."""
        return next(each for each in self.tasks if each.name == task.of)

    def fingerprint(self, task: SuiteTask) -> str:
        """16 hexadecimal digits: a hash of all settings in the suite on which the score of this task depends."""
        defaults = asdict(SuiteTask())
        changed = {key: value for key, value in asdict(task).items() if value != defaults[key]}
        settings = changed | {"protocol": PROTOCOL, "of": self.fingerprint(self.base(task)) if task.of else ""}
        if task.kind == "phones":
            settings["frames"] = self.frames
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def names() -> list[str]:
    """Names of the packaged suites."""
    return sorted(path.name.removesuffix(".yaml") for path in _packaged().iterdir() if path.name.endswith(".yaml"))


@dataclass(frozen=True)
class Outline:
    """Description of a suite, the names of its tasks, and the environment variables that its data needs."""

    about: str
    tasks: list[str]
    variables: list[str]


def outline(name: str) -> Outline:
    """The outline of a packaged suite. The variables need not be set."""
    text = (_packaged() / f"{name}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    tasks = [task["name"] for task in content["tasks"]]
    return Outline(content["about"], tasks, sorted(set(_VARIABLE.findall(text))))


def load(name: str | Path) -> Suite:
    """A suite by name, or from a YAML file. Raises ConfigError naming file and field."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if str(name) not in names():
            raise ConfigError(f"unknown suite {str(name)!r}; choose {', '.join(names())} or a .yaml file")
        path = Path(str(_packaged() / f"{name}.yaml"))
    elif not path.is_file():
        raise ConfigError(f"{path}: there is no such file; give a suite's .yaml file, or one of {', '.join(names())}")
    try:
        suite = config.load(Suite, [path])
    except ConfigError as error:
        message = str(error)
        raise ConfigError(message if message.startswith(f"{path}: ") else f"{path}: {message}") from None
    suite.name = suite.name or path.stem
    check(suite, str(path))
    return suite


def check(suite: Suite, where: str) -> None:
    """Check a suite, and fill in the default metrics of its tasks and the data of robustness tasks.

    Raises ConfigError for an invalid suite. where: the start of its message.
    """
    if not suite.tasks:
        raise ConfigError(f"{where}: a suite needs tasks")
    if any(task.kind == "phones" for task in suite.tasks) and suite.frames < 1:
        raise ConfigError(f"{where}: frames is {suite.frames}, but tasks on phones need at least 1 time point per clip")
    for task in suite.tasks:
        _check(task, suite, f"{where}: task {task.name!r}")
        _check_probe(task, f"{where}: task {task.name!r}")
        _check_capability(task, f"{where}: task {task.name!r}")
    for task in suite.tasks:
        _check_conditions(task, suite, f"{where}: task {task.name!r}")
        if task.kind == "tags" and suite.data[task.data].folds:
            raise ConfigError(
                f"{where}: task {task.name!r}: tags need a source without folds: they rank clips of one probe"
            )
    for key, source in suite.data.items():
        if not source.sources or not all(each.path for each in source.sources):
            raise ConfigError(f"{where}: data {key!r} needs sources, each with a path")
    for name, count in Counter(task.name for task in suite.tasks).items():
        if count > 1:
            raise ConfigError(f"{where}: {count} tasks have the name {name!r}; give each task its own name")


def _check(task: SuiteTask, suite: Suite, where: str) -> None:
    if not task.name or task.kind not in kinds.names():
        known = ", ".join(kinds.names())
        raise ConfigError(
            f"{where}: a task needs a name, and a kind: one of {known}, not {task.kind!r}; "
            "zoo.benchmarks.register_task_kind adds a kind"
        )
    if task.data not in suite.data and task.kind != "robustness":
        raise ConfigError(f"{where}: unknown data {task.data!r}; the suite has {', '.join(suite.data) or 'none'}")
    if task.kind in ("class", "value", "zero_shot", *kinds.CLASSIFIERS, *kinds.UNSUPERVISED) and not task.target:
        raise ConfigError(f"{where}: name the column to predict (target)")
    for column, value in task.where.items():
        if not isinstance(value, str):  # OmegaConf lets lists through
            raise ConfigError(f"{where}: where: {column} is {value}, but must be one value; write a task for each")
    for options, key in ((task.options, "language"), (task.where, "lang")):
        if options.get(key) == "False":  # YAML reads `language: no` (Norwegian) as false
            options[key] = "no"
    if task.kind == "tags" and not task.columns:
        raise ConfigError(f"{where}: name the columns with the tags (columns)")
    possible: Sequence[str] = NORMALIZERS if task.kind == "wer" else OF_KIND.get(task.kind, ())
    if task.kind in PROBES:
        task.metric = task.metric or possible[0]
    if task.metric and task.metric not in possible:
        choices = ", ".join(possible) or "none: its metric is fixed"
        hint = "; zoo.benchmarks.register_metric adds a metric" if task.kind in PROBES else ""
        raise ConfigError(f"{where}: metric {task.metric!r}: for {task.kind} choose {choices}{hint}")


def _check_probe(task: SuiteTask, where: str) -> None:
    if task.seeds < 1:
        raise ConfigError(f"{where}: seeds is {task.seeds}, but must be at least 1")
    if task.balanced and task.kind not in ("class", "phones"):
        raise ConfigError(f"{where}: balanced: only classes can be balanced, and {task.kind} has none")
    if task.pooling not in ("mean", "stats", "best"):
        raise ConfigError(f"{where}: pooling {task.pooling!r}: choose mean, stats or best")
    if task.layers not in ("best", "last", "weighted"):
        raise ConfigError(f"{where}: layers {task.layers!r}: choose best, last or weighted")
    if task.layers == "weighted" and (task.pooling == "best" or task.kind in OPTIONS):
        raise ConfigError(f"{where}: layers weighted: a mixture needs a probe, and one pooling: mean or stats")
    if task.pooling == "best" and task.kind in ("phones", "abx"):
        raise ConfigError(f"{where}: pooling best: {task.kind} needs frames, so there is no pooling")


def _check_capability(task: SuiteTask, where: str) -> None:
    if task.kind in OPTIONS:
        try:
            with_defaults(task.kind, task.arguments())
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
    elif task.options and task.kind not in ("wer", "hallucination", *kinds.ADDED):
        raise ConfigError(f"{where}: options are for wer, hallucination, {', '.join(OPTIONS)}, not {task.kind}")
    if task.queries not in ("text", "audio") or (task.queries == "audio" and task.kind != "retrieval"):
        raise ConfigError(f"{where}: queries {task.queries!r}: choose text or audio; audio is for retrieval only")
    if task.kind == "zero_shot" and not (task.templates and all("{}" in template for template in task.templates)):
        raise ConfigError(f"{where}: templates: at least one is needed, with {{}} in each for the name of the class")


def _check_conditions(task: SuiteTask, suite: Suite, where: str) -> None:
    if task.conditions and task.kind not in ("robustness", "units"):
        raise ConfigError(f"{where}: conditions are for robustness and units")
    try:
        changes = [conditions.parse(name) for name in task.conditions]
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    if task.kind == "units" and any(change.stretch != 1 for change in changes):
        raise ConfigError(f"{where}: units are compared frame by frame, so speed is not possible")
    if task.kind != "robustness":
        return
    possible = [each.name for each in suite.tasks if each.kind in ROBUST]
    if task.of not in possible or not changes:
        raise ConfigError(
            f"{where}: robustness needs conditions, and a base task (of): one of {', '.join(possible) or 'none'}"
        )
    if task.target or task.columns or task.where:
        raise ConfigError(f"{where}: target, columns and where are those of {task.of!r}; remove them here")
    task.data = suite.base(task).data


def _value(text: Any) -> Any:
    """The value as YAML reads it. But no, yes, on and off stay text (the language `no`), and so does invalid YAML.

    A list stays a list.
    """
    if not isinstance(text, str):
        return text
    if text.lower() in ("y", "n", "yes", "no", "on", "off"):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _packaged() -> Path:
    return Path(str(files("zoo.benchmarks") / "suites"))
