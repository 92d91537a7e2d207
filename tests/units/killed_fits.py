"""Fits, label dumps and unit dumps that are killed (SIGKILL) at chosen moments, for test_units_resume.

    python killed_fits.py CLIPS FOLDER MOMENT...

A moment is FUNCTION:N, the N-th call of one of `MOMENTS` (see tests/helpers/dying.py); its output is in
FOLDER/MOMENT.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from dying import attempt
from small import small

import zoo.embed  # noqa: F401 (once, for all forks)
from zoo.data.manifest import Entry
from zoo.io import atomic
from zoo.jobs.plan import Limits
from zoo.models.hubert.model import HuBERT
from zoo.units import features, fit_quantizer, label_corpus, labels, layer, mfcc39, resumable_fit, task, writing

MOMENTS: dict[str, tuple[Any, str]] = {
    "encode": (features.FeatureSource, "_encode"),  # blocks: of the sample, of the refinement, of labels, of units
    "sums": (resumable_fit, "cluster_sums"),  # in the middle of a refining block
    "solve": (resumable_fit, "solve"),
    "save": (resumable_fit, "save_file"),  # the state of the fit
    "part": (labels, "save_file"),
    "sync": (atomic, "_flush"),  # in turn: a file is complete but not renamed; renamed but not flushed
    "replace": (Path, "replace"),
    "write": (task, "make_line"),
    "unlink": (Path, "unlink"),
}


def everything(clips: Path, out: Path) -> None:
    """A fit of two codebooks on a sample of the frames, its labels, and the units of a model."""
    torch.set_num_threads(1)
    features.BLOCK_SECONDS, labels.PART_SECONDS, resumable_fit.SAVE_SECONDS = 1.6, 2.0, 0.0
    task.UnitsTask.limits = Limits(2048, 1.6, 1.6)
    entries = [Entry(path, 0.6 + 0.13 * i, "train") for i, path in enumerate(sorted(clips.iterdir()))]
    source = mfcc39(50)
    quantizer = fit_quantizer(
        entries, source, (7, 5), path=out / "quantizer.safetensors", sample_bytes=100 * 39 * 4, passes=2
    )
    label_corpus(quantizer, source, entries, out / "labels")
    model = small("hubert-base")
    assert isinstance(model, HuBERT)
    model.attach(fit_quantizer(entries, layer(model, 2), 6))
    writing.write_units([entry.audio for entry in entries], model, out / "units.jsonl", dedup=True, progress=False)


if __name__ == "__main__":
    clips, folder, *moments = sys.argv[1:]
    attempt(moments, MOMENTS, lambda moment: everything(Path(clips), Path(folder) / moment))
