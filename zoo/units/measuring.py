"""Compare the units of a labeled corpus with its phones; `zoo.cluster.measures` has the formulas."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from zoo.cluster.measures import Boundaries, Measures, phones_of_frames
from zoo.data.manifest import Entry
from zoo.errors import ManifestError
from zoo.units.labels import Labels


def measure(labels: Labels, entries: Sequence[Entry], codebook: int = 0, *, ignore: Collection[str] = ()) -> Measures:
    """Compare the units of one codebook with the `phones` of the entries.

    entries: the labeled entries, in the same order. ignore: phones to leave out, such as alignments.SILENCES, because
    silence is frequent and easy to recognize.
    Entries without phones, and frames outside all phones, are left out. Raises ManifestError if no frame is left, or if
    the number of entries differs.
    """
    if len(labels) != len(entries):
        raise ManifestError(
            f"{labels.folder} has units of {len(labels)} entries, not {len(entries)}; give the labeled entries"
        )
    symbols = {symbol: i for i, symbol in enumerate(sorted({s for entry in entries for _, _, s in entry.phones}))}
    size = labels.sizes[codebook]
    table = torch.zeros(len(symbols) * size, dtype=torch.int64)
    boundaries = Boundaries()
    for index, entry in enumerate(entries):
        units = labels[index][:, codebook].long()
        if not entry.phones or not len(units):
            continue
        phones = phones_of_frames(entry.phones, len(units), labels.rate, labels.center, symbols)
        inside = phones >= 0
        table += torch.bincount(phones[inside] * size + units[inside], minlength=len(table))
        boundaries.add(units, entry.phones, labels.rate, labels.center)
    table = table.view(len(symbols), size)
    table[[i for symbol, i in symbols.items() if symbol in ignore]] = 0
    return Measures.of(table, boundaries)
