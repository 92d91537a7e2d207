"""The optimizer, its learning rate schedule, and the configuration of both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.validation import check_range


class Schedule(str, Enum):
    """Shape of the learning rate after its linear warm-up."""

    tri_stage = "tri_stage"  # stays at its peak for `hold`, then falls exponentially to `final` (fairseq)
    linear = "linear"
    cosine = "cosine"
    constant = "constant"


class Precision(str, Enum):
    """Number format of matrix products; weights, optimizer and losses are always float32."""

    fp32 = "fp32"
    bf16 = "bf16"


@dataclass
class TrainConfig:
    """Configuration of the training loop, the same for every recipe."""

    steps: int = 2000  # optimizer steps
    batches_per_step: int = 1  # micro-batches in one optimizer step, over all processes
    learning_rate: float = 5e-4  # at the peak
    schedule: Schedule = Schedule.linear  # tri_stage, linear, cosine or constant
    warmup: float = 0.08  # share of the steps
    hold: float = 0.0  # share of the steps at the peak, after the warm-up
    final: float = 0.0  # learning rate at the end, relative to the peak
    weight_decay: float = 0.01  # of matrices; not of biases, gains and other vectors
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-6
    clip_norm: float | None = 1.0  # maximum norm of the gradient (of the mean loss); null: no clipping
    precision: Precision = Precision.fp32  # bf16: matrix products in bfloat16
    seed: int = 0
    device: str = "auto"  # auto, cpu, cuda, cuda:1, ...
    log_every: int = 20  # steps
    validate_every: int = 200  # steps
    save_every: int = 200  # steps
    keep: int = 2  # number of checkpoints to keep

    def __post_init__(self) -> None:
        for name in ("steps", "batches_per_step", "log_every", "validate_every", "save_every", "keep"):
            check_range(name, getattr(self, name), 1)
        for name in ("learning_rate", "weight_decay", "epsilon", "seed"):
            check_range(name, getattr(self, name), 0)
        for name in ("beta1", "beta2"):
            check_range(name, getattr(self, name), 0, 1)
        check_range("clip_norm", self.clip_norm, 0, above=True)
        if not 0 <= self.warmup <= 1 or not 0 <= self.hold <= 1 - self.warmup:
            raise ConfigError(
                f"warmup {self.warmup}, hold {self.hold}: give shares of the steps with a sum of at most 1"
            )
        if not 0 <= self.final <= 1 or (self.schedule == Schedule.tri_stage and not self.final):
            raise ConfigError(
                f"final {self.final}: give a share of the peak from 0 to 1; above 0 for schedule tri_stage"
            )


@dataclass(frozen=True)
class Group:
    """Parameters with names that start with `prefix`: learning rate times `scale`, and zero (frozen) until `start`."""

    prefix: str
    scale: float = 1.0
    start: int = 0


def schedule(config: TrainConfig, step: int) -> float:
    """Learning rate at `step` (1 ... steps) relative to the peak. A run of one step has the peak."""
    if config.steps == 1:
        return 1.0
    warmup, hold = config.warmup * config.steps, config.hold * config.steps
    if step < warmup:
        return step / warmup
    if step <= warmup + hold or config.schedule == Schedule.constant:
        return 1.0
    progress = min(1.0, (step - warmup - hold) / max(config.steps - warmup - hold, 1e-9))  # 0 ... 1
    if config.schedule == Schedule.tri_stage:
        return math.exp(math.log(config.final) * progress)
    share = (1 + math.cos(math.pi * progress)) / 2 if config.schedule == Schedule.cosine else 1 - progress
    return config.final + (1 - config.final) * share


class Optimizer:
    """AdamW over the trainable parameters of a task, grouped by learning rate and weight decay."""

    def __init__(self, model: nn.Module, config: TrainConfig, groups: Sequence[Group] = ()) -> None:
        self.config = config
        self.named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.parameters = list(self.named.values())
        if not self.parameters:
            raise ConfigError("nothing to train: all parameters are frozen; unfreeze a part of the model")
        members: dict[tuple[Group, bool], list[Tensor]] = {}
        for name, parameter in self.named.items():
            group = next((g for g in groups if name.startswith(g.prefix)), Group(""))
            members.setdefault((group, parameter.ndim > 1), []).append(parameter)
        self._groups = [group for group, _ in members]
        self.adamw = torch.optim.AdamW(
            [
                {"params": part, "weight_decay": config.weight_decay if decays else 0.0}
                for (_, decays), part in members.items()
            ],
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            eps=config.epsilon,
            fused=True,
        )
        self.rate = 0.0  # learning rate of groups with scale 1, at the last step set

    def set_step(self, step: int) -> None:
        """Set every group's learning rate for `step`."""
        self.rate = self.config.learning_rate * schedule(self.config, step)
        for group, options in zip(self._groups, self.adamw.param_groups, strict=True):
            options["lr"] = self.rate * group.scale if step > group.start else 0.0

    def divide_gradients(self, count: Tensor) -> Tensor:
        """Divide the gradients by `count` (float64) and clip them to `clip_norm`; returns the norm before clipping."""
        grads = [p.grad for p in self.parameters if p.grad is not None]
        count = torch.where(count == 0, 1, count)  # a count of 0 means that the gradient is already zero
        norm = torch.nn.utils.get_total_norm(grads).double() / count
        factor = 1 / count
        if self.config.clip_norm is not None:
            factor = factor * (self.config.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(grads, factor.float())
        return norm

    def step(self, skip: Tensor | None = None) -> None:
        """Update the weights, unless skip (), a bool on the device, is True."""
        if skip is not None:
            self.adamw.found_inf = skip.float()  # type: ignore[attr-defined]  # the fused step reads it on the device
        self.adamw.step()
        torch.autograd.graph.increment_version(
            self.parameters
        )  # the fused step does not do so, but packed copies of weights check it

    def zero_grad(self) -> None:
        self.adamw.zero_grad()

    def tensors(self) -> dict[str, Tensor]:
        """The state, by parameter name: "NAME/exp_avg", "NAME/exp_avg_sq", "NAME/step"."""
        return {
            f"{name}/{key}": value
            for name, parameter in self.named.items()
            for key, value in self.adamw.state.get(parameter, {}).items()
        }

    def load(self, tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Restore the state from the result of `tensors`."""
        for key, value in tensors:
            name, _, part = key.rpartition("/")
            parameter = self.named[name]
            state: dict[str, Any] = self.adamw.state[parameter]
            state[part] = value.to(parameter.device)
