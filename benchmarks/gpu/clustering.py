"""k-means on the device, and with the same rows on the CPU."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.gpu.machine import Machine
from benchmarks.gpu.sections import Case, Row, Section
from benchmarks.gpu.sizes import Size
from benchmarks.speed.inputs import mixture
from zoo.cluster import KMeans

ON_CPU = 300_000  # rows at most for the fit on the CPU


def cases(machine: Machine, size: Size) -> list[Case]:
    return [Case(f"{rows} x {width}", partial(fit, rows, width, k, machine)) for rows, width, k in size.points]


def fit(rows: int, width: int, k: int, machine: Machine) -> list[Row]:
    x = mixture(rows, width)
    systems = [machine]
    if machine.is_gpu and rows <= ON_CPU:
        systems.append(Machine(torch.device("cpu")))
    found = []
    for system in systems:
        points = x.to(system.device)
        measured = system.measure(lambda points=points: KMeans(k).fit(points), rounds=2, seconds=4.0)  # type: ignore[misc]
        model = KMeans(k).fit(points)
        row: Row = {"case": f"{rows} x {width} into {k}", "system": f"zoo float32, {system.device.type}"}
        found.append(row | measured.row() | {"inertia a row": model.inertia(points) / rows})
    return found


KMEANS = Section("k-means", "k-means", cases)
