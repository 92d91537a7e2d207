"""Suites: which tasks an exam has, as data. A suite is a YAML file, see zoo/benchmarks/suites/mini.yaml.

The suites inside this package need nothing but the embedded corpora, and go by name; others are files.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path

from zoo import config
from zoo.benchmarks.metrics import METRICS
from zoo.errors import ConfigError

PROTOCOL = 1
"""Raised whenever the same task, model and data would give another number."""

KINDS = ("class", "tags", "value", "phones", "wer", "retrieval", "zero_shot", "speed")
PROBES = ("class", "tags", "value", "phones")
_METRIC = {"class": "accuracy", "phones": "accuracy", "tags": "roc_auc", "value": "r2"}


@dataclass
class Source:
    """Where clips come from, and how they are split."""

    source: str = ""  # what zoo.data.sources opens; ${oc.env:NAME} stands for an environment variable
    limit: dict[str, int] = field(default_factory=dict)  # at most so many clips of a split
    group: str = ""  # column that no two splits may share, and the unit of error bars; default: speaker, piece, ...
    shared: str = ""  # why splits may share groups, where the published protocol has it so
    split_by: str = ""  # column whose values are dealt out to splits anew, in place of the given splits
    dev: list[str] = field(default_factory=list)  # values of split_by that become dev
    test: list[str] = field(default_factory=list)  # and test


@dataclass
class Task:
    """One number to find out about an encoder."""

    name: str = ""
    data: str = ""  # name of a source of this suite
    kind: str = ""  # class, tags, value, phones, wer, retrieval, zero_shot, speed
    target: str = ""  # column to predict
    columns: list[str] = field(default_factory=list)  # tags: every value of these columns is a tag
    where: dict[str, str] = field(default_factory=dict)  # only clips whose columns have these values
    metric: str = ""  # default by kind
    balanced: bool = False  # classes weigh the same in the loss
    pooling: str = "stats"  # mean, or stats = mean and standard deviation over time
    seeds: int = 5
    templates: list[str] = field(default_factory=lambda: ["{}"])  # zero_shot: prompts
    options: dict[str, str] = field(default_factory=dict)  # wer: arguments of transcribe

    def fingerprint(self) -> str:
        text = json.dumps(asdict(self) | {"protocol": PROTOCOL}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Suite:
    name: str = ""
    about: str = ""
    frames: int = 20  # phones: points of time per clip
    data: dict[str, Source] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)


def names() -> list[str]:
    """Suites that go by name."""
    return sorted(path.name.removesuffix(".yaml") for path in _packaged().iterdir() if path.name.endswith(".yaml"))


def load(name: str | Path) -> Suite:
    """A suite by name, or from a YAML file. Raises ConfigError naming file and field."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if str(name) not in names():
            raise ConfigError(f"no suite is called {str(name)!r}; there are {', '.join(names())}, or give a .yaml file")
        path = Path(str(_packaged() / f"{name}.yaml"))
    suite = config.load(Suite, [path])
    suite.name = suite.name or path.stem
    if not suite.tasks:
        raise ConfigError(f"{path}: a suite needs tasks")
    for task in suite.tasks:
        _check(task, suite, f"{path}: task {task.name!r}")
    for key, source in suite.data.items():
        if not source.source:
            raise ConfigError(f"{path}: data {key!r} needs a source")
    if len({task.name for task in suite.tasks}) < len(suite.tasks):
        raise ConfigError(f"{path}: two tasks have the same name")
    return suite


def _check(task: Task, suite: Suite, where: str) -> None:
    if not task.name or task.kind not in KINDS:
        raise ConfigError(f"{where}: a task needs a name, and as kind one of {', '.join(KINDS)}, not {task.kind!r}")
    if task.data not in suite.data:
        raise ConfigError(f"{where}: data {task.data!r} is none of {', '.join(suite.data)}")
    if task.kind in ("class", "value", "zero_shot") and not task.target:
        raise ConfigError(f"{where}: say which column is the target")
    if task.kind == "tags" and not task.columns:
        raise ConfigError(f"{where}: say which columns hold the tags")
    task.metric = task.metric or _METRIC.get(task.kind, "")
    if task.kind in PROBES and task.metric not in METRICS:
        raise ConfigError(f"{where}: metric {task.metric!r} is none of {', '.join(METRICS)}")
    if task.pooling not in ("mean", "stats"):
        raise ConfigError(f"{where}: pooling {task.pooling!r}: choose mean or stats")


def _packaged() -> Path:
    return Path(str(files("zoo.benchmarks") / "suites"))
