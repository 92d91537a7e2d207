"""Several processes or micro-batches give the same result as one process with one large batch."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_task import Tiny, loader, write_corpus
from torchrun import torchrun
from two_processes import CONFIG, run

from zoo.data.sampler import Cursor
from zoo.errors import ConfigError
from zoo.train import TrainConfig, fit, processes
from zoo.train.optim import Optimizer
from zoo.train.tally import Tally

HERE = Path(__file__).parent


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_equal_one(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus")
    run(tmp_path / "corpus", tmp_path / "one")
    torchrun(HERE / "two_processes.py", tmp_path / "corpus", tmp_path / "two")
    assert json.loads((tmp_path / "two" / "env.json").read_text())["processes"] == 2
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert len(one) == len(two) == 14
    for a, b in zip(one, two, strict=True):
        for name in {"loss", "close", "gradient_norm", "audio_hours", "epoch"} & a.keys():
            assert a[name] == pytest.approx(b[name], rel=1e-5), (a, b)
    weights = [load_file(tmp_path / n / "checkpoints" / "step-00000012" / "task.safetensors") for n in ("one", "two")]
    for name, tensor in weights[0].items():
        assert torch.allclose(tensor, weights[1][name], atol=1e-5), name


def test_processes_wait_for_hours_for_the_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def join(**options: Any) -> SimpleNamespace:
        calls.append(options)
        return SimpleNamespace(num_processes=1)

    monkeypatch.setattr(processes, "PartialState", join)
    assert processes.start("cpu") == torch.device("cpu")
    assert calls[0]["timeout"] >= timedelta(days=1)


def gradients(batches: list[Any]) -> dict[str, torch.Tensor]:
    task = Tiny(dropout=0.0)
    optimizer, tally = Optimizer(task, TrainConfig(clip_norm=None)), Tally()
    task.accumulate(batches, tally.add)
    optimizer.divide_gradients(tally.tensor(torch.device("cpu"))[1])
    return {name: p.grad for name, p in task.named_parameters()}


def test_accumulation_is_one_big_batch(tmp_path: Path) -> None:
    data = loader(write_corpus(tmp_path))
    small = gradients([data.batch(Cursor(), part) for part in ([1, 2, 3], [4], [5, 6])])
    big = gradients([data.batch(Cursor(), [1, 2, 3, 4, 5, 6])])
    for name, grad in big.items():
        assert torch.allclose(small[name], grad, rtol=1e-5, atol=1e-8), name


def test_an_uneven_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "world", lambda: 3)
    data = loader(write_corpus(tmp_path / "corpus"))
    with pytest.raises(ConfigError, match="batches_per_step 4 cannot be shared evenly by 3 processes"):
        fit(Tiny(), data, None, CONFIG, tmp_path / "run")


class Fake:
    """The exchange between two processes. `other`: values of the other process."""

    def __init__(self, other: list[torch.Tensor]) -> None:
        self.other = iter(other)

    def all_reduce(self, values: torch.Tensor) -> None:
        values += next(self.other)


def test_unused_parameters_count_as_zero_and_get_no_gradient_if_no_process_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b, c = (torch.nn.Parameter(torch.zeros(2, 2)) for _ in range(3))
    a.grad = torch.full((2, 2), 1.0)
    other = [torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1.0] * 4), torch.tensor([5.0] * 4)]
    monkeypatch.setattr(processes, "world", lambda: 2)
    monkeypatch.setattr(processes, "dist", Fake(other))
    monkeypatch.setattr(processes, "CHUNK", 3)  # one parameter in a chunk
    processes.sum_gradients([a, b, c])
    assert (a.grad == 2).all() and (b.grad == 5).all() and c.grad is None
