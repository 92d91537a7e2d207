"""The peak of the machine, and the promises of encoders on it (zoo/testing.py)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

from benchmarks.gpu.machine import ROOT, Machine
from benchmarks.gpu.sections import Case, Row, Section, explain
from benchmarks.gpu.sizes import Size
from zoo.encoder import Encoder

WITHIN_BATCH = ("batch", "padding", "determinism")


def peak_cases(machine: Machine, size: Size) -> list[Case]:
    return [
        Case("bfloat16", partial(matrix_product, machine, size, torch.bfloat16)),
        Case("float32", partial(matrix_product, machine, size, torch.float32)),
        Case("copy", partial(copy, machine, size)),
    ]


def matrix_product(machine: Machine, size: Size, dtype: torch.dtype) -> list[Row]:
    """Rate of a large product of random matrices. That of bfloat16 is the peak that others are compared with."""
    a, b = (torch.randn(size.matrix, size.matrix, device=machine.device, dtype=dtype) for _ in range(2))
    times = 10

    def run() -> None:
        for _ in range(times):
            a @ b

    measured = machine.measure(run, rounds=size.rounds, seconds=size.round_seconds)
    rate = times * 2 * size.matrix**3 / measured.seconds
    if dtype == torch.bfloat16:
        machine.peak = rate
    name = str(dtype).removeprefix("torch.")
    return [{"case": f"{size.matrix} x {size.matrix} product, {name}", "TFLOP/s": rate / 1e12, "GiB": measured.memory}]


def copy(machine: Machine, size: Size) -> list[Row]:
    """Bytes read and written a second in a copy from and to the memory of the device."""
    source = torch.zeros(16 * size.matrix**2, device=machine.device, dtype=torch.uint8)
    target = torch.empty_like(source)
    measured = machine.measure(lambda: target.copy_(source), rounds=size.rounds, seconds=size.round_seconds)
    return [{"case": "copy", "GB/s": 2 * source.numel() / measured.seconds / 1e9, "GiB": measured.memory}]


def contract_cases(machine: Machine, size: Size) -> list[Case]:
    """Every distinct structure in the small size of the tests, then full-sized models."""
    sys.path.append(str(ROOT / "tests" / "helpers"))
    from small import small, structures

    import zoo
    from zoo.testing import PROMISES

    names = structures() if size.structures is None else size.structures
    cases = [Case(name, partial(check, machine, name, partial(small, name), tuple(PROMISES))) for name in names]
    for name in size.contract_models:
        cases.append(Case(f"{name}, full size", partial(check, machine, name, partial(zoo.create, name), WITHIN_BATCH)))
    return cases


def check(machine: Machine, name: str, build: Callable[[], Encoder], promises: tuple[str, ...]) -> list[Row]:
    """Check each promise in float32: with the settings of PyTorch, and, if one is broken, without TF32."""
    model = build().to(machine.device)
    broken = broken_promises(model, promises)
    row: Row = {
        "case": name,
        "million weights": sum(weight.numel() for weight in model.parameters()) / 1e6,
        "promises kept": f"{len(promises) - len(broken)} of {len(promises)}",
        "broken": describe(broken),
    }
    row["broken without TF32"] = None
    if broken and machine.is_gpu:
        with without_tf32():
            row["broken without TF32"] = describe(broken_promises(model, promises))
    return [row]


def broken_promises(model: Encoder, promises: tuple[str, ...]) -> dict[str, str]:
    """Promise -> how it was broken."""
    from zoo.testing import PROMISES, TOLERANCE

    broken: dict[str, str] = {}
    for promise in promises:
        model.eval()
        try:
            PROMISES[promise](model, TOLERANCE)
        except Exception as error:
            broken[promise] = explain(error)
    return broken


def describe(broken: dict[str, str]) -> str:
    return "; ".join(f"{promise}: {reason}" for promise, reason in broken.items()) or "none"


@contextmanager
def without_tf32() -> Iterator[None]:
    """Convolutions and matrix products in full float32."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


PEAK = Section("peak", "Peak of the machine", peak_cases)
CONTRACT = Section("contract", "Promises of encoders, in float32 (zoo/testing.py)", contract_cases)
