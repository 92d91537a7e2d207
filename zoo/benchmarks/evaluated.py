"""The test clips that a task is about, as an encoder hears them.

Legend: N clips, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zoo.audio import Clip
from zoo.benchmarks.conditions import Condition
from zoo.benchmarks.features import read
from zoo.benchmarks.items import EvalItem, EvalItems
from zoo.benchmarks.results import Record
from zoo.benchmarks.significance import Interval
from zoo.benchmarks.suite import SuiteTask
from zoo.benchmarks.targets import FAILED_SHARE
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError, MissingDependencyError

BATCH = 16  # clips


def test_items(task: SuiteTask, items: EvalItems) -> list[EvalItem]:
    """In the source's order."""
    return [items.items[place] for place in items.chosen(task) if items.items[place].entry.split == "test"]


def having(record: Record, what: str, asked: Sequence[EvalItem], has: Callable[[EvalItem], bool]) -> list[EvalItem]:
    """The clips that have `what` is asked about; the others are noted. Raises ConfigError where there is none."""
    found = [item for item in asked if has(item)]
    if not asked:
        raise ConfigError("the test split has no clips that the task is about")
    if not found:
        raise ConfigError(f"no clip of test has {what}")
    if len(found) < len(asked):
        record.notes.append(f"{len(asked) - len(found)} of {len(asked)} clips of test without {what} are left out")
    return found


def readable(
    record: Record, asked: Sequence[EvalItem], sample_rate: int, condition: Condition | None = None
) -> list[tuple[EvalItem, Clip]]:
    """The clips that can be decoded; the others are noted. Raises ConfigError where they are too many, or none."""
    if not asked:
        raise ConfigError("the test split has no clips that the task is about")
    found, failed = [], []
    for item in asked:
        try:
            found.append((item, read(item, sample_rate, condition)))
        except (AudioError, MissingDependencyError) as error:
            failed.append(f"{item.key}: {getattr(error, 'reason', error)}")
    if len(failed) > FAILED_SHARE * len(asked):
        raise ConfigError(f"{len(failed)} of {len(asked)} clips cannot be used, e.g. {failed[0]}")
    if failed:
        record.notes.append(f"{len(failed)} of {len(asked)} clips could not be used, e.g. {failed[0]}")
    return found


def long_enough(
    record: Record, clips: Sequence[tuple[EvalItem, Clip]], encoder: Encoder
) -> list[tuple[EvalItem, Clip]]:
    """The clips that give at least one frame; the others are noted. Raises ConfigError where there is none."""
    usable = [(item, clip) for item, clip in clips if encoder.count_frames(len(clip))]
    if len(usable) < len(clips):
        record.notes.append(f"{len(clips) - len(usable)} clips are too short for this encoder and are left out")
    if not usable:
        raise ConfigError("no clip of test is long enough for this encoder")
    return usable


def embedded(
    record: Record, asked: Sequence[EvalItem], encoder: Encoder, condition: Condition | None = None
) -> tuple[list[EvalItem], Tensor]:
    """The clips that can be embedded, and their vectors (N, D). Raises ConfigError where one is not finite."""
    usable = long_enough(record, readable(record, asked, encoder.sample_rate, condition), encoder)
    vectors = [
        encoder.embed([clip for _, clip in usable[start : start + BATCH]], encoder.sample_rate)
        for start in range(0, len(usable), BATCH)
    ]
    found = torch.cat(vectors)
    if bad := (~torch.isfinite(found).all(1)).nonzero().flatten().tolist():
        raise ConfigError(f"{usable[bad[0]][0].key}: the encoder gave values that are not finite")
    return [item for item, _ in usable], found


def transcripts(task: SuiteTask, encoder: Encoder, clips: Sequence[Clip]) -> list[str]:
    """What is said in each of N clips, with the task's options."""
    said: list[str] = []
    for start in range(0, len(clips), BATCH):
        batch = list(clips[start : start + BATCH])
        found = encoder.transcribe(batch, encoder.sample_rate, **task.arguments())  # type: ignore[operator]
        said += [transcript.text for transcript in found]
    return said


def score(record: Record, metric: str, value: float, interval: Interval, groups: Sequence[str]) -> None:
    """Fill in the number. groups: of each item that was asked."""
    record.metric, record.score, record.low, record.high = metric, value, interval.low, interval.high
    record.test_items, record.groups = len(groups), len(set(groups))
