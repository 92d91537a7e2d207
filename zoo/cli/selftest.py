"""`zoo selftest`: whether reduced precision is right on this machine."""

from __future__ import annotations

from functools import partial

import torch
from rich.console import Console
from rich.table import Table

from zoo import loading, selftest
from zoo.errors import ConfigError, ZooError
from zoo.nn.precision import resolve_device, resolve_dtype, to_dtype

PACKAGED = ("hubert", "mulan", "whisper")


def run(models: list[str], dtypes: list[str], device: str, console: Console) -> None:
    """Print machine, cosines and speed of every model in every precision.

    Raises ConfigError for a format that cannot be tested, ZooError where one is wrong.
    """
    target = resolve_device(device)
    formats = [_reduced(dtype, target) for dtype in dtypes] or _possible(target)
    for name, fact in selftest.machine(target).items():
        console.print(f"{name}: {fact}", markup=False, highlight=False)
    table = Table(box=None, header_style="bold")
    for column in ("model", "dtype", "cosine to float32", "same bytes twice", "speed to float32", "result"):
        table.add_column(column)
    wrong = []
    for name in models or PACKAGED:
        for dtype in formats:
            load = partial(loading.load, name, device=str(target))
            result = selftest.run(load, partial(to_dtype, dtype=dtype), dtype)
            speed = f"{result.exact_seconds / result.seconds:.1f} x"
            repeats = "yes" if result.repeats else "no"
            table.add_row(name, dtype, f"{result.cosine:.5f}", repeats, speed, result.reason or "right")
            if result.reason:
                wrong.append(f"{name} in {dtype}")
    console.print(table)
    if wrong:
        raise ZooError(f"reduced precision is wrong on this machine: {', '.join(wrong)}; use --dtype float32")


def _possible(device: torch.device) -> list[str]:
    return ["bfloat16", "int8" if device.type == "cpu" else "float16"]


def _reduced(dtype: str, device: torch.device) -> str:
    """The full name of a format. Raises ConfigError for float32, to which the others are compared."""
    name, reason = resolve_dtype(dtype, device)
    if name == "float32":
        raise ConfigError(f"--dtype {dtype} is float32 here ({reason}); choose one of {', '.join(selftest.FLOORS)}")
    return name
