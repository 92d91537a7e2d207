"""Checkpoints of a run. A resumed run gives the same result as one that never stopped.

    checkpoints/step-00000200/   task.safetensors  optimizer.safetensors  progress.json

Each directory is written completely or not at all. No random state is saved: the order of the data is a function of
(seed, epoch), and each batch seeds the generator.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from zoo.checkpoint import assign, read_safetensors
from zoo.data.sampler import Cursor
from zoo.errors import CheckpointError
from zoo.io.atomic import replacing_directory
from zoo.train.optim import Optimizer
from zoo.train.task import TrainingTask

FORMAT = 1
TASK, OPTIMIZER, PROGRESS = "task.safetensors", "optimizer.safetensors", "progress.json"
_NAME = re.compile(r"step-(\d{8})")


@dataclass
class Progress:
    """The progress of a run.

    cursor: the next batch; audio_seconds: trained on so far; best: {"step", "value"} of the monitored metric;
    metrics: of the last validation; pending: sums since the last line of the log.
    """

    step: int = 0
    cursor: Cursor = field(default_factory=Cursor)
    audio_seconds: float = 0.0
    best: dict[str, float] | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    pending: dict[str, list[float]] = field(default_factory=dict)

    def add(self, totals: dict[str, list[float]]) -> bool:
        """Add sums of finished steps; returns whether some process received a signal to stop."""
        self.audio_seconds += totals.pop("seconds")[0]
        stop = totals.pop("stop")[0] > 0
        for name, (value, count) in totals.items():
            sums = self.pending.setdefault(name, [0.0, 0.0])
            sums[0] += value
            sums[1] += count
        return stop


def save(folder: Path, task: TrainingTask, optimizer: Optimizer, progress: Progress, keep: int) -> Path:
    """Write a checkpoint into `folder`, then remove all but the `keep` newest."""
    target = folder / f"step-{progress.step:08d}"
    with replacing_directory(target, may_replace=lambda _: None) as directory:
        save_file(_separate(task.state_dict()), directory / TASK)
        save_file(_separate(optimizer.tensors()), directory / OPTIMIZER)
        (directory / PROGRESS).write_text(json.dumps({"format": FORMAT} | asdict(progress)), encoding="utf-8")
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def load(directory: Path, task: TrainingTask, optimizer: Optimizer) -> Progress:
    """Load a checkpoint into task and optimizer. Raises CheckpointError if it is damaged or of another model."""
    try:
        values = json.loads((directory / PROGRESS).read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise CheckpointError(f"{directory}: written by another version of zoo; finish the run with that version")
        progress = Progress(**values | {"cursor": Cursor(**values["cursor"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(_damaged(directory, error)) from error
    assign(task, read_safetensors(directory / TASK), source=str(directory / TASK))
    try:
        optimizer.load(read_safetensors(directory / OPTIMIZER).items())
    except KeyError as error:
        raise CheckpointError(_damaged(directory, error)) from error
    return progress


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    return sorted(path for path in folder.glob("step-*") if _NAME.fullmatch(path.name))


def remove_partial_files(folder: Path) -> None:
    """Remove incomplete files of a killed run from its folder."""
    for partial in folder.glob("**/.*.tmp"):
        shutil.rmtree(partial, ignore_errors=True)


def _damaged(directory: Path, error: Any) -> str:
    return f"{directory}: damaged ({error}); remove it to resume from the previous checkpoint"


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors that share no memory, as safetensors requires."""
    seen: set[int] = set()
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        address = tensor.untyped_storage().data_ptr()
        result[name] = tensor.clone() if address in seen else tensor
        seen.add(address)
    return result
