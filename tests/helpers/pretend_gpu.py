"""A stand-in for a GPU whose tensors have values, and that counts how often Python would wait for it.

Tensors on the device "meta" (syncs.py) have no values, so a search that reads tokens cannot run on them. Here a tensor
says that it is on "meta", computes on the CPU, and is counted where PyTorch would wait for a GPU: reading a value,
copies to the CPU, copies to the GPU that block, and results whose size depends on values. Mixing such tensors with
those on the CPU fails as on a GPU.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from zoo.models.ast import fbank
from zoo.models.clap import audio as clap_audio
from zoo.nn import frontend

META = torch.device("meta")
CPU = torch.device("cpu")
aten = torch.ops.aten
READS = {aten._local_scalar_dense.default, aten.equal.default, aten.nonzero.default, aten.masked_select.default}
TAKES_CPU_INDICES = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}
Model = TypeVar("Model", bound=nn.Module)


class OnDevice(Tensor):
    """A tensor that says it is on "meta". inner: its values, on the CPU."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        made: OnDevice = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.shape, inner.stride(), inner.storage_offset(), dtype=inner.dtype, device=META
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} ran outside of PretendGPU")


class PretendGPU(TorchDispatchMode):
    """waits: operation -> how often Python waited for the GPU in it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self._factories = _Factories(self)

    @property
    def total(self) -> int:
        return sum(self.waits.values())

    def __enter__(self) -> PretendGPU:
        self._patch = mock.patch("torch.autocast", lambda *_, **__: nullcontext())  # it has no effect on "meta"
        self._patch.start()
        _forget_filters()
        self._factories.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._factories.__exit__(*error)
        _forget_filters()
        self._patch.stop()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        on_device = [x for x in tensors if isinstance(x, OnDevice)]
        target = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
        if not on_device and target != META:
            return func(*args, **kwargs)
        self._count(func, args, kwargs, tensors, target)
        if target == META:
            kwargs["device"] = CPU
        known = {id(x.inner): x for x in on_device}
        inner_args, inner_kwargs = tree_map(lambda x: x.inner if isinstance(x, OnDevice) else x, (args, kwargs))
        result = func(*inner_args, **inner_kwargs)
        if target == CPU or (func is aten.copy_.default and not isinstance(args[0], OnDevice)):
            return args[0] if func is aten.copy_.default else result
        return tree_map(lambda x: _wrapped(x, known) if isinstance(x, Tensor) else x, result)

    def _count(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], tensors: list[Tensor], target: Any
    ) -> None:
        name = str(func)
        plain = [x for x in tensors if not isinstance(x, OnDevice) and x.dim()]
        assert all(x.device != META for x in plain), (
            f"{name} has an argument without values, such as the index x[[0, 1]]"
        )
        if func in READS or (target == CPU and func is aten._to_copy.default):
            self.waits[name] += 1
        elif func is aten._to_copy.default or func is aten.copy_.default:
            non_blocking = kwargs.get(
                "non_blocking", args[2] if func is aten.copy_.default and len(args) > 2 else False
            )
            self.waits[name] += bool(plain) and not non_blocking
        elif func in TAKES_CPU_INDICES:
            indices = [x for x in args[1] if x is not None]
            assert isinstance(args[0], OnDevice) and (
                len(args) < 3 or isinstance(args[2], OnDevice) or not args[2].dim()
            )
            by_mask = any(x.dtype == torch.bool for x in indices)
            from_cpu = any(not isinstance(x, OnDevice) for x in indices)
            self.waits[name] += by_mask or from_cpu
        else:
            assert not plain or target is not None, f"{name} mixes tensors of the GPU and the CPU"


def _forget_filters() -> None:
    """Filters are kept for each device; those of the stand-in are nothing for others on "meta"."""
    caches = (frontend.mel_filters, frontend.slaney_filters, fbank.kaldi_filters, clap_audio.mel_filters)
    for filters in caches:
        filters.cache_clear()


def _wrapped(x: Tensor, known: Mapping[int, OnDevice]) -> OnDevice:
    """The tensor of the stand-in with the values x: an operation in place returns its argument."""
    return known[id(x)] if id(x) in known else OnDevice(x)


class _Factories(TorchFunctionMode):
    """What does not reach PretendGPU: torch.tensor(..., device="meta"), on a GPU a copy that waits, and tolist."""

    def __init__(self, gpu: PretendGPU) -> None:
        self.gpu = gpu

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.tensor and torch.device(kwargs.get("device") or CPU) == META:
            return func(*args, **kwargs | {"device": CPU}).to(META)
        if func is Tensor.tolist and isinstance(args[0], OnDevice):
            return args[0].cpu().tolist()
        return func(*args, **kwargs)


def on_pretend_gpu(model: Model) -> Model:
    """A copy of the model whose weights are on the stand-in; use it inside PretendGPU."""
    moved = copy.deepcopy(model)
    for module in moved.modules():
        for table in (module._parameters, module._buffers):
            for name, weight in table.items():
                if weight is not None:
                    table[name] = OnDevice(weight.detach())  # type: ignore[assignment]
    return moved
