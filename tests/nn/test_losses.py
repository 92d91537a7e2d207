"""Contrastive losses compared with their definitions, term by term in float64, and across processes."""

from __future__ import annotations

import math
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from zoo.errors import ConfigError
from zoo.nn.losses import Temperature, infonce_chance, infonce_loss, multiview_chance, multiview_loss

LOSSES = {
    "multiview": multiview_loss,
    "multiview with itself": partial(multiview_loss, include_self=True),
    "infonce": infonce_loss,
}


def log_sum_exp(values: list[float]) -> float:
    top = max(values)
    return top + math.log(math.fsum(math.exp(value - top) for value in values))


def by_definition(name: str, audio: Tensor, text: Tensor, temperature: float) -> float:
    """The equations of the docstrings, one term at a time, in float64."""
    size = len(audio)
    s = [[float(a @ t) / temperature for t in text.double()] for a in audio.double()]
    terms = []
    for i in range(size):
        others = [j for j in range(size) if j != i or name == "multiview with itself"]
        if name == "infonce":
            rows, columns = s[i], [s[j][i] for j in range(size)]
            terms.append((log_sum_exp(rows) + log_sum_exp(columns)) / 2 - s[i][i])
        else:
            terms.append(log_sum_exp([s[i][j] for j in others] + [s[j][i] for j in others]) - s[i][i])
    return math.fsum(terms) / size


def pairs(size: int, width: int = 16, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    audio, text = F.normalize(torch.randn(2, size, width, generator=generator, dtype=torch.float64), dim=-1).to(dtype)
    return audio, text


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [2, 3, 17])
@pytest.mark.parametrize("temperature", [1.0, 0.07])
def test_value_is_that_of_the_definition(name: str, size: int, temperature: float) -> None:
    audio, text = pairs(size)
    loss = LOSSES[name](audio, text, temperature)
    assert loss.shape == () and loss.dtype == torch.float32
    assert loss.item() == pytest.approx(by_definition(name, audio, text, temperature), rel=1e-5, abs=1e-5)
    exact = LOSSES[name](audio.double(), text.double(), temperature)
    assert exact.item() == pytest.approx(by_definition(name, audio, text, temperature), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_value(name: str) -> None:
    audio, text = (x.requires_grad_() for x in pairs(5, 4, dtype=torch.float64))
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LOSSES[name], (audio, text, temperature))


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_stay_finite(name: str) -> None:
    audio, _ = pairs(8)
    text = -audio.roll(1, 0) * torch.tensor([1.0, -1.0]).repeat(4)[:, None]
    text[0] = audio[0]
    for temperature in (1e-3, 1e-6):  # logits up to a million: their exponentials overflow float64
        a, t, tau = audio.clone().requires_grad_(), text.clone().requires_grad_(), torch.tensor(temperature)
        loss = LOSSES[name](a, t, tau.requires_grad_())
        loss.backward()
        assert loss.item() == pytest.approx(by_definition(name, audio, text, tau.item()), rel=1e-5)
        assert all(x.grad is not None and x.grad.isfinite().all() for x in (a, t, tau))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_symmetric_and_independent_of_order(name: str) -> None:
    audio, text = pairs(9)
    loss = LOSSES[name](audio, text, 0.1)
    torch.testing.assert_close(LOSSES[name](text, audio, 0.1), loss)
    order = torch.randperm(9)
    torch.testing.assert_close(LOSSES[name](audio[order], text[order], 0.1), loss)


@pytest.mark.parametrize("size", [2, 5, 64])
def test_equal_similarities_give_the_chance_level(size: int) -> None:
    audio, text = torch.zeros(2, size, 4).index_fill(2, torch.tensor([0]), 1.0)
    assert multiview_loss(audio, text, 0.1).item() == pytest.approx(multiview_chance(size), abs=1e-5)
    assert multiview_loss(audio, text, 0.1, include_self=True).item() == pytest.approx(
        multiview_chance(size, include_self=True), abs=1e-5
    )
    assert infonce_loss(audio, text, 0.1).item() == pytest.approx(infonce_chance(size), abs=1e-5)


def test_perfect_pairs_reach_the_bounds() -> None:
    audio = torch.eye(6)
    assert infonce_loss(audio, audio, 0.01).item() == pytest.approx(0, abs=1e-5)
    assert multiview_loss(audio, audio, 0.01, include_self=True).item() == pytest.approx(math.log(2), abs=1e-5)
    assert multiview_loss(audio, audio, 0.01).item() == pytest.approx(multiview_chance(6) - 100, rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_embeddings_are_scored_in_float32(name: str) -> None:
    audio, text = pairs(12, dtype=torch.bfloat16)
    expected = by_definition(name, audio.float(), text.float(), 0.05)
    with torch.autocast("cpu", torch.bfloat16):
        loss = LOSSES[name](audio, text, torch.tensor(0.05))
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(expected, rel=1e-5)


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\(3, 4\) and text \(2, 4\)"):
        infonce_loss(torch.zeros(3, 4), torch.zeros(2, 4), 0.1)
    with pytest.raises(ConfigError, match="not pairs"):
        infonce_loss(torch.zeros(0, 4), torch.zeros(0, 4), 0.1)
    with pytest.raises(ConfigError, match="no other pair"):
        multiview_loss(torch.zeros(1, 4), torch.zeros(1, 4), 0.1)


# Temperature


def test_temperature_stays_in_its_range_and_can_return() -> None:
    temperature = Temperature(1.0, minimum=0.01)
    optimizer = torch.optim.SGD(temperature.parameters(), lr=0.5)
    for direction, low, high in ((-1.0, 1.0, 1.0), (1.0, 0.3, 0.99)):  # up to the bound, then down
        for _ in range(3):
            optimizer.zero_grad()
            (direction * temperature()).backward()
            optimizer.step()
        assert low <= temperature().item() <= high
    with torch.no_grad():
        temperature.log.fill_(3.0)  # beyond the bound, as momentum may do
    assert temperature().item() == 1.0
    temperature().backward()
    assert temperature.log.grad is not None and temperature.log.grad.item() > 0, "descent leads back inside"
    with torch.no_grad():
        temperature.log.fill_(-50.0)
    assert temperature().item() == pytest.approx(0.01)


@pytest.mark.parametrize("initial", [0.0, -1.0, 1.5, math.nan])
def test_impossible_temperatures_are_refused(initial: float) -> None:
    with pytest.raises(ConfigError, match="temperature"):
        Temperature(initial)


def test_temperature_learns_through_the_loss() -> None:
    temperature = Temperature(0.1)
    assert temperature().item() == pytest.approx(0.1) and temperature().shape == ()
    infonce_loss(*pairs(8), temperature()).backward()
    assert temperature.log.grad is not None and temperature.log.grad.abs().item() > 0
    assert temperature.to(torch.bfloat16)().dtype == torch.float32


# Several processes


class Towers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.audio, self.text, self.temperature = nn.Linear(6, 4), nn.Linear(5, 4), Temperature(0.1)
        self.double()

    def forward(self, audio: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return F.normalize(self.audio(audio), dim=-1), F.normalize(self.text(text), dim=-1), self.temperature()


def loss_and_gradients(name: str, module: nn.Module, audio: Tensor, text: Tensor) -> dict[str, Tensor]:
    module.zero_grad()
    loss = LOSSES[name](*module(audio, text))
    loss.backward()
    return {"loss": loss.detach()} | {n.removeprefix("module."): p.grad.clone() for n, p in module.named_parameters()}


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return (
        torch.randn(7, 6, generator=generator, dtype=torch.float64),
        torch.randn(7, 5, generator=generator, dtype=torch.float64),
    )


SPLITS = ((4, 3), (1, 6))  # of the seven pairs between two processes


def one_of_two(rank: int, folder: Path) -> None:
    """Compute the results of one process and write them to `folder`."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    towers = DistributedDataParallel(Towers())
    results = {}
    for split in SPLITS:
        audio, text = (x.split(split)[rank] for x in inputs())
        for name in LOSSES:
            results |= {f"{name} {split} {k}": v for k, v in loss_and_gradients(name, towers, audio, text).items()}
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    mp.spawn(one_of_two, args=(tmp_path,), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name in LOSSES:
        expected = loss_and_gradients(name, Towers(), *inputs())
        assert all(gradient.abs().max() > 1e-4 for gradient in expected.values())
        for split in SPLITS:
            for key, value in expected.items():
                for results in (first, second):
                    torch.testing.assert_close(results[f"{name} {split} {key}"], value, rtol=1e-9, atol=1e-12)
