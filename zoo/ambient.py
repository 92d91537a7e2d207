"""Tensors that outlive a call do not depend on the modes in which the call happened to run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

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
