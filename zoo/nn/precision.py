"""Choose a device and a number format, and cast a model to the format."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from zoo.errors import ConfigError
from zoo.nn.linear import Int8Linear, quantize_linears
from zoo.nn.transformer import Block

Model = TypeVar("Model", bound=nn.Module)
DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")
SHORT_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_NATIVE_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # flags in /proc/cpuinfo on x86-64 and 64-bit Arm


def resolve_device(device: str | torch.device) -> torch.device:
    """ "auto" -> the GPU if there is one, else the CPU. Raises ConfigError for a device that is not available."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f'device {device!r} is unknown; use "auto", "cpu", "cuda" or "cuda:N"') from error
    if target.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f'device "{device}": no usable GPU; use "cpu" or "auto"')
    return target


def cpu_description() -> tuple[str, set[str]]:
    """Name of the processor and its instruction flags, as Linux lists them; no flags on other systems."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.system() != "Linux" or not cpuinfo.is_file():
        return platform.processor() or platform.machine(), set()
    name = platform.machine()
    for line in cpuinfo.read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        if key.strip().lower() in ("flags", "features"):
            return name, set(value.split())
    return name, set()


def cpu_multiplies_bfloat16() -> bool:
    """Whether this processor has bfloat16 multiply instructions (Linux only; False on other systems)."""
    _, flags = cpu_description()
    return not _NATIVE_BF16.isdisjoint(flags)


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> tuple[str, str]:
    """The number format to compute in, and the reason: ("bfloat16", "native on this CPU"). A user's choice has none.

    dtype: one of DTYPES, torch's own such as torch.bfloat16, or a short name such as "bf16".
    Raises ConfigError for a format that is unknown or that the device does not support.
    """
    dtype = str(dtype).removeprefix("torch.")
    dtype = SHORT_DTYPES.get(dtype, dtype)
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is unknown; choose one of {', '.join(DTYPES)}")
    if dtype == "int8" and device.type != "cpu":
        raise ConfigError('dtype "int8" runs on the CPU only; use "bfloat16" on a GPU')
    kind = "GPU" if device.type == "cuda" else "CPU"
    native = torch.cuda.is_bf16_supported(including_emulation=False) if kind == "GPU" else cpu_multiplies_bfloat16()
    if dtype == "auto" and native:
        return "bfloat16", f"native on this {kind}"
    if dtype == "auto":
        return "float32", f"this {kind} has no bfloat16"
    if dtype == "float32" and native:
        return "float32", f"bfloat16 is faster on this {kind}: add --dtype auto"
    return dtype, ""


def in_words(device: object, dtype: str, reason: str) -> str:
    """Where and how a model computes: "cpu in bfloat16 (native on this CPU)"."""
    return f"{device} in {dtype} ({reason})" if reason else f"{device} in {dtype}"


def dtype_of(model: nn.Module) -> str:
    """The format that a model computes in: "int8" where linear layers are quantized, else that of its weights."""
    if any(isinstance(module, Int8Linear) for module in model.modules()):
        return "int8"
    return next((str(weight.dtype).removeprefix("torch.") for weight in model.parameters()), "float32")


def to_dtype(model: Model, dtype: str) -> Model:
    """Cast the weights of a model, in place.

    int8 applies to the linear layers of transformer blocks, which take most of the time. Front ends and heads lose more
    accuracy in int8; they run in bfloat16 if the CPU has it, else in float32.
    """
    if dtype == "int8":
        model.to(torch.bfloat16 if cpu_multiplies_bfloat16() else torch.float32)
        for module in model.modules():
            if isinstance(module, Block):
                quantize_linears(module)
        return model
    return model.to(getattr(torch, dtype))
