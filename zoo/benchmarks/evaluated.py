"""The test clips of a task: selected, decoded, embedded or transcribed.

Legend: N clips, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.audio import Clip
from zoo.benchmarks.conditions import Condition
from zoo.benchmarks.features import read
from zoo.benchmarks.items import EvalItem, EvalItems
from zoo.benchmarks.results import TaskResult
from zoo.benchmarks.significance import Interval
from zoo.benchmarks.suite import SuiteTask
from zoo.benchmarks.targets import MAX_FAILED_SHARE
from zoo.data.manifest import Entry
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError, MissingDependencyError

BATCH = 16  # clips
LANGUAGE_OF_CLIP = "clip"
"""Value of the option `language`: each clip is transcribed in its own language, if the model has a token for it."""


def test_items(task: SuiteTask, items: EvalItems) -> list[EvalItem]:
    """Clips of the test split that the task selects, in the order of the source."""
    return [items.items[index] for index in items.select(task) if items.items[index].entry.split == "test"]


def items_with(
    notes: list[str], what: str, items: Sequence[EvalItem], has: Callable[[EvalItem], bool]
) -> list[EvalItem]:
    """Clips that have `what`. A line in `notes` counts the others. Raises ConfigError if none has it."""
    selected = [item for item in items if has(item)]
    if not items:
        raise ConfigError("the test split has no clips for this task")
    if not selected:
        raise ConfigError(f"no clip of test has {what}")
    if len(selected) < len(items):
        notes.append(f"{len(items) - len(selected)} of {len(items)} clips of test without {what} are left out")
    return selected


def read_clips(
    notes: list[str], items: Sequence[EvalItem], sample_rate: int, condition: Condition | None = None
) -> list[tuple[EvalItem, Clip]]:
    """Clips that can be decoded. A line in `notes` counts the others.

    Raises ConfigError if too many fail, or if there is none.
    """
    if not items:
        raise ConfigError("the test split has no clips for this task")
    decoded, failed = [], []
    for item in items:
        try:
            decoded.append((item, read(item, sample_rate, condition)))
        except (AudioError, MissingDependencyError) as error:
            failed.append(f"{item.key}: {getattr(error, 'reason', error)}")
    if len(failed) > MAX_FAILED_SHARE * len(items):
        raise ConfigError(f"{len(failed)} of {len(items)} clips cannot be used, e.g. {failed[0]}")
    if failed:
        notes.append(f"{len(failed)} of {len(items)} clips could not be used, e.g. {failed[0]}")
    return decoded


def drop_short(
    notes: list[str], clips: Sequence[tuple[EvalItem, Clip]], encoder: Encoder
) -> list[tuple[EvalItem, Clip]]:
    """Clips that give one frame or more. A line in `notes` counts the others. Raises ConfigError if none does."""
    usable = [(item, clip) for item, clip in clips if encoder.count_frames(len(clip))]
    if len(usable) < len(clips):
        notes.append(f"{len(clips) - len(usable)} clips are too short for this encoder and are left out")
    if not usable:
        raise ConfigError("no clip of test is long enough for this encoder")
    return usable


def embed_items(
    notes: list[str], items: Sequence[EvalItem], encoder: Encoder, condition: Condition | None = None
) -> tuple[list[EvalItem], Tensor]:
    """Clips that can be embedded, and their vectors (N, D); lines in `notes` count the others.

    Raises ConfigError if a vector is not finite.
    """
    usable = drop_short(notes, read_clips(notes, items, encoder.sample_rate, condition), encoder)
    batches = [
        encoder.embed([clip for _, clip in usable[start : start + BATCH]], encoder.sample_rate)
        for start in range(0, len(usable), BATCH)
    ]
    vectors = torch.cat(batches)
    if bad := (~torch.isfinite(vectors).all(1)).nonzero().flatten().tolist():
        raise ConfigError(f"{usable[bad[0]][0].key}: the encoder gave values that are not finite")
    return [item for item, _ in usable], vectors


class Embedder:
    """`embed_items` that keeps the vectors: the tasks of one run embed the same test clips once for each encoder."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], tuple[list[str], list[EvalItem], Tensor]] = {}

    def __call__(
        self, notes: list[str], items: Sequence[EvalItem], encoder: Encoder, condition: Condition | None = None
    ) -> tuple[list[EvalItem], Tensor]:
        """As embed_items."""
        clips = tuple((item.key, item.digest) for item in items)
        key = (id(encoder), condition.name if condition else "", clips)
        if key not in self._kept:
            own_notes: list[str] = []
            embedded, vectors = embed_items(own_notes, items, encoder, condition)
            self._kept[key] = own_notes, embedded, vectors
        own_notes, embedded, vectors = self._kept[key]
        notes += own_notes
        return embedded, vectors


def transcribe_clips(
    task: SuiteTask, encoder: Encoder, clips: Sequence[Clip], entries: Sequence[Entry] | None = None
) -> list[str]:
    """Transcripts of N clips, with the options of the task. entries: of the clips, for their languages."""
    texts: list[str] = []
    options = task.arguments()
    by_clip = options.get("language") == LANGUAGE_OF_CLIP
    if by_clip and entries is None:
        raise ConfigError(f"language {LANGUAGE_OF_CLIP}: these clips have no language; name one")
    for start in range(0, len(clips), BATCH):
        batch = list(clips[start : start + BATCH])
        if by_clip:
            options["language"] = languages_of((entries or ())[start : start + BATCH], encoder)
        transcripts = encoder.transcribe(batch, encoder.sample_rate, **options)  # type: ignore[operator]
        texts += [transcript.text for transcript in transcripts]
    return texts


def languages_of(entries: Sequence[Entry], encoder: Encoder) -> list[str | None]:
    """The language of each clip if the model has a token for it; None: the model identifies it."""
    tokens = getattr(getattr(encoder, "tokenizer", None), "languages", {})
    return [entry.lang if entry.lang in tokens else None for entry in entries]


def caption(item: EvalItem) -> str:
    """The first caption that is not empty; "" without any."""
    return next((caption for caption in item.entry.captions if caption.strip()), "")


def task_result(metric: str, value: float, interval: Interval, groups: Sequence[str], **others: Any) -> TaskResult:
    """The result with this score. groups: the group of each test item. others: more fields of the result."""
    return TaskResult(
        metric, value, interval.low, interval.high, test_items=len(groups), groups=len(set(groups)), **others
    )


def result_row(item: EvalItem, value: float, weight: float = 1.0, **columns: Any) -> dict[str, Any]:
    """The result of one test clip: its score is value / weight. columns: more for the file of predictions."""
    return {"item": item.key, "group": item.group, "value": float(value), "weight": float(weight), **columns}
