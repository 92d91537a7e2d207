"""A stand-in for a GPU that reports every moment at which Python would have to wait for it.

Tensors on the device "meta" have no values, so PyTorch refuses exactly what would wait for a GPU: reading a value,
copying to the CPU, and results whose size depends on values. Mixing them with tensors on the CPU fails as on a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")
aten = torch.ops.aten


class NoSync(TorchDispatchMode):
    """Inside it, an assignment by a mask fails too, which the device "meta" lets pass; autocast has no effect there."""

    def __enter__(self) -> NoSync:
        self._patch = mock.patch("torch.autocast", lambda *_, **__: nullcontext())
        self._patch.start()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._patch.stop()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is aten.index_put_.default and args[0].device == META:
            masks = [index for index in args[1] if index is not None and index.dtype == torch.bool]
            assert not masks, "assignment by a mask waits for the GPU"
        if func is aten._ctc_loss.Tensor:
            return ctc_loss(*args[:4])
        if func is aten._ctc_loss_backward.Tensor:
            return torch.empty_like(args[1])
        return func(*args, **(kwargs or {}))


def ctc_loss(log_probs: Tensor, targets: Tensor, lengths: Tensor, target_lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The shapes of CTC's results, which PyTorch lacks on "meta"; a GPU reads both lengths on the CPU."""
    assert targets.device == META and not {lengths.device, target_lengths.device} - {torch.device("cpu")}
    frames, clips, _ = log_probs.shape
    return log_probs.new_empty(clips), log_probs.new_empty(clips, frames, 2 * targets.shape[1] + 1)
