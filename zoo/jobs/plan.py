"""The plan of a job: items, shards and batches.

The plan depends on inputs and settings only. So a shard has the same bytes, whoever computes it and when.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from zoo.errors import ZooError
from zoo.io.atomic import replacing_file
from zoo.io.text import dumps
from zoo.jobs.lists import Item, Label
from zoo.jobs.survey import Planned

# Because of the leading underscore, Arrow, Spark and Dask skip the file when they read the whole folder.
PLAN_NAME = "_plan.jsonl"
FORMAT = 3
# The folder of a job that keeps its shards only until the output is finished.
FOLDER = ".job"
# A shorter clip counts as this long in a batch. This limits the number of clips in a batch.
MIN_SECONDS = 0.1


@dataclass(frozen=True)
class Limits:
    """Limits of a shard and of a batch.

    items, seconds, size: most items of a shard, their audio (the work that a crash can lose), and the bytes of their
    results (they stay in memory until the shard is written). An item has `item_size` bytes of results, and
    `second_size` more for each second. batch_seconds: padded audio in one batch; None: a shard is one batch.
    """

    items: int
    seconds: float
    batch_seconds: float | None = None
    size: float | None = None
    item_size: float = 0.0
    second_size: float = 0.0


class Shard(NamedTuple):
    """Items `start` to `stop` - 1 of the plan. key: hash of settings and items; a file with this key is up to date."""

    number: int
    start: int
    stop: int
    key: str


@dataclass(frozen=True)
class Plan:
    """Settings and items. Shards hold consecutive items; the batches of a shard hold items of similar length.

    task: name of the command. settings: what the results depend on besides the audio, as plain JSON values.
    suffix: of the files of the shards.
    """

    task: str
    settings: dict[str, Any]
    limits: Limits
    suffix: str
    items: tuple[Planned, ...]
    folder: str  # relative paths are relative to this working directory
    grown: tuple[int, ...] = ()  # index of the first item that each later run added; a new shard starts there
    removed: frozenset[int] = frozenset()  # indices of pruned items: they have no rows, so the others keep their shards
    labels: tuple[tuple[Label, ...], ...] = ()  # of each item, if the task keeps columns of the lists
    inputs: str = ""  # digest of the inputs of the run that made the plan

    def shards(self) -> list[Shard]:
        shards: list[Shard] = []
        base = hashlib.sha256(dumps([self.task, self.settings]).encode())
        borders = [*self.grown, len(self.items)]
        start = 0
        while start < len(self.items):
            end = next(border for border in borders if border > start)
            stop = self._stop(start, end)
            digest = base.copy()
            for index in range(start, stop):
                line = [*astuple(self.items[index]), *self.labels_of(index), index in self.removed]
                digest.update(dumps(line).encode())
            digest.update(str(start).encode())
            shards.append(Shard(len(shards), start, stop, digest.hexdigest()[:16]))
            start = stop
        return shards

    def _stop(self, start: int, end: int) -> int:
        """The end of the shard that begins at item `start`: `end`, or where a limit is reached."""
        limits = self.limits
        most = math.inf if limits.size is None else limits.size
        seconds = size = 0.0
        end = min(end, start + limits.items)
        for index in range(start, end):
            item_seconds = self.items[index].seconds
            seconds += item_seconds
            size += limits.item_size + limits.second_size * item_seconds
            if index > start and (seconds > limits.seconds or size > most):
                return index
        return end

    def name(self, shard: Shard) -> str:
        """Name of the file of a shard."""
        return f"part-{shard.number:05d}{self.suffix}"

    def labels_of(self, index: int) -> tuple[Label, ...]:
        """The values of the kept columns of an item."""
        return self.labels[index] if self.labels else ()

    def present(self, shard: Shard) -> list[int]:
        """Indices of the shard's items, without pruned ones."""
        return [index for index in range(shard.start, shard.stop) if index not in self.removed]

    def seconds(self, shard: Shard) -> float:
        """Audio of a shard."""
        return sum(self.items[index].seconds for index in self.present(shard))

    def batches(self, shard: Shard) -> Iterator[list[int]]:
        """Indices of the shard's readable items, longest first. A padded batch has at most `batch_seconds` of audio."""
        indices = [index for index in self.present(shard) if self.items[index].reason is None]
        indices.sort(key=lambda index: (-self.items[index].seconds, index))
        limit = self.limits.batch_seconds
        while indices:
            longest = max(self.items[indices[0]].seconds, MIN_SECONDS)
            count = len(indices) if limit is None else max(1, int(limit / longest))
            yield indices[:count]
            indices = indices[count:]


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan: settings and limits in the first line, then one line for each item."""
    head = {
        "format": FORMAT,
        "task": plan.task,
        "settings": plan.settings,
        "limits": asdict(plan.limits),
        "suffix": plan.suffix,
        "folder": plan.folder,
        "inputs": plan.inputs,
        "items": len(plan.items),
    }
    head |= {"grown": plan.grown} if plan.grown else {}
    head |= {"removed": sorted(plan.removed)} if plan.removed else {}
    with replacing_file(path, shared=True) as partial, partial.open("wb") as file:
        file.write(dumps(head).encode() + b"\n")
        for index, item in enumerate(plan.items):
            file.write(dumps([*astuple(item), *plan.labels_of(index)]).encode() + b"\n")


def read_plan(path: Path) -> Plan | None:
    """The plan in a file; None if there is no file. Raises ZooError for a damaged plan."""
    try:
        with path.open(encoding="utf-8") as file:
            head = json.loads(next(file))
            if head["format"] != FORMAT:
                raise ZooError(
                    f"{path}: format {head['format']}, but this version of zoo reads {FORMAT}; use another folder"
                )
            rows = [json.loads(line) for line in file]
        if len(rows) != head["items"]:
            raise ValueError(f"{len(rows)} of {head['items']} items")
        size = len(fields(Planned))
        labels = tuple(tuple(row[size:]) for row in rows)
        return Plan(
            head["task"],
            head["settings"],
            Limits(**head["limits"]),
            head["suffix"],
            tuple(Planned(*row[:size]) for row in rows),
            head["folder"],
            grown=tuple(head.get("grown", ())),
            removed=frozenset(head.get("removed", ())),
            labels=labels if any(labels) else (),
            inputs=head["inputs"],
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, StopIteration) as error:
        raise ZooError(f"{path}: damaged plan ({error}); delete the folder, or use another folder") from error


def hidden_folder(target: Path) -> Path:
    """The folder of a job whose output is a file."""
    return target.with_name(f".{target.name}{FOLDER}")


def digest_inputs(items: Sequence[Item]) -> str:
    """A digest of items and of the folder that their paths start from."""
    digest = hashlib.sha256(str(Path.cwd()).encode(errors="surrogateescape"))
    for item in items:
        digest.update(dumps(item).encode())
    return digest.hexdigest()[:16]


def stamp(path: Path) -> tuple[int, int] | None:
    """Changes whenever the plan in a file is replaced; None if there is no file."""
    try:
        status = os.stat(path)  # noqa: PTH116 (before each shard: no Path objects)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns
