"""Optimizer steps of the recipes, as zoo.train.fit takes them: forward and backward in bfloat16, AdamW.

The share of the peak is the arithmetic of a step, counted on the device "meta", divided by its time and by the rate of
a large bfloat16 matrix product.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
import yaml
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import zoo.recipes.hubert
from benchmarks.gpu.machine import Machine
from benchmarks.gpu.models import RATE, create
from benchmarks.gpu.sections import Case, Row, Section
from benchmarks.gpu.sizes import Size
from benchmarks.speed.batches import UNITS, speech_batch, unit_batch
from zoo.data.dataset import Batch
from zoo.models.hubert.model import HuBERT, HubertConfig
from zoo.recipes.hubert.config import LossConfig, MaskConfig
from zoo.recipes.hubert.task import Pretrain, UnitBatch
from zoo.recipes.mulan.config import MulanTrainConfig
from zoo.recipes.mulan.spectra import PairBatch
from zoo.recipes.mulan.task import Contrast
from zoo.recipes.shapes import widen
from zoo.recipes.whisper.config import WhisperTuneConfig
from zoo.recipes.whisper.task import Transcribe
from zoo.train import TrainConfig, TrainingTask
from zoo.train.optim import Optimizer
from zoo.train.tally import Tally

POSITIONS = 1_500  # of a window of 30 s
TEXT = 96  # tokens of a window, or word pieces of a caption


def pretrain_cases(machine: Machine, size: Size) -> list[Case]:
    """Batches of several sizes; the first is that of the presets."""
    found = []
    for seconds in size.pretrain_seconds:
        for preset in ("base", "fast"):
            name = f"{preset}, {seconds:g} s"
            found.append(Case(name, partial(pretrain, name, preset, seconds, machine, size)))
    seconds = size.pretrain_seconds[0]
    peer = partial(pretrain_peer, f"base, {seconds:g} s", seconds, machine, size)
    return [*found, Case("base in transformers", peer, needs=("transformers",))]


def train_cases(machine: Machine, size: Size) -> list[Case]:
    found = [Case(name, partial(contrast, name, machine, size)) for name in ("mulan-resnet50", "mulan-ast")]
    for whisper_size in size.whisper_sizes:
        name = f"whisper-{whisper_size}"
        found.append(Case(name, partial(transcribe, name, machine, size)))
    name = f"whisper-{size.whisper_sizes[0]}"
    peer = partial(transcribe_peer, name, machine, size)
    return [*found, Case(f"{name} in transformers", peer, needs=("transformers",))]


def hubert_batch(preset: str, seconds: float, machine: Machine, size: Size) -> tuple[Pretrain, UnitBatch]:
    """The task of a preset on the device, and a batch of noise."""
    folder = Path(zoo.recipes.hubert.__path__[0]) / "presets"
    settings = yaml.safe_load((folder / f"{preset}.yaml").read_text())
    options = settings["model"] | size.overrides.get("hubert", {}) | {"units": (UNITS,)}
    torch.manual_seed(0)
    model = HuBERT(HubertConfig(**options)).to(machine.device)
    mask = MaskConfig(**settings.get("mask", {}))
    count = max(1, round(seconds / size.crop_seconds))
    batch = unit_batch(count, size.crop_seconds, frames=model.count_frames(int(size.crop_seconds * RATE)), mask=mask)
    frames = widen(batch, model)
    batch.targets = F.pad(batch.targets, (0, 0, 0, frames - batch.targets.shape[1]))
    batch.masked = F.pad(batch.masked, (0, frames - batch.masked.shape[1]))
    return Pretrain(model, LossConfig(**settings["loss"])), batch


def pretrain(name: str, preset: str, seconds: float, machine: Machine, size: Size) -> list[Row]:
    task, batch = hubert_batch(preset, seconds, machine, size)
    return [step_row(name, task, batch, machine, size)]


def pretrain_peer(name: str, seconds: float, machine: Machine, size: Size) -> list[Row]:
    """HuBERT of transformers with our head and loss (benchmarks/speed/pretrain.py)."""
    from benchmarks.gpu import peers

    task, batch = hubert_batch("base", seconds, machine, size)
    peer: Any = peers.speech_encoder("hubert", task.model.config)
    peer.config.layerdrop = task.model.config.layerdrop
    module = WithHead(peer, task).to(machine.device)
    moved = batch.to(machine.device)
    module.masked = batch.masked.to(machine.device)
    return [peer_row(name, module, moved, machine, size)]


class WithHead(nn.Module):
    """transformers' HuBERT with the head of a Pretrain task."""

    masked: torch.Tensor

    def __init__(self, peer: nn.Module, task: Pretrain) -> None:
        super().__init__()
        self.model, self.head = peer, task.model.head

    def forward(self, batch: UnitBatch) -> torch.Tensor:
        states = self.model(batch.waves, mask_time_indices=self.masked).last_hidden_state
        (logits,) = self.head(states[self.masked])  # type: ignore[misc]
        return F.cross_entropy(logits.float(), batch.targets[self.masked][:, 0])


def contrast(name: str, machine: Machine, size: Size) -> list[Row]:
    """One micro-batch of windows and captions."""
    model: Any = create(name, machine, size)
    config = model.config
    pairs = size.pairs
    tokens = min(TEXT, config.text_length)
    batch = PairBatch(
        waves=torch.zeros(pairs, 0),
        lengths=torch.full((pairs,), int(config.window_seconds * config.sample_rate)),
        indices=torch.arange(pairs),
        starts=torch.zeros(pairs, dtype=torch.int64),
        seeds=torch.arange(pairs),
        entries=[],
        mel=torch.randn(pairs, model.mel_frames, config.mels),
        mel_lengths=torch.full((pairs,), model.mel_frames),
        ids=torch.randint(5, config.vocab_size, (pairs, tokens)),
        text_lengths=torch.full((pairs,), tokens),
    )
    return [step_row(f"{name}, {pairs} pairs", Contrast(model, MulanTrainConfig()), batch, machine, size)]


def transcribe(name: str, machine: Machine, size: Size) -> list[Row]:
    task, batch = whisper_batch(name, machine, size)
    return [step_row(f"{name}, {size.speech_windows} windows", task, batch, machine, size)]


def whisper_batch(name: str, machine: Machine, size: Size) -> tuple[Transcribe, Any]:
    model: Any = create(name, machine, size)
    return Transcribe(model, WhisperTuneConfig()), speech_batch(model, size.speech_windows, TEXT, POSITIONS)


def transcribe_peer(name: str, machine: Machine, size: Size) -> list[Row]:
    """Whisper of transformers on the same spectra and texts (benchmarks/speed/whisper_train.py)."""
    from benchmarks.gpu import peers

    task, batch = whisper_batch(name, machine, size)
    peer = peers.whisper(task.model.config).to(machine.device)
    moved = batch.to(machine.device)
    moved.targets = batch.targets.to(machine.device)

    def loss(module: Any, batch: Any) -> torch.Tensor:
        spectra = batch.mel.transpose(1, 2)
        return module(input_features=spectra, decoder_input_ids=batch.tokens, labels=batch.targets).loss

    return [peer_row(f"{name}, {size.speech_windows} windows", peer, moved, machine, size, loss)]


def step_row(name: str, task: TrainingTask, batch: Batch, machine: Machine, size: Size) -> Row:
    """Time, memory and arithmetic of one optimizer step of zoo."""
    flop = arithmetic(task, batch)
    task = task.to(machine.device).train()
    task.autocast = lambda: torch.autocast(machine.device.type, torch.bfloat16)
    optimizer = Optimizer(task, TrainConfig(), task.groups())
    optimizer.set_step(1)

    def step() -> None:
        tally = Tally()
        task.accumulate([batch.to(machine.device)], tally.add)
        tally.set(stop=False, seconds=1.0)
        optimizer.divide_gradients(tally.tensor(machine.device)[1])
        optimizer.step()
        optimizer.zero_grad()

    return row_of(name, "zoo", step, batch, flop, machine, size)


def peer_row(
    name: str,
    module: nn.Module,
    batch: Any,
    machine: Machine,
    size: Size,
    loss: Callable[[Any, Any], torch.Tensor] | None = None,
) -> Row:
    """The same of a module of transformers. loss: of the module and a batch; None = what the module returns."""
    optimizer = torch.optim.AdamW(module.parameters(), 1e-5, fused=True)
    module.train()

    def step() -> None:
        with torch.autocast(machine.device.type, torch.bfloat16):
            value = module(batch) if loss is None else loss(module, batch)
        value.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return row_of(name, "transformers", step, batch, 0.0, machine, size)


def row_of(
    name: str, system: str, step: Callable[[], None], batch: Any, flop: float, machine: Machine, size: Size
) -> Row:
    """flop: of a step, 0 if it was not counted."""
    step()  # the optimizer makes its state
    measured = machine.measure(step, rounds=4 * size.rounds, seconds=size.round_seconds)
    hours = float(batch.lengths.sum()) / RATE / 3600
    rate = flop / measured.seconds
    row: Row = {"case": name, "system": system, "audio hours an hour": hours * 3600 / measured.seconds}
    row |= measured.row()
    row["TFLOP/s"] = rate / 1e12 if flop else None
    row["share of peak"] = rate / machine.peak if flop and machine.peak else None
    row["waits for the GPU"] = machine.count_waits(step)
    return row


def arithmetic(task: TrainingTask, batch: Batch) -> float:
    """FLOP of one step: matrix products and convolutions, forward and backward."""
    meta = torch.device("meta")
    twin = copy.deepcopy(task).train().to(meta)
    with mock.patch("torch.autocast"), FlopCounterMode(display=False) as counter:
        output = twin(batch.to(meta))
        output.loss.backward()
    return float(counter.get_total_flops())


PRETRAIN = Section("pretrain", "HuBERT pre-training steps in bfloat16", pretrain_cases)
TRAIN = Section("train", "MuLan and Whisper training steps in bfloat16", train_cases)
