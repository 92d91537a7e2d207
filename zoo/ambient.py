"""Tensors that outlive a call do not depend on the modes in which the call happened to run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")
_lock = threading.RLock()
"""The default dtype belongs to the process, so only one thread at a time changes it and sets it back."""


@contextmanager
def ordinary_tensors() -> Iterator[None]:
    """What is made inside is float32 by default and can take part in autograd, whatever the modes of the caller."""
    with _lock, torch.inference_mode(False):
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


def kept(make: Callable[P, R]) -> Callable[P, R]:
    """The function, whose tensors are kept for later calls with the same arguments.

    They are ordinary tensors, made on the CPU; a compiled graph takes them as they are. `cache_clear` forgets them.
    """

    @lru_cache(maxsize=16)
    def make_once(*args: Any, **kwargs: Any) -> R:
        with ordinary_tensors(), torch.device("cpu"):
            return make(*args, **kwargs)

    @wraps(make)
    def get(*args: P.args, **kwargs: P.kwargs) -> R:
        return make_once(*args, **kwargs)  # type: ignore[arg-type]

    # What torch.compiler.assume_constant_result does, which would load dynamo.
    get._dynamo_marked_constant = True  # type: ignore[attr-defined]
    get.cache_clear = make_once.cache_clear  # type: ignore[attr-defined]
    return get


def on_host(function: Callable[P, R]) -> Callable[P, R]:
    """The function, in which tensors without a named device are on the CPU, whatever the default device of the caller.

    Lengths, counts and results are such tensors. Weights and activations name the device of the model.
    """

    @wraps(function)
    def on_cpu(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.empty(0).device.type == "cpu":
            return function(*args, **kwargs)
        with torch.device("cpu"):
            return function(*args, **kwargs)

    return on_cpu
