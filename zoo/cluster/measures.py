"""Measures of how well units match phones, over all frames.

With n(y, z) the frames of phone y and unit z, and p = n / N (Hsu et al. 2021, arXiv 2106.07447, section IV-B):

    phone purity = sum_z max_y p(y, z)    cluster purity = sum_y max_z p(y, z)    PNMI = I(y; z) / H(y)

Boundaries: changes of the unit against changes of the phone, with a tolerance of 20 ms. Precision, recall, F1, and
R-value, which falls with too many boundaries (Räsänen et al. 2009, "An improved speech segmentation quality measure").

Legend: T frames, P phones, K units.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from zoo.data.manifest import Phone
from zoo.errors import ManifestError

TOLERANCE = 0.02  # s


@dataclass(frozen=True)
class Measures:
    """One codebook against phones.

    Entropies and mutual information are in bits. perplexity: of the distribution of units. used: units that occur.
    units: size of the codebook. phones: phones that occur. frames: number of frames. boundary_*: nan if boundaries were
    not compared.
    """

    pnmi: float
    phone_purity: float
    cluster_purity: float
    phone_entropy: float
    unit_entropy: float
    mutual_information: float
    perplexity: float
    used: int
    units: int
    phones: int
    frames: int
    boundary_precision: float = math.nan
    boundary_recall: float = math.nan
    boundary_f1: float = math.nan
    boundary_r: float = math.nan

    @classmethod
    def of(cls, table: Tensor, boundaries: Boundaries | None = None) -> Measures:
        """Measures of a table (P, K): number of frames of each phone and unit. Raises ManifestError if all are zero."""
        total = float(table.sum())
        if not total:
            raise ManifestError("no frame has both a unit and a phone: the entries need `phones` (see alignments)")
        joint = table.double() / total
        phone_entropy, unit_entropy = _entropy(joint.sum(1)), _entropy(joint.sum(0))
        information = max(0.0, phone_entropy + unit_entropy - _entropy(joint.flatten()))
        boundary = {f"boundary_{name}": value for name, value in boundaries.scores().items()} if boundaries else {}
        return cls(
            pnmi=information / phone_entropy if phone_entropy > 1e-12 else 0.0,  # one phone leaves rounding errors only
            phone_purity=float(joint.amax(0).sum()),
            cluster_purity=float(joint.amax(1).sum()),
            phone_entropy=phone_entropy,
            unit_entropy=unit_entropy,
            mutual_information=information,
            perplexity=2.0**unit_entropy,
            used=int((table.sum(0) > 0).sum()),
            units=table.shape[1],
            phones=int((table.sum(1) > 0).sum()),
            frames=int(total),
            **boundary,
        )


@dataclass
class Boundaries:
    """Counts over all clips: boundaries of phones, boundaries of units, and matched pairs of them."""

    phones: int = 0
    units: int = 0
    matched: int = 0

    def add(self, units: Tensor, phones: Sequence[Phone], rate: float, center: float) -> None:
        """Add the units (T,) and phones of a clip. A unit boundary is halfway between the middles of two frames.

        rate: units per second. center: seconds from the start of the clip to the middle of the first frame.
        """
        changes = (units[1:] != units[:-1]).nonzero()[:, 0]
        unit_times = (center + (changes.double() + 0.5) / rate).tolist()
        phone_times = [start for (_, _, before), (start, _, symbol) in pairwise(phones) if symbol != before]
        self.phones += len(phone_times)
        self.units += len(unit_times)
        self.matched += _count_matches(unit_times, phone_times)

    def scores(self) -> dict[str, float]:
        """precision, recall, f1 and r (R-value), as fractions."""
        precision, recall = self.matched / max(1, self.units), self.matched / max(1, self.phones)
        f1 = 2 * precision * recall / (precision + recall) if self.matched else 0.0
        excess = self.units / max(1, self.phones) - 1
        r1 = math.hypot(1 - recall, excess)
        r2 = (recall - 1 - excess) / math.sqrt(2)
        return {"precision": precision, "recall": recall, "f1": f1, "r": 1 - (abs(r1) + abs(r2)) / 2}


def phones_of_frames(
    phones: Sequence[Phone], frames: int, rate: float, center: float, symbols: dict[str, int]
) -> Tensor:
    """The index in `symbols` of the phone at the middle of each frame, or -1 between phones: (T,) int64."""
    middles = center + torch.arange(frames, dtype=torch.float64) / rate
    starts = torch.tensor([start for start, _, _ in phones], dtype=torch.float64)
    ends = torch.tensor([end for _, end, _ in phones], dtype=torch.float64)
    numbers = torch.tensor([symbols[symbol] for _, _, symbol in phones])
    index = torch.searchsorted(starts, middles, right=True) - 1  # (T,)
    inside = (index >= 0) & (middles < ends[index.clamp(min=0)])
    return torch.where(inside, numbers[index.clamp(min=0)], -1)


def _entropy(p: Tensor) -> float:
    """The entropy of a distribution, in bits."""
    return float(-torch.xlogy(p, p).sum() / math.log(2))


def _count_matches(hypothesis: Sequence[float], reference: Sequence[float]) -> int:
    """The maximum number of pairs within TOLERANCE. Each boundary is used once; both lists are sorted."""
    count = index = 0
    for boundary in reference:
        index = bisect.bisect_left(hypothesis, boundary - TOLERANCE - 1e-9, index)
        if index < len(hypothesis) and hypothesis[index] <= boundary + TOLERANCE + 1e-9:
            count += 1
            index += 1
    return count
