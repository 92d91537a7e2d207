"""`zoo selftest`: whether reduced precision is right on this machine."""

from __future__ import annotations

from functools import partial

import torch
from rich.console import Console
from rich.table import Table

from zoo import loading, selftest
from zoo.errors import ZooError
from zoo.nn.precision import resolve_device, to_dtype

PACKAGED = ("hubert", "mulan", "whisper")
DTYPES = ("bfloat16", "int8")


def run(models: list[str], dtypes: list[str], device: str, console: Console) -> None:
    """Print machine, cosines and speed of every model in every precision. Raises ZooError where one is wrong."""
    target = resolve_device(device)
    for name, fact in selftest.machine(target).items():
        console.print(f"{name}: {fact}", markup=False, highlight=False)
    table = Table(box=None, header_style="bold")
    for column in ("model", "dtype", "cosine to float32", "same bytes twice", "speed to float32", "result"):
        table.add_column(column)
    wrong = []
    for name in models or PACKAGED:
        for dtype in dtypes or _possible(target):
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


def _possible(device: torch.device) -> tuple[str, ...]:
    return DTYPES if device.type == "cpu" else ("bfloat16", "float16")
