"""results.json: one record per task and subject, written as soon as it is known, read again by a rerun."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from zoo._version import __version__
from zoo.benchmarks.suite import PROTOCOL
from zoo.errors import ZooError
from zoo.io.atomic import replacing_file
from zoo.io.git import git_info

FORMAT = 1
Rows = Sequence[Mapping[str, Any]]
"""What was said of each test item, for the file of predictions."""
RESULTS, PREDICTIONS = "results.json", "predictions"
_NAME_PART = 28  # characters; two of these, of four bytes each, and a hash fit into a file's name


@dataclass
class Record:
    """What one task said about one subject.

    status: "ok", or "skipped" with a reason. role: "model" or "baseline". score: higher is better, except for word
    error rates and seconds (`lower_is_better`). low, high: of the interval at 95 %. groups: how many independent units
    the test set has. predictions: file of what was said of each test item. model, data, task_key: fingerprints. run:
    which of the runs in results.json computed it; None where that was not kept.
    """

    task: str
    kind: str
    subject: str
    role: str
    model: str
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
        return (self.task, self.subject, self.model, self.data, self.task_key)


class Store:
    """The records of one output folder. Anything already there and still valid is not computed again."""

    def __init__(self, folder: Path, suite: str, command: str = "") -> None:
        """command: what the records to come are computed by, for people who want to do it again.

        Raises ZooError where the folder holds results of another suite, protocol or format, or damaged ones.
        """
        self.folder, self.suite, self.command = folder, suite, command
        self.results = Results(suite)
        self._run: int | None = None
        path = folder / RESULTS
        if path.exists():
            self.results = read_results(path, suite)
        self.records = {record.identity: record for record in self.results.records}

    def get(self, record: Record) -> Record | None:
        return self.records.get(record.identity)

    def recall(self, record: Record) -> None:
        """What is known already is asked for again: of a task's data and settings, those of its last record count.

        So a record of former ones goes behind those that came after it.
        """
        last = next(known for known in reversed(self.records.values()) if known.task == record.task)
        if (last.data, last.task_key) != (record.data, record.task_key):
            self.records[record.identity] = self.records.pop(record.identity)
            self.results.ranks = {}
            self._write()

    def rank(self, ranks: dict[str, dict[str, int]]) -> None:
        """Keep who is 1 + how many significantly better ones, by task and subject, beside the records."""
        self.results.ranks = ranks
        self._write()

    def add(self, record: Record, predictions: Rows = ()) -> None:
        """Write predictions first, then the results that name them."""
        self.results.ranks = {}  # of fewer records
        if self._run is None:
            self._run = self.results.number(run_of(self.command))
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
    """What a results.json holds. runs: what computed the records, each as `run_of` describes it."""

    suite: str
    records: list[Record] = field(default_factory=list)
    ranks: dict[str, dict[str, int]] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)

    def number(self, run: dict[str, Any]) -> int:
        """The place of a run among the runs, where it is put if it is new."""
        if run not in self.runs:
            self.runs.append(run)
        return self.runs.index(run)

    def write(self, path: Path) -> None:
        content = {
            "format": FORMAT,
            "protocol": PROTOCOL,
            "suite": self.suite,
            "zoo": __version__,
            "environment": environment(),
            "runs": self.runs,
            "ranks": self.ranks,
            "records": [_finite(asdict(record)) for record in self.records],
        }
        with replacing_file(path) as partial:
            partial.write_bytes(_json(content, indent=1))


def read_results(path: Path, suite: str | None = None) -> Results:
    """What a results.json holds, of that suite if one is named.

    Raises ZooError where it is damaged, or of another suite, protocol or format.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        head = {key: found[key] for key in ("format", "protocol", "suite")}
        _check_head(path, head, head["suite"] if suite is None else suite)  # others may have other fields
        records = [Record(**record) for record in found["records"]]
        return Results(head["suite"], records, found.get("ranks", {}), found.get("runs", []))
    except (ValueError, KeyError, TypeError) as error:
        raise ZooError(f"{path}: damaged ({error}); move it away, or use another folder") from None


def _check_head(path: Path, head: dict[str, Any], suite: str) -> None:
    wanted = {"format": FORMAT, "protocol": PROTOCOL, "suite": suite}
    for key, value in wanted.items():
        if head[key] != value:
            way = (
                "results of two suites do not go together; use another folder"
                if key == "suite"
                else "this version of zoo cannot go on with it; examine again, into another folder"
            )
            raise ZooError(f"{path}: is of {key} {head[key]}, and {value} is wanted; {way}")


def read_records(path: Path, suite: str | None = None) -> list[Record]:
    """The records of a results.json alone, see `read_results`."""
    return read_results(path, suite).records


def run_of(command: str) -> dict[str, Any]:
    """What a run says of itself: its command, the day, and where it was computed."""
    return {"command": command, "day": time.strftime("%Y-%m-%d"), **environment()}


def environment() -> dict[str, Any]:
    """What timings, and last digits, depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": _processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "commit": git_info("rev-parse", "--short", "HEAD"),
    }


def _processor() -> str:
    """Its name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _predictions_name(record: Record) -> str:
    """Task and subject for people, and a hash: records of former data or settings keep files of their own."""
    digest = hashlib.sha256(json.dumps(record.identity).encode()).hexdigest()[:16]
    return f"{_file_name(record.task)}.{_file_name(record.subject)}.{digest}.jsonl"


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in text)[:_NAME_PART]


def _json(value: Any, indent: int | None = None) -> bytes:
    """Names that are not UTF-8, as file systems allow, become escapes that JSON reads back."""
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace")


def _finite(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
