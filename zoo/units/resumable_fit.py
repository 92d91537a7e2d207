"""One fit of a quantizer from start to end, and its state on disk.

    phase 0: fill the sample | solve | phase p = 1 ... passes: sums of each cluster over all frames, then new centroids

Legend: N frames of a part, D width, K centroids.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.cluster.lloyd import ITERATIONS, TOLERANCE, solve
from zoo.cluster.nearest import cluster_sums, means, nearest
from zoo.cluster.quantizer import Codebook, Quantizer
from zoo.cluster.sample import Reservoir, check_finite
from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.io.atomic import replacing_file
from zoo.units.features import FeatureSource, FramePart

SAVE_SECONDS = 60.0


class Fit:
    """A fit that can be resumed.

    request: all arguments that the result depends on besides the source. columns: (first, last, k) of each codebook.
    target: file of the quantizer; the state file is next to it. None: no state is saved.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        source: FeatureSource,
        request: dict[str, Any],
        columns: Sequence[tuple[int, int, int]],
        target: Path | None,
        workers: int | None,
    ) -> None:
        self.entries, self.source, self.request, self.columns = entries, source, request, columns
        self.state = None if target is None else target.with_name(f".{target.name}.state")
        self.workers = workers
        self.blocks = source.blocks(entries)
        self.phase = self.done = 0  # done: finished blocks of this phase
        self.seen = self.sampled = self.skipped = 0  # all frames, frames in the sample, entries without frames
        self.sample = Reservoir(request["sample_bytes"], request["seed"])
        self.centroids: list[Tensor] = []
        self.sums: list[Tensor] = []
        self.counts: list[Tensor] = []
        self._saved = time.monotonic()

    def run(self) -> Quantizer:
        """Run the fit to its end, from the saved state if there is one."""
        self._restore()
        if self.phase == 0:
            self._fill_sample()
            self._solve()
        while self.phase <= self._passes():
            self._refine()
        books = [Codebook(a, b, c) for (a, b, _), c in zip(self.columns, self.centroids, strict=True)]
        counts = {"rows": self.seen, "rows_held": self.sampled, "skipped": self.skipped}
        return Quantizer(tuple(books), self.source.describe(), self.request | counts)

    def remove_state(self) -> None:
        """Remove the state file, after the quantizer is saved."""
        if self.state is not None:
            self.state.unlink(missing_ok=True)

    def _passes(self) -> int:
        return self.request["passes"] if self.seen > self.sampled else 0

    def _fill_sample(self) -> None:
        for parts in self._parts():
            for x in parts:
                self.sample.add(x)
            self._step()
        self._save()
        self.seen, self.sampled = self.sample.seen, len(self.sample.rows())
        if not self.seen:
            raise ConfigError(
                f"none of {len(self.entries)} entries gave a frame ({self.skipped} cannot be read); check their paths"
            )

    def _solve(self) -> None:
        rows = self.sample.rows_for(max(k for *_, k in self.columns)).to(self.source.encoder.device)
        for i, (first, last, k) in enumerate(self.columns):
            generator = torch.Generator().manual_seed(self.request["seed"] + i)
            part = rows[:, first:last].contiguous()
            self.centroids.append(solve(part, k, generator, iterations=ITERATIONS, tolerance=TOLERANCE).cpu())
        self.sample = Reservoir(0, 0)
        self._begin(1)

    def _begin(self, phase: int) -> None:
        self.phase, self.done = phase, 0
        self.sums = [torch.zeros(c.shape, dtype=torch.float64) for c in self.centroids]
        self.counts = [torch.zeros(len(c), dtype=torch.int64) for c in self.centroids]
        self._save()

    def _refine(self) -> None:
        """One Lloyd iteration over all frames."""
        device = self.source.encoder.device
        for parts in self._parts():
            for x in parts:
                for i, (first, last, k) in enumerate(self.columns):
                    part = x[:, first:last].to(device)
                    sums, counts = cluster_sums(part, nearest(part, self.centroids[i].to(device)).labels, k)
                    self.sums[i] += sums.cpu()
                    self.counts[i] += counts.cpu()
            self._step()
        self.centroids = [means(*totals) for totals in zip(self.sums, self.counts, self.centroids, strict=True)]
        self._begin(self.phase + 1)

    def _parts(self) -> Iterator[Iterator[Tensor]]:
        """The frames (N, D) of each remaining block of this phase."""
        for block in self.source.frames(self.entries, self.blocks[self.done :], workers=self.workers):
            yield self._readable(block)

    def _readable(self, block: Iterator[FramePart]) -> Iterator[Tensor]:
        for index, x, error in block:
            if error is not None:
                self.skipped += self.phase == 0
                continue
            check_finite(x, str(self.entries[index].audio))
            yield x

    def _step(self) -> None:
        self.done += 1
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self._save()

    def _save(self) -> None:
        if self.state is None:
            return
        tensors = {f"centroids.{i}": c for i, c in enumerate(self.centroids)}
        tensors |= {f"sums.{i}": s for i, s in enumerate(self.sums)}
        tensors |= {f"counts.{i}": n for i, n in enumerate(self.counts)}
        if self.phase == 0:
            tensors["rows"] = self.sample.rows()
        header = self._key() | {"phase": self.phase, "done": self.done, "skipped": self.skipped}
        seen, sampled = (self.sample.seen, 0) if self.phase == 0 else (self.seen, self.sampled)
        header |= {"seen": seen, "held": sampled}
        with replacing_file(self.state) as temporary:
            save_file(tensors, temporary, metadata={"zoo.fit": json.dumps(header)})
        self._saved = time.monotonic()

    def _key(self) -> dict[str, Any]:
        return {"request": self.request, "source": self.source.describe()}

    def _restore(self) -> None:
        if self.state is None or not self.state.exists():
            return
        try:
            with safe_open(self.state, framework="pt") as file:
                header = json.loads((file.metadata() or {})["zoo.fit"])
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise ConfigError(f"{self.state}: damaged state of a fit ({error}); remove it to start over") from error
        if any(header.pop(key) != value for key, value in json.loads(json.dumps(self._key())).items()):
            raise ConfigError(
                f"{self.state}: the state of a fit with other arguments, data or encoder; use the same ones to "
                "continue, remove this file to start over, or choose another path"
            )
        self.phase, self.done, self.skipped = header["phase"], header["done"], header["skipped"]
        self.seen, self.sampled = header["seen"], header["held"]
        if self.phase == 0:
            request = self.request
            self.sample = Reservoir.restore(tensors["rows"], self.seen, request["sample_bytes"], request["seed"])
        count = range(len(self.columns) if self.phase else 0)
        self.centroids = [tensors[f"centroids.{i}"] for i in count]
        self.sums = [tensors[f"sums.{i}"] for i in count]
        self.counts = [tensors[f"counts.{i}"] for i in count]
