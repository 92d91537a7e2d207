"""Values that inference computes from weights once and caches: packed layouts, folded normalizations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor

T = TypeVar("T")


class WeightCache(Generic[T]):
    """A value computed from tensors. It is computed again if a tensor was updated in place or replaced.

    Copies and pickles of the owner start with an empty cache. Some updates do not change the version of a tensor, so
    the cache cannot see them: `to` and similar calls (the owner's `_apply` must replace its WeightCache), PyTorch's
    fused optimizers (the owner must call `clear` when it trains), and writes to `.data` (only a training step or `to`
    helps then).
    """

    def __init__(self) -> None:
        self.value: T | None = None
        self._sources: tuple[Tensor, ...] = ()
        self._states: list[tuple[int, int]] = []

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()

    def clear(self) -> None:
        self.value = None

    def get(self, sources: tuple[Tensor, ...], make: Callable[[], T]) -> T:
        """The cached value; `make()` is called if it is missing or out of date."""
        states = [(tensor._version, tensor.data_ptr()) for tensor in sources]
        same_states = self.value is not None and states == self._states
        if not same_states or any(a is not b for a, b in zip(sources, self._sources, strict=True)):
            self.value, self._sources, self._states = make(), sources, states
        assert self.value is not None
        return self.value
