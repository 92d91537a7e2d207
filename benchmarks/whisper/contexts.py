"""Distance between padding "none" and "30s" of the encoder: cosine of embeddings, and speed.

    python -m benchmarks.whisper.contexts --weights DIR [--models tiny.en base] [--out FILE.md]

DIR holds a directory for each model that zoo loads. Recordings: `read`, and dev and test of the English `prompts` under
ZOO_DATA, one at a time. Clips: cosine of the means over time; frames: cosine of each frame; last layer.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import zoo
from benchmarks.whisper.recordings import RATE, utterances
from benchmarks.whisper.systems import heading, publish


def encode(model: Any, waves: list[Tensor], padding: str) -> tuple[list[Tensor], float]:
    """Frames (T, D) of each recording, and the seconds that encoding took."""
    model.padding = padding
    began = time.perf_counter()
    return [model.encode(wave, RATE).unpad()[0] for wave in waves], time.perf_counter() - began


def row(model: Any, name: str, waves: list[Tensor]) -> str:
    padded, slow = encode(model, waves, "30s")
    unpadded, fast = encode(model, waves, "none")
    means = [float(F.cosine_similarity(a.mean(0), b.mean(0), dim=0)) for a, b in zip(padded, unpadded, strict=True)]
    frames = torch.cat([F.cosine_similarity(a, b, dim=1) for a, b in zip(padded, unpadded, strict=True)]).numpy()
    cells = [f"{np.median(x):.3f} ({np.quantile(x, 0.05):.3f})" for x in (np.array(means), frames)]
    return f"| {name} | {' | '.join(cells)} | {slow / fast:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    items = utterances("read") + utterances("prompts", splits=("dev", "test"), lang="en")
    waves = [torch.from_numpy(item.wave) for item in items]
    lines = heading(
        'Whisper: padding "none" beside "30s"',
        "python -m benchmarks.whisper.contexts",
        f"{len(waves)} recordings, {sum(item.seconds for item in items) / 60:.1f} minutes.",
    )
    lines += ["| model | cosine of clips, median (5 %) | of frames | none is faster, times |", "|-|-|-|-|"]
    for name in options.models:
        model = zoo.load(options.weights / name, device="cpu", dtype="bfloat16")
        lines.append(row(model, name, waves))
    publish([*lines, ""], options.out)


if __name__ == "__main__":
    main()
