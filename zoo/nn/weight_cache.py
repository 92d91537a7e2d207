"""Values that inference computes from weights once and caches: packed layouts, folded normalizations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
_GOLDEN = (5**0.5 - 1) / 2  # its multiples, modulo 1, fill an interval evenly
_SAMPLES = 256  # elements of a tensor that are compared at every use; 2 microseconds


class WeightCache(Generic[T]):
    """A value computed from tensors. It is computed again if a tensor was updated in place, replaced or moved.

    Writes to `.data`, as in EMA swaps, LoRA merges and clipping, leave no trace in a tensor; they are seen by comparing
    some of its elements. A write that spares all of those is not seen: `clear` helps then.
    Copies and pickles of the owner start with an empty cache. PyTorch's fused optimizers change weights too: the owner
    must call `clear` when it trains.
    """

    def __init__(self) -> None:
        self._entry: tuple[T, list[_State]] | None = None  # one object, so that threads never see half of a change

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()

    @property
    def is_empty(self) -> bool:
        return self._entry is None

    def clear(self) -> None:
        self._entry = None

    def get(self, sources: tuple[Tensor, ...], make: Callable[[], T]) -> T:
        """The cached value; `make()` is called if it is missing or out of date. sources: tensors on the CPU."""
        entry = self._entry
        if entry is not None:
            value, states = entry
            if all(state.holds(tensor) for state, tensor in zip(states, sources, strict=True)):
                return value
        states = [_State(tensor) for tensor in sources]
        value = make()
        self._entry = (value, states)
        return value


class _State:
    """What a tensor was when a value was computed from it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.version = tensor._version
        self.address = tensor.data_ptr()
        self.places = _places(tensor.detach())
        self.samples = tensor.detach().take(self.places)

    def holds(self, tensor: Tensor) -> bool:
        """Whether nothing has changed, as far as can be told without reading all of it."""
        if tensor is not self.tensor or tensor._version != self.version or tensor.data_ptr() != self.address:
            return False
        if tensor.dtype != self.samples.dtype:
            return False
        return torch.equal(tensor.detach().take(self.places), self.samples)


def _places(tensor: Tensor) -> Tensor:
    """Indices of the elements to compare: some of all rows and columns, and those that clipping and pruning change."""
    count = tensor.numel()
    if count <= _SAMPLES:
        return torch.arange(count)
    steps = torch.arange(_SAMPLES, dtype=torch.float64) * _GOLDEN
    spread = (steps.frac() * count).long()
    extremes = torch.stack([tensor.argmin(), tensor.argmax(), tensor.abs().argmin()])
    return torch.cat([spread, extremes])
