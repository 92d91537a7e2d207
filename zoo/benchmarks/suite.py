"""Suites: which tasks an exam has, as data. A suite is a YAML file, see zoo/benchmarks/suites/mini.yaml.

The suites inside this package need nothing but the embedded corpora, and go by name; others are files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from zoo import config
from zoo.benchmarks import conditions
from zoo.errors import ConfigError
from zoo.text.normalizers import NORMALIZERS

PROTOCOL = 1
"""Raised whenever the same task, model and data would give another number."""

PROBES = ("class", "tags", "value", "phones")
ROBUST = (*PROBES, "wer", "retrieval", "zero_shot")
"""Kinds that `robustness` can be asked of."""
KINDS = (*ROBUST, "robustness", "units", "hallucination", "speed")
_CLASSES = ("accuracy", "balanced_accuracy")
_METRICS = {"class": _CLASSES, "phones": _CLASSES, "tags": ("roc_auc", "map"), "value": ("r2",), "wer": NORMALIZERS}
"""What a kind can be scored by, its default first; word error rates by the name of a normalizer."""
_VARIABLE = re.compile(r"\$\{oc\.env:(\w+)\}")
_TEXTS = ("prompt", "prefix")
"""Options that are text, whatever YAML would make of it: "Glossary: ..." is no table."""


@dataclass
class SuiteSource:
    """Where clips come from, and how they are split."""

    source: str = ""  # what zoo.data.sources opens; ${oc.env:NAME} stands for an environment variable
    limit: dict[str, int] = field(default_factory=dict)  # at most so many clips of a split
    group: str = ""  # another column no two splits may share; the unit of error bars (default: speaker, ..., or file)
    shared: str = ""  # why splits may share groups or audio files, where the published protocol has it so
    split_by: str = ""  # column whose values are dealt out to splits anew, in place of the given splits
    dev: list[str] = field(default_factory=list)  # values of split_by that become dev
    test: list[str] = field(default_factory=list)  # and test
    folds: str = ""  # cross-validation by the values of this column: each is test once, the next one dev


@dataclass
class SuiteTask:
    """One number to find out about an encoder."""

    name: str = ""
    data: str = ""  # name of a source of this suite
    kind: str = ""  # class, tags, value, phones, wer, retrieval, zero_shot, robustness, units, hallucination, speed
    target: str = ""  # column to predict
    columns: list[str] = field(default_factory=list)  # tags: every value of these columns is a tag
    where: dict[str, str] = field(default_factory=dict)  # only clips whose columns have these values
    metric: str = ""  # default by kind
    balanced: bool = False  # classes weigh the same in the loss
    pooling: str = "stats"  # mean, or stats = mean and standard deviation over time
    layers: str = "best"  # on dev, or weighted = a learned mixture of all, as SUPERB
    seeds: int = 5
    of: str = ""  # robustness: name of the task that is asked again ...
    conditions: list[str] = field(default_factory=list)  # ... with test clips so changed: pink 10, room 0.6, ...
    templates: list[str] = field(default_factory=lambda: ["{}"])  # zero_shot: prompts
    options: dict[str, str] = field(default_factory=dict)  # wer, hallucination: arguments of transcribe

    def arguments(self) -> dict[str, Any]:
        """The options as values of Python."""
        return {key: said if key in _TEXTS else _value(said) for key, said in self.options.items()}


@dataclass
class Suite:
    name: str = ""
    about: str = ""
    frames: int = 20  # phones: points of time per clip
    data: dict[str, SuiteSource] = field(default_factory=dict)
    tasks: list[SuiteTask] = field(default_factory=list)

    def base(self, task: SuiteTask) -> SuiteTask:
        """The task whose robustness a task is about."""
        return next(each for each in self.tasks if each.name == task.of)

    def fingerprint(self, task: SuiteTask) -> str:
        """16 hexadecimal digits over everything in the suite that a number of this task depends on."""
        defaults = asdict(SuiteTask())
        said = {key: value for key, value in asdict(task).items() if value != defaults[key]}
        about = said | {"protocol": PROTOCOL, "of": self.fingerprint(self.base(task)) if task.of else ""}
        if task.kind == "phones":
            about["frames"] = self.frames
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def names() -> list[str]:
    """Suites that go by name."""
    return sorted(path.name.removesuffix(".yaml") for path in _packaged().iterdir() if path.name.endswith(".yaml"))


@dataclass(frozen=True)
class Outline:
    """What a suite is about, the names of its tasks, and the environment variables that its data needs."""

    about: str
    tasks: list[str]
    variables: list[str]


def outline(name: str) -> Outline:
    """The outline of a suite that goes by name; the variables need not be set."""
    text = (_packaged() / f"{name}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    tasks = [task["name"] for task in content["tasks"]]
    return Outline(content["about"], tasks, sorted(set(_VARIABLE.findall(text))))


def load(name: str | Path) -> Suite:
    """A suite by name, or from a YAML file. Raises ConfigError naming file and field."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if str(name) not in names():
            raise ConfigError(f"no suite is called {str(name)!r}; there are {', '.join(names())}, or give a .yaml file")
        path = Path(str(_packaged() / f"{name}.yaml"))
    elif not path.is_file():
        raise ConfigError(f"{path}: there is no such file; give a suite's .yaml file, or one of {', '.join(names())}")
    try:
        suite = config.load(Suite, [path])
    except ConfigError as error:
        said = str(error)
        raise ConfigError(said if said.startswith(f"{path}: ") else f"{path}: {said}") from None
    suite.name = suite.name or path.stem
    check(suite, str(path))
    return suite


