"""Tensors that outlive a call do not depend on the modes in which the call happened to run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

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
