"""Units of a labeled corpus against its phones; `zoo.cluster.measures` has the formulas."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from zoo.cluster.measures import Boundaries, Measures, phones_of_frames
from zoo.data.manifest import Entry
from zoo.errors import ManifestError
from zoo.units.labels import Labels


def measure(labels: Labels, entries: Sequence[Entry], codebook: int = 0, *, ignore: Collection[str] = ()) -> Measures:
    """Units of one codebook against `phones` of the entries, which are those that were labeled, in their order.

    ignore: phones whose frames do not count, such as alignments.SILENCES: many, and easy to tell from the rest.
    Entries without phones and frames outside every phone are left out. Raises ManifestError where nothing is left.
    """
    if len(labels) != len(entries):
        raise ManifestError(f"{labels.folder} holds units of {len(labels)} entries, not {len(entries)}")
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