def check(suite: Suite, where: str) -> None:
    """Fill in what follows from the kinds of its tasks: metrics, and the data of robustness tasks.

    Raises ConfigError, which begins with `where`, for a suite that cannot be asked as it is.
    """
    if not suite.tasks:
        raise ConfigError(f"{where}: a suite needs tasks")
    if any(task.kind == "phones" for task in suite.tasks) and suite.frames < 1:
        raise ConfigError(
            f"{where}: frames is {suite.frames}, and phones are asked at 1 point of time per clip or more"
        )
    for task in suite.tasks:
        _check(task, suite, f"{where}: task {task.name!r}")
        _check_probe(task, f"{where}: task {task.name!r}")
        _check_verb(task, f"{where}: task {task.name!r}")
    for task in suite.tasks:
        _check_conditions(task, suite, f"{where}: task {task.name!r}")
        if task.kind == "tags" and suite.data[task.data].folds:
            raise ConfigError(f"{where}: task {task.name!r}: tags rank the clips of one probe, and folds have several")
    for key, source in suite.data.items():
        if not source.source:
            raise ConfigError(f"{where}: data {key!r} needs a source")
    for name, count in Counter(task.name for task in suite.tasks).items():
        if count > 1:
            raise ConfigError(f"{where}: {count} tasks have the name {name!r}; results go by it, so give each its own")


def _check(task: SuiteTask, suite: Suite, where: str) -> None:
    if not task.name or task.kind not in KINDS:
        raise ConfigError(f"{where}: a task needs a name, and as kind one of {', '.join(KINDS)}, not {task.kind!r}")
    if task.data not in suite.data and task.kind != "robustness":
        raise ConfigError(
            f"{where}: data {task.data!r} is not there; the suite names {', '.join(suite.data) or 'none'}"
        )
    if task.kind in ("class", "value", "zero_shot") and not task.target:
        raise ConfigError(f"{where}: say which column is the target")
    for column, value in task.where.items():
        if not isinstance(value, str):  # OmegaConf lets lists through
            raise ConfigError(f"{where}: where: {column} is {value}, and one value is wanted; make a task of each")
    for words, key in ((task.options, "language"), (task.where, "lang")):
        if words.get(key) == "False":  # what YAML reads in `language: no`, Norwegian
            words[key] = "no"
    if task.kind == "tags" and not task.columns:
        raise ConfigError(f"{where}: say which columns hold the tags")
    possible = _METRICS.get(task.kind, ())
    if task.kind in PROBES:
        task.metric = task.metric or possible[0]
    if task.metric and task.metric not in possible:
        known = ", ".join(possible) or "none, it has its own"
        raise ConfigError(f"{where}: metric {task.metric!r}: for {task.kind} choose {known}")


def _check_probe(task: SuiteTask, where: str) -> None:
    if task.seeds < 1:
        raise ConfigError(f"{where}: seeds is {task.seeds}, and at least 1 is needed")
    if task.balanced and task.kind not in ("class", "phones"):
        raise ConfigError(f"{where}: balanced: only classes can be balanced, which {task.kind} has none of")
    if task.pooling not in ("mean", "stats"):
        raise ConfigError(f"{where}: pooling {task.pooling!r}: choose mean or stats")
    if task.layers not in ("best", "weighted"):
        raise ConfigError(f"{where}: layers {task.layers!r}: choose best or weighted")


def _check_verb(task: SuiteTask, where: str) -> None:
    if task.options and task.kind not in ("wer", "hallucination"):
        raise ConfigError(f"{where}: options are for wer and hallucination, where something is transcribed")
    if task.kind == "zero_shot" and not (task.templates and all("{}" in template for template in task.templates)):
        raise ConfigError(f"{where}: templates: at least one is needed, and {{}} in each for the class to stand in")


def _check_conditions(task: SuiteTask, suite: Suite, where: str) -> None:
    if task.conditions and task.kind not in ("robustness", "units"):
        raise ConfigError(f"{where}: conditions are for robustness and units")
    try:
        changes = [conditions.parse(name) for name in task.conditions]
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    if task.kind == "units" and any(change.stretch != 1 for change in changes):
        raise ConfigError(f"{where}: units are compared frame by frame, which another speed does not allow")
    if task.kind != "robustness":
        return
    possible = [each.name for each in suite.tasks if each.kind in ROBUST]
    if task.of not in possible or not changes:
        raise ConfigError(
            f"{where}: robustness needs conditions, and as `of` one of {', '.join(possible) or 'no task'}"
        )
    if task.target or task.columns or task.where:
        raise ConfigError(f"{where}: target, columns and where are those of {task.of!r}; leave them out here")
    task.data = suite.base(task).data


def _value(text: Any) -> Any:
    """As YAML reads it; but no, yes, on and off stay words, such as the language no, and so does what is no YAML.

    A list is one already.
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
