"""Contexts for building a model whose weights are read from a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zoo.errors import ConfigError

_FACTORIES = frozenset({"empty", "zeros", "ones", "full", "rand", "randn", "arange", "hann_window"})
_FILLS = frozenset({"normal_", "uniform_", "zero_", "fill_"})
_BUFFER_ELEMENTS = 1 << 24  # buffers, such as mel filters, which are not in the file; 64 MiB in float32
_CALLS, _CALLS_PER_TENSOR = 10_000, 200


class uninitialized(TorchFunctionMode):
    """Context in which new parameters are left uninitialized, for this thread. This saves time and memory.

    Buffers, such as mel filters, are computed as usual. Unlike the meta device, this imports nothing: normal_ on the
    meta device loads all of torch's Python decompositions, and sympy.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        target = args[0] if args else (kwargs or {}).get("tensor")
        fills = func.__name__ in _FILLS or getattr(func, "__module__", "") == "torch.nn.init"
        if fills and isinstance(target, nn.Parameter):
            return target
        return func(*args, **(kwargs or {}))


class bounded(TorchFunctionMode):
    """Context in which a model cannot grow far beyond the weights that are there for it, for this thread.

    A configuration is a few numbers: with a billion layers, or positions, building the model would not end, or would
    take all memory, before its tensors could be compared with those of the file.

    Raises ConfigError for a tensor with more elements than all `tensors`, and for too many steps of construction.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.most_elements = max(_BUFFER_ELEMENTS, sum(tensor.numel() for tensor in tensors.values()))
        self.calls_left = _CALLS + _CALLS_PER_TENSOR * len(tensors)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.calls_left -= 1
        asked = _elements_asked(args) if func.__name__ in _FACTORIES else 0
        if self.calls_left < 0 or asked > self.most_elements:
            raise _too_large()
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.numel() > self.most_elements:
            raise _too_large()
        return result


def check_elements(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Raises ConfigError if the parameters of `model`, of the meta device, are far more than `tensors` hold."""
    needed = sum(parameter.numel() for parameter in model.parameters())
    if needed > _BUFFER_ELEMENTS + sum(tensor.numel() for tensor in tensors.values()):
        raise _too_large()


def _too_large() -> ConfigError:
    return ConfigError("it describes a far larger model than these weights are for; correct its sizes")


def _elements_asked(args: tuple[Any, ...]) -> int:
    """Elements of the tensor that a factory such as torch.empty makes from sizes; no fewer, for torch.arange."""
    sizes = args[0] if args and isinstance(args[0], tuple | list) else args
    return math.prod(max(1, size) for size in sizes if isinstance(size, int))
