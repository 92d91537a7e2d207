"""The training loop: learning, reports, exactness."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from tiny_task import Tiny, loader, read_corpus, write_corpus

from zoo.data.dataset import Batch
from zoo.data.sampler import Cursor
from zoo.errors import TrainingError
from zoo.train import Output, Precision, TrainConfig, fit

QUICK = {"learning_rate": 1e-2, "log_every": 5, "validate_every": 10, "save_every": 5}


def lines(folder: Path, split: str = "train") -> list[dict[str, float]]:
    """Reports without values that depend on the clock."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = {"steps_per_second", "data_wait"}
    return [{k: v for k, v in r.items() if k not in timed} for r in records if r["split"] == split]


def test_learns_reports_and_exports(tmp_path: Path) -> None:
    entries = write_corpus(tmp_path / "corpus")
    result = fit(
        Tiny(), loader(entries), loader(entries, shuffle=False), TrainConfig(steps=60, **QUICK), tmp_path / "run"
    )
    train = lines(tmp_path / "run")
    assert train[-1]["loss"] < 0.5 * train[0]["loss"]
    assert [line["step"] for line in lines(tmp_path / "run", "dev")] == [10, 20, 30, 40, 50, 60]
    assert result.step == 60 and result.metrics["loss"] < train[0]["loss"]
    assert (result.best / "weights.pt").is_file() and (result.last / "weights.pt").is_file()
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["step-00000055", "step-00000060"]


class Poisoned(Tiny):
    """The loss of one item, or only its gradient, is not finite."""

    def __init__(self, index: int, gradient_only: bool) -> None:
        super().__init__()
        self.index, self.gradient_only = index, gradient_only

    def forward(self, batch: Batch) -> Output:
        output = super().forward(batch)
        if self.index in batch.indices.tolist():
            weight = self.net[0].weight[0, 0]
            zero = (weight - weight.detach()).abs().sqrt()  # 0, with an infinite slope
            output.loss = output.loss + (zero if self.gradient_only else weight * math.nan)
        return output


@pytest.mark.parametrize("gradient_only", [False, True])
def test_values_that_are_not_finite_stop_before_the_weights_change(tmp_path: Path, gradient_only: bool) -> None:
    entries = write_corpus(tmp_path / "corpus")
    task = Poisoned(7, gradient_only)
    weights: list[torch.Tensor] = []
    task.register_forward_pre_hook(lambda *_: weights.append(task.net[0].weight.detach().clone()))
    with pytest.raises(TrainingError, match=r"step \d: the (loss|gradient) is not finite") as error:
        fit(task, loader(entries), None, TrainConfig(steps=9, **QUICK), tmp_path / "run")
    assert torch.equal(task.net[0].weight, weights[-1]) and task.net[0].weight.isfinite().all()
    assert str(entries[7].audio) in str(error.value)
    assert (str(error.value).count(".wav") == 1) == (not gradient_only)


def test_bf16_learns_with_weights_in_float32(tmp_path: Path) -> None:
    entries = write_corpus(tmp_path / "corpus")
    dtypes = set()
    task = Tiny()
    task.net[0].register_forward_hook(lambda *a: dtypes.add(a[2].dtype))
    config = TrainConfig(steps=40, precision=Precision.bf16, **QUICK)
    fit(task, loader(entries), loader(entries, shuffle=False), config, tmp_path / "run")
    assert dtypes == {torch.bfloat16} and task.net[0].weight.dtype == torch.float32
    train = lines(tmp_path / "run")
    assert train[-1]["loss"] < 0.5 * train[0]["loss"]


def test_corrupt_items_are_counted_and_listed(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus")
    entries = read_corpus(tmp_path / "corpus")
    entries[5].audio.write_bytes(b"RIFF")
    fit(Tiny(), loader(entries), None, TrainConfig(steps=15, **QUICK), tmp_path / "run")
    assert lines(tmp_path / "run")[-1]["skipped"] == 1
    assert "05.wav" in (tmp_path / "run" / "skipped.jsonl").read_text()


def test_the_monitored_metric_chooses_the_best(tmp_path: Path) -> None:
    class Waning(Tiny):
        monitor, maximize = "score", True
        scores = iter([0.2, 0.9, 0.4])

        def validate(self, batches: object) -> dict[str, float]:
            return {"score": next(self.scores)}

    entries = write_corpus(tmp_path / "corpus")
    result = fit(Waning(), loader(entries), loader(entries), TrainConfig(steps=30, **QUICK), tmp_path / "run")
    best = torch.load(result.best / "weights.pt", weights_only=True)
    last = torch.load(result.last / "weights.pt", weights_only=True)
    assert any(not torch.equal(best[name], last[name]) for name in best)
    saved = json.loads((tmp_path / "run" / "checkpoints" / "step-00000030" / "progress.json").read_text())
    assert saved["best"] == {"step": 20, "value": 0.9}
    with pytest.raises(TrainingError, match="monitored metric 'score'"):
        Waning.validate = Tiny.validate  # type: ignore[assignment]
        fit(Waning(), loader(entries), loader(entries), TrainConfig(steps=30, **QUICK), tmp_path / "other")


def test_a_task_may_replay_its_batches(tmp_path: Path) -> None:
    """`run` twice on a batch draws the same dropout, as gradient caching needs it."""
    batch = loader(write_corpus(tmp_path)).batch(Cursor(), [1, 2, 3])
    task = Tiny(dropout=0.5)
    assert torch.equal(task.run(batch).loss, task.run(batch).loss)
    assert not torch.equal(task(batch).loss, task(batch).loss)


@pytest.mark.parametrize("maximize", [False, True])
def test_nan_is_never_better_than_a_number(tmp_path: Path, maximize: bool) -> None:
    class Odd(Tiny):
        values = iter([math.nan, 2.0, math.nan, 3.0])

        def validate(self, batches):  # type: ignore[no-untyped-def]
            return {"loss": next(self.values)}

    entries = write_corpus(tmp_path / "corpus")
    task = Odd()
    type(task).maximize = maximize
    fit(task, loader(entries), loader(entries, shuffle=False), TrainConfig(steps=40, **QUICK), tmp_path / "run")
    progress = json.loads((tmp_path / "run" / "checkpoints" / "step-00000040" / "progress.json").read_text())
    assert progress["best"] == ({"step": 40, "value": 3.0} if maximize else {"step": 20, "value": 2.0})
