"""results.json: one record per task and model. It is written after every task, and a rerun reads it again."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from zoo._version import __version__
from zoo.benchmarks.suite import PROTOCOL
from zoo.errors import ZooError
from zoo.io.atomic import replacing_file
from zoo.io.git import git_info

FORMAT = 2  # raised when the keys of results.json or of the predictions change
Rows = Sequence[Mapping[str, Any]]
"""One row per test item, for the file of predictions."""
RESULTS, PREDICTIONS = "results.json", "predictions"
_NAME_PART = 28  # characters; two of these, of four bytes each, and a hash fit into a file's name


@dataclass
class TaskResult:
    """What a model achieves on a task: the fields of a Record that do not name them. rows: one per test item."""

    metric: str
    score: float | None = None
    low: float | None = None
    high: float | None = None
    lower_is_better: bool = False
    seeds: list[float] = field(default_factory=list)
    layer: int | None = None
    penalty: float | None = None
    curves: dict[str, list[float]] = field(default_factory=dict)
    test_items: int = 0
    groups: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rows: Rows = ()


@dataclass
class Record:
    """The result of one model on one task.

    model: its name in tables. role: "model" or "baseline". fingerprint, data, task_key: fingerprints of the model, the
    data and the task settings. status: "ok", or "skipped" with a reason. score: higher is better, except for word error
    rates and seconds (`lower_is_better`). low, high: bounds of the 95 % interval. groups: number of independent groups
    in the test set. predictions: file with a row per test item. run: index of the run in results.json that computed it;
    None if unknown.
    """

    task: str
    kind: str
    model: str
    role: str
    fingerprint: str
    data: str
    task_key: str
    status: str = "ok"
    reason: str = ""
    metric: str = ""
    score: float | None = None
    low: float | None = None
    high: float | None = None
    lower_is_better: bool = False
    seeds: list[float] = field(default_factory=list)
    layer: int | None = None
    penalty: float | None = None
    curves: dict[str, list[float]] = field(default_factory=dict)
    test_items: int = 0
    groups: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    predictions: str = ""
    seconds: float = 0.0
    run: int | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        return (self.task, self.model, self.fingerprint, self.data, self.task_key)

    def with_result(self, result: TaskResult) -> Record:
        """A copy with a result. It is skipped if the score is not a number."""
        if result.score is None or not math.isfinite(result.score):
            return self.skipped("the score is not a number")
        values = {key: value for key, value in vars(result).items() if key != "rows"}
        return replace(self, **values)

    def skipped(self, reason: str) -> Record:
        """A copy without a result, for this reason."""
        return replace(self, status="skipped", reason=reason)


class Store:
    """The records of one output folder. Records that are there already are not computed again.

    of_this_run: the records of the models and tasks of the last run, computed or found.
    """

    def __init__(self, folder: Path, suite: str, command: str = "") -> None:
        """command: the command line that computes the new records, so that readers can repeat it.

        Raises ZooError if the folder holds damaged results, or results of another suite, protocol or format.
        """
        self.folder, self.suite, self.command = folder, suite, command
        self.results = Results(suite)
        self._run: int | None = None
        path = folder / RESULTS
        if path.exists():
            self.results = read_results(path, suite)
        self.records = {record.identity: record for record in self.results.records}
        self.of_this_run: list[Record] = []

    def get(self, record: Record) -> Record | None:
        return self.records.get(record.identity)

    def make_current(self, record: Record) -> None:
        """Make the data and settings of a stored record the current ones of its task.

        Tables show a task with the data and settings of its last record. So an older record moves to the end.
        """
        last = next(stored for stored in reversed(self.records.values()) if stored.task == record.task)
        if (last.data, last.task_key) != (record.data, record.task_key):
            self.records[record.identity] = self.records.pop(record.identity)
            self.results.ranks, self.results.best = {}, {}
            self._write()

    def set_ranks(self, ranks: dict[str, dict[str, int]], best: dict[str, list[str]]) -> None:
        """Store for each task the rank of each model, and the models that are not significantly worse than the best."""
        self.results.ranks, self.results.best = ranks, best
        self._write()

    def add(self, record: Record, predictions: Rows = ()) -> None:
        """Write the predictions first, then the results that name their file."""
        self.results.ranks, self.results.best = {}, {}  # they were computed from fewer records
        if self._run is None:
            self._run = self.results.run_index(describe_run(self.command))
        record.run = self._run
        if predictions:
            record.predictions = f"{PREDICTIONS}/{_predictions_name(record)}"
            with replacing_file(self.folder / record.predictions) as partial, partial.open("wb") as file:
                file.writelines(_json(row) + b"\n" for row in predictions)
        self.records[record.identity] = record
        self._write()

    def _write(self) -> None:
        self.results.records = list(self.records.values())
        self.results.write(self.folder / RESULTS)


@dataclass
class Results:
    """The content of a results.json. runs: the runs that computed the records, see `describe_run`.

    about: what the suite is about, as it says.
    best: task -> the models that are not significantly worse than the best; older files have none.
    """

    suite: str
    records: list[Record] = field(default_factory=list)
    ranks: dict[str, dict[str, int]] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, list[str]] = field(default_factory=dict)
    about: str = ""

    def bold(self, shown: Sequence[Record]) -> dict[str, list[str]]:
        """Task -> the models whose scores a table of these records shows in bold; none if that would be all.

        Files without `best` have no test against the best, so the intervals of the shown records decide.
        """
        bold = {}
        for task, ranks in self.ranks.items():
            scored = [record for record in shown if record.task == task and record.score is not None]
            best = self.best.get(task)
            models = len(ranks)
            if best is None:
                best = near_best(scored)
                models = len(scored)
            bold[task] = best if len(best) < models else []
        return bold

    def run_index(self, run: dict[str, Any]) -> int:
        """The index of a run. A new run is appended."""
        if run not in self.runs:
            self.runs.append(run)
        return self.runs.index(run)

    def write(self, path: Path) -> None:
        content = {
            "format": FORMAT,
            "protocol": PROTOCOL,
            "suite": self.suite,
            "about": self.about,
            "zoo": __version__,
            "environment": environment(),
            "runs": self.runs,
            "ranks": self.ranks,
            "best": self.best,
            "records": [_finite(asdict(record)) for record in self.records],
        }
        with replacing_file(path) as partial:
            partial.write_bytes(_json(content, indent=1))


def near_best(records: Sequence[Record]) -> list[str]:
    """The model with the best score, and each model whose interval holds that score. records: of one task."""
    scores = [record.score for record in records if record.score is not None]
    if not scores:
        return []
    best = min(scores) if records[0].lower_is_better else max(scores)
    names = []
    for record in records:
        holds_best = record.low is not None and record.high is not None and record.low <= best <= record.high
        if record.score == best or holds_best:
            names.append(record.model)
    return names


def read_results(path: Path, suite: str | None = None) -> Results:
    """The content of a results.json. suite: the suite it must be of; default: any.

    Raises ZooError if it is damaged, or of another suite, protocol or format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        head = {key: content[key] for key in ("format", "protocol", "suite")}
        _check_head(path, head, head["suite"] if suite is None else suite)  # first: other formats have other fields
        records = [Record(**record) for record in content["records"]]
        optional = {key: content[key] for key in ("ranks", "runs", "best", "about") if key in content}
        return Results(head["suite"], records, **optional)
    except (ValueError, KeyError, TypeError) as error:
        raise ZooError(f"{path}: damaged ({error}); move it away, or use another folder") from None


