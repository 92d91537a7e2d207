"""Contrastive losses of paired embeddings, over the batches of all processes together.

Let a_i and t_i be the unit embeddings of pair i and s_ij = a_i . t_j / temperature.

In a group of processes (torch.distributed) each process has some rows of the whole batch; their numbers may differ. All
processes return the loss of the whole batch. Gradients are scaled so that their mean over processes, as computed by
DistributedDataParallel, is the gradient of that loss: the same as for one process with the whole batch.

Legend: b pairs of this process, B pairs of all processes, D width.
"""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import ConfigError


class Temperature(nn.Module):
    """A learned temperature in [minimum, 1], stored as its logarithm. A call returns a scalar in float32.

    At a bound, only gradients that lead back inside pass. A plain clamp would pass no gradient, and the temperature
    would stay at the bound.
    """

    def __init__(self, initial: float = 0.1, *, minimum: float = 1e-3) -> None:
        super().__init__()
        if not 0 < minimum <= initial <= 1:
            raise ConfigError(f"temperature {initial}: give a value between minimum {minimum} (above 0) and 1")
        self.minimum = minimum
        self.log = nn.Parameter(torch.tensor([math.log(initial)]))  # (1,): sharded training takes no scalars

    def forward(self) -> Tensor:
        log = self.log.to(torch.promote_types(self.log.dtype, torch.float32))
        return _Clamp.apply(log, math.log(self.minimum), 0.0).exp().squeeze()  # ()


def multiview_loss(
    audio: Tensor, text: Tensor, temperature: Tensor | float, *, include_self: bool = False, gather: bool = True
) -> Tensor:
    """The loss of MuLan (arXiv 2208.12415), contrastive multiview coding over a batch:

        1/B sum_i -log( exp s_ii / sum_{j != i} (exp s_ij + exp s_ji) )

    The paper sums over i; the mean does not grow with the batch. The denominator has only other pairs, so the loss has
    no lower bound. include_self: the denominator includes j = i, and the loss stays above ln 2.
    gather: the batch consists of the pairs of all processes; False: only of this process.

    audio, text (b, D) of unit length, row i of each a pair -> scalar, in float32 or better.
    Raises ConfigError if the shapes are not equal, and for a batch of one pair unless include_self.
    """
    whole = _Batch(audio, text, temperature, gather)
    if whole.size < 2 and not include_self:
        raise ConfigError("a batch of one pair has no other pair to contrast with; give 2 or more")
    scores = [whole.audio_to_text, whole.text_to_audio]
    if not include_self:
        scores = [s.masked_fill(whole.own, -math.inf) for s in scores]
    return whole.mean(torch.cat(scores, dim=1).logsumexp(1) - whole.positives)


def infonce_loss(audio: Tensor, text: Tensor, temperature: Tensor | float, *, gather: bool = True) -> Tensor:
    """Symmetric InfoNCE (CLIP, arXiv 2103.00020): cross-entropy of the right text among all texts, and vice versa:

        1/2B sum_i [ -log( exp s_ii / sum_j exp s_ij ) - log( exp s_ii / sum_j exp s_ji ) ]

    gather: as in `multiview_loss`.
    audio, text (b, D) of unit length, row i of each a pair -> scalar, in float32 or better.
    Raises ConfigError if the shapes are not equal.
    """
    whole = _Batch(audio, text, temperature, gather)
    both = whole.audio_to_text.logsumexp(1) + whole.text_to_audio.logsumexp(1)  # (b,)
    return whole.mean(both / 2 - whole.positives)


def multiview_chance(size: int, *, include_self: bool = False) -> float:
    """`multiview_loss` of a batch of `size` pairs >= 2 pairs when all similarities are equal: ln 2(B - 1), or ln 2B."""
    return math.log(2 * size if include_self else 2 * (size - 1))


def infonce_chance(size: int) -> float:
    """`infonce_loss` of a batch of `size` pairs when all similarities are equal: ln B."""
    return math.log(size)


class _Batch:
    """Scores of this process's pairs against those of all processes.

    audio_to_text, text_to_audio (b, B): s_ij and s_ji; positives (b,): s_ii; own (b, B): True where j = i; size B.
    """

    def __init__(self, audio: Tensor, text: Tensor, temperature: Tensor | float, gather: bool) -> None:
        self.shared = gather and _distributed()
        if audio.ndim != 2 or audio.shape != text.shape or not len(audio):
            raise ConfigError(
                f"audio {tuple(audio.shape)} and text {tuple(text.shape)} are not pairs: give two tensors "
                "of one shape (batch, width)"
            )
        dtype = torch.promote_types(audio.dtype, torch.float32)
        with torch.autocast(audio.device.type, enabled=False):  # too coarse
            pairs = torch.stack([audio.to(dtype), text.to(dtype)], dim=1)  # (b, 2, D)
            everything, first = _gather(pairs) if self.shared else (pairs, 0)
            all_audio, all_text = everything.unbind(1)  # (B, D)
            self.size = len(everything)
            self.audio_to_text = pairs[:, 0] @ all_text.T / temperature  # (b, B)
            self.text_to_audio = pairs[:, 1] @ all_audio.T / temperature  # (b, B)
        rows = torch.arange(len(audio), device=audio.device)
        self.own = torch.arange(self.size, device=audio.device) == (first + rows)[:, None]  # (b, B)
        self.positives = self.audio_to_text.diagonal(first)  # (b,)

    def mean(self, terms: Tensor) -> Tensor:
        """Mean of terms (b,), one for each pair, over the pairs of all processes."""
        total = terms.sum()
        if self.shared:
            total = _Sum.apply(total)
        return total / self.size


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _gather(rows: Tensor) -> tuple[Tensor, int]:
    """rows (b, ...) of each process -> rows of all (B, ...), in the order of ranks, and the index of our first row."""
    own = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, own)
    sizes = [int(count) for count in counts]
    padded = F.pad(rows, [0, 0] * (rows.ndim - 1) + [0, max(sizes) - len(rows)])  # collectives need equal shapes
    parts = _Gather.apply(padded)  # (processes, max b, ...)
    return torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)]), sum(sizes[: dist.get_rank()])


class _Gather(torch.autograd.Function):
    """All-gather. The gradient of our part is the sum of its gradients in all processes."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient[dist.get_rank()]


class _Sum(torch.autograd.Function):
    """All-reduce. Every process returns the sum as its loss, so our term gets the gradients of all processes."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient


class _Clamp(torch.autograd.Function):
    """Clamp to [low, high]. A gradient is blocked only if a descent step would lead further out."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward((x <= low), (x >= high))
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        at_low, at_high = ctx.saved_tensors  # type: ignore[attr-defined]
        gradient = gradients[0]
        outward = (at_low & (gradient > 0)) | (at_high & (gradient < 0))
        return torch.where(outward, torch.zeros_like(gradient), gradient), None, None
