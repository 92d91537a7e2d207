"""What inference computes from weights once and keeps: packed layouts, folded normalizations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor

T = TypeVar("T")


class Derived(Generic[T]):
    """A value made from tensors, renewed when one of them is updated in place or is another tensor than before.

    Copies and pickles of the owner start without the value. What changes a parameter without a new version goes
    unseen: `to` and its kin (the owner's `_apply` must replace its Derived), PyTorch's fused optimizers (the owner
    must `forget` when it trains) and writing to `.data`, after which nothing but a step of training or `to` helps.
    """

    def __init__(self) -> None:
        self.value: T | None = None
        self._sources: tuple[Tensor, ...] = ()
        self._states: list[tuple[int, int]] = []

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()

    def forget(self) -> None:
        self.value = None

    def get(self, sources: tuple[Tensor, ...], make: Callable[[], T]) -> T:
        """The value of `make()` for the sources as they are now."""
        states = [(tensor._version, tensor.data_ptr()) for tensor in sources]
        known = self.value is not None and states == self._states
        if not known or any(a is not b for a, b in zip(sources, self._sources, strict=True)):
            self.value, self._sources, self._states = make(), sources, states
        assert self.value is not None
        return self.value
