"""Quality of the units of a quantizer: agreement with phones, bit rate, and consistency in noise.

    PNMI, purity   against the phones of the test clips (see zoo.cluster.measures)
    bit rate       entropy of the units x units per second; of all units, and of runs (repetitions count once)
    consistency    share of frames with the same unit in noise

Legend: T frames, C codebooks, P phones, K units, N clips, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from zoo.audio import Clip
from zoo.benchmarks.conditions import parse
from zoo.benchmarks.corruptions import corrupt
from zoo.benchmarks.evaluated import BATCH, drop_short, items_with, read_clips, task_result, test_items
from zoo.benchmarks.items import EvalItem, EvalItems
from zoo.benchmarks.results import TaskResult
from zoo.benchmarks.significance import REPLICATES_ANEW, Interval, statistic_interval
from zoo.benchmarks.suite import SuiteTask
from zoo.cluster.measures import Boundaries, Measures, phones_of_frames
from zoo.cluster.quantizer import Quantizer
from zoo.encoder import Encoder

NOISES = ("pink 20", "pink 10", "pink 0")


def run(task: SuiteTask, items: EvalItems, encoder: Encoder) -> TaskResult:
    """The PNMI of the first codebook, and details. Raises ConfigError if no test clip has phones."""
    notes: list[str] = []
    with_phones = items_with(notes, "phones", test_items(task, items), lambda item: bool(item.entry.phones))
    clips = drop_short(notes, read_clips(notes, with_phones, encoder.sample_rate), encoder)
    tested = [item for item, _ in clips]
    units = _units(encoder, [clip for _, clip in clips])
    symbols = _numbered_symbols(tested)
    sizes = cast(Quantizer, encoder.quantizer).sizes
    groups = [item.group for item in tested]
    details: dict[str, Any] = {}
    for book, size in enumerate(sizes):
        of_book = [sequence[:, book] for sequence in units]
        tables, boundaries = _tables(encoder, tested, of_book, symbols, size)
        measures = Measures.of(tables.sum(0), boundaries)
        if book == 0:
            score, interval = measures.pnmi, _interval(tables, measures.pnmi)
        details[f"codebook {book}"] = asdict(measures) | _rates(of_book, encoder.frame_rate)
    consistency = {}
    for name in task.conditions or NOISES:
        consistency[name] = _consistency(encoder, clips, units, name)
    details["consistency"] = consistency
    rows = []
    for item, sequence in zip(tested, units, strict=True):
        rows.append({"item": item.key, "group": item.group, "predicted": sequence.tolist()})
    return task_result("PNMI", score, interval, groups, details=details, notes=notes, rows=rows)


def _numbered_symbols(items: Sequence[EvalItem]) -> dict[str, int]:
    """A number for each phone of these clips, in the order of the alphabet."""
    symbols = {symbol for item in items for _, _, symbol in item.entry.phones}
    return {symbol: number for number, symbol in enumerate(sorted(symbols))}


def _units(encoder: Encoder, clips: Sequence[Clip]) -> list[Tensor]:
    """Units (T, C) of each clip."""
    all_units: list[Tensor] = []
    for start in range(0, len(clips), BATCH):
        all_units += encoder.units(list(clips[start : start + BATCH]), encoder.sample_rate)  # type: ignore[operator]
    return [units if units.ndim == 2 else units[:, None] for units in all_units]


def _tables(
    encoder: Encoder, items: Sequence[EvalItem], units: Sequence[Tensor], symbols: dict[str, int], size: int
) -> tuple[Tensor, Boundaries]:
    """Frame counts by group, phone and unit (G, P, K), and the counts of phone and unit boundaries."""
    center, rate = encoder.first_time, encoder.frame_rate
    # The bootstrap draws groups, so one table per group is enough.
    names, group = np.unique([item.group for item in items], return_inverse=True)
    tables = torch.zeros(len(names), len(symbols) * size, dtype=torch.int64)
    boundaries = Boundaries()
    for row, item, sequence in zip(group, items, units, strict=True):
        phones = phones_of_frames(item.entry.phones, len(sequence), rate, center, symbols)
        inside = phones >= 0
        tables[row] += torch.bincount(phones[inside] * size + sequence[inside], minlength=tables.shape[1])
        boundaries.add(sequence, item.entry.phones, rate, center)
    return tables.view(len(names), len(symbols), size), boundaries


def _interval(tables: Tensor, estimate: float) -> Interval:
    """Bootstrap interval of the PNMI over groups.

    Resampled sets have fewer distinct frames, which raises the PNMI. The mean rise is subtracted.
    """
    values: list[float] = []
    counts = tables.float()

    def pnmi(selected: np.ndarray) -> float:
        weights = torch.bincount(torch.from_numpy(selected), minlength=len(counts)).float()
        values.append(Measures.of(torch.einsum("g,gpk->pk", weights, counts)).pnmi)
        return values[-1]

    interval = statistic_interval(pnmi, np.arange(len(counts)), replicates=REPLICATES_ANEW)
    rise = float(np.mean(values)) - estimate
    return Interval(interval.low - rise, interval.high - rise, interval.level)


def _rates(units: Sequence[Tensor], rate: float) -> dict[str, float]:
    """Bits per second of all units and of runs, with an entropy code over the whole set."""
    runs = [torch.unique_consecutive(sequence) for sequence in units]
    seconds = sum(len(sequence) for sequence in units) / rate
    return {
        f"bit rate{name}": _entropy(torch.cat(list(sequences))) * sum(len(s) for s in sequences) / seconds
        for name, sequences in (("", units), (" of runs", runs))
    }


def _entropy(units: Tensor) -> float:
    counts = torch.unique(units, return_counts=True)[1].double()
    share = counts / counts.sum()
    return float(-(share * share.log2()).sum())


def _consistency(encoder: Encoder, clips: Sequence[tuple[EvalItem, Clip]], units: Sequence[Tensor], name: str) -> float:
    """Share of frames, over all codebooks, with the same unit under a condition."""
    condition = parse(name)
    same = 0
    for start in range(0, len(clips), BATCH):  # only one batch of corrupted clips is in memory
        part = slice(start, start + BATCH)
        corrupted = [corrupt(c[0 : len(c)], encoder.sample_rate, condition, item.digest) for item, c in clips[part]]
        same += sum(int((a == b).sum()) for a, b in zip(units[part], _units(encoder, corrupted), strict=True))
    return same / sum(sequence.numel() for sequence in units)
