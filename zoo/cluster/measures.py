"""How well units match phones, counted over all frames.

With n(y, z) the frames of phone y and unit z, and p = n / N (Hsu et al. 2021, arXiv 2106.07447, section IV-B):

    phone purity = sum_z max_y p(y, z)    cluster purity = sum_y max_z p(y, z)    PNMI = I(y; z) / H(y)

Boundaries: where the unit changes, against where the phone changes, within 20 ms: precision, recall, F1, and R-value,
which too many boundaries do not raise (Räsänen et al. 2009, "An improved speech segmentation quality measure").

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
    """One codebook against phones; entropies in bits, perplexity of the use of units, frames counted.

    boundary_*: nan where boundaries were not compared.
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
        """table (P, K): frames of each phone and unit. Raises ManifestError where it is empty."""
        total = float(table.sum())
        if not total:
            raise ManifestError("no frame has both a unit and a phone: the entries need `phones` (see alignments)")
        joint = table.double() / total
        phone_entropy, unit_entropy = _entropy(joint.sum(1)), _entropy(joint.sum(0))
        information = max(0.0, phone_entropy + unit_entropy - _entropy(joint.flatten()))
        boundary = {f"boundary_{name}": value for name, value in boundaries.scores().items()} if boundaries else {}
        return cls(
            pnmi=information / phone_entropy if phone_entropy > 1e-12 else 0.0,  # of one phone, rounding alone is left
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
    """Counts over all clips: boundaries of phones, boundaries of units, and those of both that met."""

    phones: int = 0
    units: int = 0
    met: int = 0

    def add(self, units: Tensor, phones: Sequence[Phone], rate: float, center: float) -> None:
        """units (T,) of one clip; a boundary lies half way between the middles of two frames."""
        changes = (units[1:] != units[:-1]).nonzero()[:, 0]
        found = (center + (changes.double() + 0.5) / rate).tolist()
        wanted = [start for (_, _, before), (start, _, symbol) in pairwise(phones) if symbol != before]
        self.phones += len(wanted)
        self.units += len(found)
        self.met += _matches(found, wanted)

    def scores(self) -> dict[str, float]:
        """precision, recall, f1, r."""
        precision, recall = self.met / max(1, self.units), self.met / max(1, self.phones)
        f1 = 2 * precision * recall / (precision + recall) if self.met else 0.0
        excess = self.units / max(1, self.phones) - 1
        r1 = math.hypot(1 - recall, excess)
        r2 = (recall - 1 - excess) / math.sqrt(2)
        return {"precision": precision, "recall": recall, "f1": f1, "r": 1 - (abs(r1) + abs(r2)) / 2}


def phones_of_frames(
    phones: Sequence[Phone], frames: int, rate: float, center: float, symbols: dict[str, int]
) -> Tensor:
    """The number of the phone at the middle of each frame, -1 between phones: (T,) int64."""
    middles = center + torch.arange(frames, dtype=torch.float64) / rate
    starts = torch.tensor([start for start, _, _ in phones], dtype=torch.float64)
    ends = torch.tensor([end for _, end, _ in phones], dtype=torch.float64)
    numbers = torch.tensor([symbols[symbol] for _, _, symbol in phones])
    place = torch.searchsorted(starts, middles, right=True) - 1
    inside = (place >= 0) & (middles < ends[place.clamp(min=0)])
    return torch.where(inside, numbers[place.clamp(min=0)], -1)


def _entropy(p: Tensor) -> float:
    """Of a distribution, in bits."""
    return float(-torch.xlogy(p, p).sum() / math.log(2))


def _matches(found: Sequence[float], wanted: Sequence[float]) -> int:
    """Most pairs of a found and a wanted boundary no farther apart than TOLERANCE, each used once; both sorted."""
    count = place = 0
    for boundary in wanted:
        place = bisect.bisect_left(found, boundary - TOLERANCE - 1e-9, place)
        if place < len(found) and found[place] <= boundary + TOLERANCE + 1e-9:
            count += 1
            place += 1
    return count
