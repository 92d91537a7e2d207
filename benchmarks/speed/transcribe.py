"""Whisper transcription speed, zoo against openai-whisper and faster-whisper: same weights, same audio, one process.

    python -m benchmarks.speed.transcribe --weights DIR [--models tiny.en base] [--rounds 3] [--out FILE.md]

DIR holds for each model a CTranslate2 directory (tiny.en/) and an openai-whisper file (tiny.en.pt) of the same weights.
Needs openai-whisper, faster-whisper and jiwer beside zoo. Two tasks, on recordings under ZOO_DATA:

  short   40 utterances of `read`, each a file of its own
  long    one recording of 10 minutes: utterances of `read` and English `prompts` with pauses of 0.3 to 1.5 s

Every system gets 16 kHz waveforms in memory and the language, and decodes greedily at temperature 0 without the text
before. faster-whisper runs in float32 and int8, sequentially, on two workers with one thread each (short), and batched
(long: its own voice activity detection), zoo in float32, bfloat16 and int8 with padding "30s" and "none".
Rounds are interleaved after a warm-up; the median is reported with the range, and the word error rate with the English
normalizer.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import faster_whisper
import jiwer
import numpy as np
import torch
from rich.console import Console

from benchmarks.whisper.recordings import RATE, long_recording, utterances
from benchmarks.whisper.systems import (
    PLAIN,
    SEARCHES,
    Transcriber,
    faster,
    faster_batched,
    heading,
    openai,
    ours,
    text_of,
)
from zoo.text.normalizers import normalizer

THREADS = 2


@dataclass(frozen=True)
class TranscribeTask:
    """Waveforms and their texts."""

    name: str
    waves: list[np.ndarray]
    texts: list[str]

    @property
    def seconds(self) -> float:
        return sum(map(len, self.waves)) / RATE


def tasks(files: int, minutes: float) -> list[TranscribeTask]:
    read = utterances("read")[:files]
    wave, placed = long_recording(minutes)
    short = TranscribeTask("short", [item.wave for item in read], [item.text for item in read])
    return [short, TranscribeTask("long", [wave], [" ".join(p.utterance.text for p in placed)])]


def faster_workers(folder: Path, compute_type: str) -> Transcriber:
    """Two files at once, one core each."""
    model = faster_whisper.WhisperModel(
        str(folder), "cpu", compute_type=compute_type, cpu_threads=1, num_workers=THREADS
    )
    options = PLAIN | SEARCHES["greedy"] | {"beam_size": 1}

    def run(waves: Sequence[np.ndarray]) -> list[str]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda wave: text_of(model.transcribe(wave, **options)), waves))

    return run


def systems(weights: Path, name: str, task: TranscribeTask) -> dict[str, Transcriber]:
    folder = weights / name
    table = {"openai-whisper float32": openai(weights / f"{name}.pt", "greedy")}
    for kind in ("float32", "int8"):
        table[f"faster-whisper {kind}"] = faster(folder, "greedy", kind, threads=THREADS)
        if task.name == "short":
            table[f"faster-whisper {kind}, 2 workers"] = faster_workers(folder, kind)
        else:
            table[f"faster-whisper {kind}, batches of 8"] = faster_batched(folder, "greedy", kind, threads=THREADS)
    extra = (
        {"vad": "none", "mode": "sequential"} if task.name == "short" else {}
    )  # some utterances are longer than 30 s
    for dtype, padding in (("float32", "30s"), ("bfloat16", "30s"), ("int8", "30s"), ("bfloat16", "none")):
        label = f"zoo {dtype}" + (", context clip" if padding == "none" else "")  # the name in earlier results
        table[label] = ours(folder, "greedy", dtype, padding=padding, **extra)
    return table


def measure(
    table: dict[str, Transcriber], task: TranscribeTask, rounds: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of each interleaved round, and the word error rate in percent, by system."""
    normalize = normalizer("english")
    transcripts = {name: run(task.waves) for name, run in table.items()}
    rates = {
        name: 100 * jiwer.wer([normalize(text) for text in task.texts], [normalize(text) for text in texts])
        for name, texts in transcripts.items()
    }
    times: dict[str, list[float]] = {name: [] for name in table}
    for _ in range(rounds):
        for name, run in table.items():
            start = time.perf_counter()
            run(task.waves)
            times[name].append(time.perf_counter() - start)
    return times, rates


def report(name: str, task: TranscribeTask, times: dict[str, list[float]], rates: dict[str, float]) -> list[str]:
    """One table as Markdown lines."""
    middle = {system: statistics.median(values) for system, values in times.items()}
    openai = min((value for system, value in middle.items() if system.startswith("openai")), default=math.nan)
    faster = min((value for system, value in middle.items() if system.startswith("faster")), default=math.nan)
    lines = [
        f"## {name}, {task.name}: {len(task.waves)} files, {task.seconds:.0f} s",
        "",
        "| system | seconds (min to max) | x real time | vs openai-whisper | vs best faster-whisper | WER, % |",
        "|-|-|-|-|-|-|",
    ]
    for system, values in times.items():
        m = middle[system]
        lines.append(
            f"| {system} | {m:.2f} ({min(values):.2f} to {max(values):.2f}) | {task.seconds / m:.1f} | "
            f"{openai / m:.2f} | {faster / m:.2f} | {rates[system]:.2f} |"
        )
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument("--tasks", nargs="+", default=["short", "long"])
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="comma-separated parts of the systems' names")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    lines = heading(
        "Whisper transcription",
        "python -m benchmarks.speed.transcribe",
        f"{THREADS} threads, greedy, temperature 0; medians of {options.rounds} interleaved rounds.",
    )
    for name in options.models:
        for task in tasks(options.files, options.minutes):
            if task.name in options.tasks:
                table = systems(options.weights, name, task)
                parts = options.only.split(",")
                table = {key: run for key, run in table.items() if any(part in key for part in parts)}
                lines += report(name, task, *measure(table, task, options.rounds))
                Console().print("\n".join(lines[-len(table) - 5 :]), soft_wrap=True, markup=False, highlight=False)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
