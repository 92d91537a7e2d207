"""The files of finished shards: what they say about themselves, and the writer that a task fills.

A shard is a Parquet file (its notes are in the metadata) or a file of JSON lines (its notes are the first line).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from zoo.io.atomic import naming_errors, publish, replacing_file, unfinished
from zoo.io.text import printable
from zoo.jobs.failures import ERRORS_NAME
from zoo.jobs.lists import Item
from zoo.jobs.plan import Plan, Shard

PARQUET, JSON_LINES = ".parquet", ".jsonl"


class Failure(NamedTuple):
    """An item that failed, and why. item_index: in the plan."""

    item_index: int
    reason: str


class ShardWriter(ABC):
    """Collect the results and failures of a shard. The file appears at `commit`, complete."""

    def __init__(self, path: Path, plan: Plan, shard: Shard) -> None:
        self.path, self.plan, self.shard = path, plan, shard
        self.owner = f".{uuid4().hex[:12]}"  # a worker that lost its claim may still write its own file
        self.partial = unfinished(path, self.owner)
        self.failures: list[Failure] = []

    def add(self, outcome: Any) -> None:
        """Add a result of the task, or a Failure: the last outcome of its item, which cancels its results."""
        if isinstance(outcome, Failure):
            self.failures.append(outcome)
            self.cancel(outcome.item_index)
        else:
            self.write(outcome)

    @abstractmethod
    def write(self, result: Any) -> None:
        """Add one result."""

    @abstractmethod
    def cancel(self, index: int) -> None:
        """Drop the results of an item."""

    @abstractmethod
    def finish(self) -> None:
        """Write and close `self.partial`."""

    def commit(self) -> None:
        """Publish the file."""
        self.finish()
        publish(self.path, self.owner)

    def close(self) -> None:
        """Close and remove the unfinished file, if there is one."""
        self.partial.unlink(missing_ok=True)


class LinesWriter(ShardWriter):
    """A shard as JSON lines: notes, then the values of each item, in order. A result is (index of the item, values)."""

    def __init__(self, path: Path, plan: Plan, shard: Shard) -> None:
        super().__init__(path, plan, shard)
        self.lines: dict[int, dict[str, Any]] = {}

    def write(self, result: tuple[int, dict[str, Any]]) -> None:
        """Add the values of an item."""
        index, values = result
        self.lines[index] = values

    def cancel(self, index: int) -> None:
        """Drop the values of an item."""
        self.lines.pop(index, None)

    def finish(self) -> None:
        """Write the lines."""
        notes = {
            "key": self.shard.key,
            "failures": [[index, printable(reason)] for index, reason in sorted(self.failures)],
        }
        with naming_errors(self.path), self.partial.open("wb") as file:
            file.write(encode_line(notes))
            for _, values in sorted(self.lines.items()):
                file.write(encode_line(values))


def encode_line(values: dict[str, Any]) -> bytes:
    """A line of JSON. A byte of a file name that is not UTF-8 is escaped as JSON escapes it."""
    return json.dumps(values, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The values of the items in a shard."""
    with path.open("rb") as file:
        next(file)
        return [json.loads(line) for line in file]


def stored_failures(path: Path, shard: Shard) -> list[Failure] | None:
    """The failures of a finished shard. None if the shard is missing, out of date or damaged and must be computed."""
    try:
        key, failures = _parquet_notes(path) if path.suffix == PARQUET else _line_notes(path)
        return [Failure(*failure) for failure in failures] if key == shard.key else None
    except (OSError, KeyError, ValueError, TypeError, StopIteration, pa.ArrowException):  # depends on the damage
        return None


def parquet_notes(shard: Shard, failures: Sequence[Failure]) -> dict[str, str]:
    """The metadata of a shard as Parquet."""
    return {"zoo.shard": shard.key, "zoo.failures": json.dumps(sorted(failures))}


def _parquet_notes(path: Path) -> tuple[str, list[Any]]:
    metadata = pq.read_schema(path).metadata or {}
    return metadata[b"zoo.shard"].decode(), json.loads(metadata[b"zoo.failures"])


def _line_notes(path: Path) -> tuple[str, list[Any]]:
    with path.open("rb") as file:
        notes = json.loads(next(file))
    return notes["key"], notes["failures"]


def write_errors(out: Path, plan: Plan, failures: Sequence[Failure]) -> None:
    """Write _errors.jsonl: path, span and reason of each failure, in the order of the inputs. No failures, no file."""
    path = out / ERRORS_NAME
    if not failures:
        path.unlink(missing_ok=True)
        return
    with replacing_file(path, shared=True) as partial, partial.open("wb") as file:
        for index, reason in sorted(failures):
            file.write(_error_line(plan.items[index].item, reason))


def append_errors(out: Path, failures: Sequence[tuple[Item, str]]) -> None:
    """Add failures to _errors.jsonl."""
    if failures:
        with (out / ERRORS_NAME).open("ab") as file:
            file.writelines(_error_line(item, reason) for item, reason in failures)


def _error_line(item: Item, reason: str) -> bytes:
    span = {"start": item.start, "end": item.end}
    given = {name: value for name, value in span.items() if value is not None}
    return encode_line({"path": printable(item.path), **given, "reason": printable(reason)})


def read_errors(out: Path) -> list[tuple[str, str]]:
    """Path and reason of each line of _errors.jsonl."""
    path = out / ERRORS_NAME
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [(line["path"], line["reason"]) for line in lines]
