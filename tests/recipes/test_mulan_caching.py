"""Gradient caching gives the gradients of one large batch, and repeats random operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from no_waiting import step_without_waiting
from torch import Tensor, nn

from zoo.data.sampler import Cursor
from zoo.models.mulan.audio import SpecAugment
from zoo.nn.losses import infonce_loss, multiview_loss
from zoo.recipes.mulan.config import Loss
from zoo.recipes.mulan.task import Contrast
from zoo.train import Output
from zoo.train.tally import Tally

PARTS = ([0, 1, 2, 3], [4, 5, 6], [7, 8])  # nine pairs in three micro-batches


def plain(task: Contrast) -> None:
    """Switch off dropout and SpecAugment."""
    for module in task.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.0
    task.model.augment = SpecAugment(0, 0, 0, 0)


def gradients(task: Contrast, run: Callable[[], Any]) -> dict[str, Tensor]:
    task.zero_grad()
    run()
    return {name: p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}


def backward(output: Output) -> None:
    output.loss.backward()


def assert_close(actual: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-6) -> None:
    """Compare each parameter's gradient, with a tolerance relative to the norm of all gradients."""
    assert actual.keys() == expected.keys() and len(actual) > 20
    norm = torch.stack([gradient.norm() for gradient in expected.values()]).norm()
    for name, gradient in expected.items():
        assert (actual[name] - gradient).norm() <= tolerance * norm, name


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
@pytest.mark.parametrize("loss", list(Loss))
def test_caching_gives_the_gradients_of_the_plain_large_batch(
    make: Any, loss: Loss, dtype: torch.dtype, tolerance: float
) -> None:
    task, loader = make("ast", loss=loss)
    plain(task.to(dtype))
    whole, *parts = (loader.batch(Cursor(), part) for part in ([i for part in PARTS for i in part], *PARTS))
    for batch in (whole, *parts):
        batch.mel = batch.mel.to(dtype)
    cached = gradients(task, lambda: task.accumulate(parts, backward))
    expected = gradients(task, lambda: task.accumulate([whole], backward))
    assert_close(cached, expected, tolerance)
    function = infonce_loss if loss == Loss.infonce else multiview_loss

    def direct() -> None:
        audio = task.model.embed_spectrogram(whole.mel, whole.mel_lengths)
        text = task.model.forward_text(whole.ids, whole.text_lengths)
        function(audio, text, task.model.temperature()).backward()

    assert_close(expected, gradients(task, direct), tolerance)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("tower", ["resnet", "ast"])
def test_caching_repeats_dropout_augmentation_and_batch_statistics(make: Any, tower: str, bf16: bool) -> None:
    """Compared with one graph over all micro-batches, which needs more memory."""
    task, loader = make(tower)
    task.autocast = lambda: torch.autocast("cpu", torch.bfloat16, enabled=bf16)
    batches = [loader.batch(Cursor(0, i), part) for i, part in enumerate(PARTS)]

    def one_graph() -> None:
        pairs = [task.embed(batch) for batch in batches]
        audio, text = (torch.cat(part) for part in zip(*pairs, strict=True))
        multiview_loss(audio, text, task.model.temperature()).backward()

    start = {name: value.clone() for name, value in task.state_dict().items()}
    expected = gradients(task, one_graph)
    updated = {name: value.clone() for name, value in task.model.state_dict().items()}
    task.load_state_dict(start)
    assert_close(gradients(task, lambda: task.accumulate(batches, backward)), expected)
    for name, value in task.model.state_dict().items():
        if "num_batches" not in name:
            torch.testing.assert_close(value, updated[name], msg=f"{name}: running averages are updated once")


@pytest.mark.parametrize("tower", ["resnet", "ast"])
def test_no_step_waits_for_a_gpu(make: Any, tower: str) -> None:
    task, loader = make(tower)
    step_without_waiting(task, loader.batch(Cursor(), PARTS[0]))


def test_a_step_counts_its_mean_loss_once(make: Any) -> None:
    task, loader = make()
    tally = Tally()
    task.accumulate([loader.batch(Cursor(), part) for part in PARTS], tally.add)
    totals = {name: pair.tolist() for name, pair in tally.split(tally.tensor(torch.device("cpu"))).items()}
    assert totals["loss"][1] == 1.0 and totals["pairs"] == [9.0, 1.0]
    assert totals["chance"][0] == pytest.approx(math.log(2 * 8))
    assert 0.7 < totals["loss"][0] / totals["chance"][0] < 1.5