def _check_head(path: Path, head: dict[str, Any], suite: str) -> None:
    required = {"format": FORMAT, "protocol": PROTOCOL, "suite": suite}
    for key, value in required.items():
        if head[key] != value:
            advice = (
                "a folder holds the results of one suite; use another folder"
                if key == "suite"
                else "this version of zoo cannot use it; run the benchmark again, into another folder"
            )
            raise ZooError(f"{path}: has {key} {head[key]}, but {value} is required; {advice}")


def read_records(path: Path, suite: str | None = None) -> list[Record]:
    """Only the records of a results.json, see `read_results`."""
    return read_results(path, suite).records


def describe_run(command: str) -> dict[str, Any]:
    """Command, day, and environment of a run."""
    return {"command": command, "day": time.strftime("%Y-%m-%d"), **environment()}


def environment() -> dict[str, Any]:
    """Versions and hardware. Times depend on them, and so do the last digits of scores."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": _processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "commit": git_info("rev-parse", "--short", "HEAD"),
    }


def _processor() -> str:
    """The name of the processor, if the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _predictions_name(record: Record) -> str:
    """Task and model, readable, and a hash: records with other data or settings have files of their own."""
    digest = hashlib.sha256(json.dumps(record.identity).encode()).hexdigest()[:16]
    return f"{_file_name(record.task)}.{_file_name(record.model)}.{digest}.jsonl"


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in text)[:_NAME_PART]


def _json(value: Any, indent: int | None = None) -> bytes:
    """Bytes that are not UTF-8, which file names may hold, become escapes that JSON can read again."""
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace")


def _finite(value: Any) -> Any:
    """Replace NaN and infinity by None: JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
