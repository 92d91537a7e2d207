"""What the units of a quantizer are worth: how well they tell phones, what they cost, whether noise changes them.

    PNMI, purity   against the phones of the test clips (see zoo.cluster.measures)
    bit rate       entropy of the use of units x units a second; once as they are, once with repetitions as one
    consistency    share of frames that keep their unit in noise

Legend: T frames, C codebooks, P phones, K units, N clips, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

import numpy as np
import torch
from torch import Tensor

from zoo.audio import Clip
from zoo.benchmarks.conditions import parse
from zoo.benchmarks.corruptions import corrupt
from zoo.benchmarks.evaluated import BATCH, having, long_enough, readable, score, test_items
from zoo.benchmarks.items import EvalItem, EvalItems
from zoo.benchmarks.results import Record, Rows
from zoo.benchmarks.significance import REPLICATES_ANEW, Interval, statistic_interval
from zoo.benchmarks.suite import SuiteTask
from zoo.cluster.measures import Boundaries, Measures, phones_of_frames
from zoo.cluster.quantizer import Quantizer
from zoo.encoder import Encoder

NOISES = ("pink 20", "pink 10", "pink 0")


def run(record: Record, task: SuiteTask, items: EvalItems, encoder: Encoder) -> Rows:
    """Fill the record: score is the PNMI of the first codebook. Raises ConfigError where no test clip has phones."""
    asked = having(record, "phones", test_items(task, items), lambda item: bool(item.entry.phones))
    found = long_enough(record, readable(record, asked, encoder.sample_rate), encoder)
    known, units = [item for item, _ in found], _units(encoder, [clip for _, clip in found])
    symbols = {s: i for i, s in enumerate(sorted({symbol for item in known for _, _, symbol in item.entry.phones}))}
    sizes = cast(Quantizer, encoder.quantizer).sizes
    groups = [item.group for item in known]
    for book in range(len(sizes)):
        tables, boundaries = _tables(encoder, known, [u[:, book] for u in units], symbols, sizes[book])
        measures = Measures.of(tables.sum(0), boundaries)
        if book == 0:
            score(record, "PNMI", measures.pnmi, _interval(tables, measures.pnmi), groups)
        record.details[f"codebook {book}"] = asdict(measures) | _rates([u[:, book] for u in units], encoder.frame_rate)
    record.details["consistency"] = {
        name: _consistency(encoder, found, units, name) for name in (task.conditions or NOISES)
    }
    return [{"item": i.key, "group": i.group, "predicted": u.tolist()} for i, u in zip(known, units, strict=True)]


def _units(encoder: Encoder, clips: Sequence[Clip]) -> list[Tensor]:
    """(T, C) of each clip."""
    found: list[Tensor] = []
    for start in range(0, len(clips), BATCH):
        found += encoder.units(list(clips[start : start + BATCH]), encoder.sample_rate)  # type: ignore[operator]
    return [units if units.ndim == 2 else units[:, None] for units in found]


def _tables(
    encoder: Encoder, items: Sequence[EvalItem], units: Sequence[Tensor], symbols: dict[str, int], size: int
) -> tuple[Tensor, Boundaries]:
    """Frames of each phone and unit, group by group: (G, P, K); and how boundaries met."""
    center, rate = encoder.frame_samples / 2 / encoder.sample_rate, encoder.frame_rate
    names, group = np.unique([item.group for item in items], return_inverse=True)  # clips are many, and drawn by group
    tables, boundaries = torch.zeros(len(names), len(symbols) * size, dtype=torch.int64), Boundaries()
    for place, item, said in zip(group, items, units, strict=True):
        phones = phones_of_frames(item.entry.phones, len(said), rate, center, symbols)
        inside = phones >= 0
        tables[place] += torch.bincount(phones[inside] * size + said[inside], minlength=tables.shape[1])
        boundaries.add(said, item.entry.phones, rate, center)
    return tables.view(len(names), len(symbols), size), boundaries


def _interval(tables: Tensor, estimate: float) -> Interval:
    """Of the PNMI, over groups. Resampling leaves fewer distinct frames, which raises it: that rise is taken off."""
    values: list[float] = []
    counts = tables.float()

    def pnmi(chosen: np.ndarray) -> float:
        weights = torch.bincount(torch.from_numpy(chosen), minlength=len(counts)).float()
        values.append(Measures.of(torch.einsum("g,gpk->pk", weights, counts)).pnmi)
        return values[-1]

    interval = statistic_interval(pnmi, np.arange(len(counts)), replicates=REPLICATES_ANEW)
    rise = float(np.mean(values)) - estimate
    return Interval(interval.low - rise, interval.high - rise, interval.level)


def _rates(units: Sequence[Tensor], rate: float) -> dict[str, float]:
    """bits a second; of units as they are and of runs, each coded by how often it occurs."""
    runs = [torch.unique_consecutive(said) for said in units]
    seconds = sum(len(said) for said in units) / rate
    return {
        f"bit rate{name}": _entropy(torch.cat(list(said))) * sum(len(s) for s in said) / seconds
        for name, said in (("", units), (" of runs", runs))
    }


def _entropy(units: Tensor) -> float:
    counts = torch.unique(units, return_counts=True)[1].double()
    share = counts / counts.sum()
    return float(-(share * share.log2()).sum())


def _consistency(encoder: Encoder, found: Sequence[tuple[EvalItem, Clip]], units: Sequence[Tensor], name: str) -> float:
    """Share of frames, over all codebooks, whose unit a condition leaves as it is."""
    condition = parse(name)
    same = 0
    for start in range(0, len(found), BATCH):  # all clips are held as they are; not once more as they are changed
        part = slice(start, start + BATCH)
        clips = [corrupt(c[0 : len(c)], encoder.sample_rate, condition, item.digest) for item, c in found[part]]
        same += sum(int((a == b).sum()) for a, b in zip(units[part], _units(encoder, clips), strict=True))
    return same / sum(said.numel() for said in units)
