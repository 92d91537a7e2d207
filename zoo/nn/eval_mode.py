"""A context manager for inference: no gradients, no dropout, no updates of running statistics."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import nn

_lock = threading.Lock()
_inside: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
"""Number of `eval_mode` blocks that each module is in, over all threads; stored here so that modules can be pickled."""


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Disable gradients and set eval mode inside the block; afterwards, restore the training flags of all modules.

    Several threads may use the same model, or parts of it, at once: the last thread to leave restores the flags.
    """
    modules = _enter(model)
    try:
        with torch.no_grad():
            yield
    finally:
        _leave(modules)


def _enter(model: nn.Module) -> list[nn.Module]:
    """Set eval mode; returns the modules that must be restored to training mode later."""
    with _lock:
        modules = [module for module in model.modules() if module.training or module in _inside]
        for module in modules:
            _inside[module] = _inside.get(module, 0) + 1
            module.training = False
    return modules


def _leave(modules: list[nn.Module]) -> None:
    with _lock:
        for module in modules:
            _inside[module] -= 1
            if not _inside[module]:
                del _inside[module]
                module.training = True
