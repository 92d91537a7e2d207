"""A model that only looks: no gradients, no dropout, no statistics changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import nn

_lock = threading.Lock()
_inside: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
"""In how many blocks of `eval_mode` each module is, of all threads; kept outside the modules, which stay picklable."""


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """No gradients and evaluation mode inside; the training flags of all modules as before afterwards.

    Threads may be inside together, with the same model or parts of it: the last one out restores the flags.
    """
    held = _enter(model)
    try:
        with torch.no_grad():
            yield
    finally:
        _leave(held)


def _enter(model: nn.Module) -> list[nn.Module]:
    """Put into evaluation mode what is not; the modules whose flags wait for this block."""
    with _lock:
        held = [module for module in model.modules() if module.training or module in _inside]
        for module in held:
            _inside[module] = _inside.get(module, 0) + 1
            module.training = False
    return held


def _leave(held: list[nn.Module]) -> None:
    with _lock:
        for module in held:
            _inside[module] -= 1
            if not _inside[module]:
                del _inside[module]
                module.training = True
