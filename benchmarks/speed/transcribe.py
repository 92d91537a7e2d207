"""Whisper transcription speed, zoo against openai-whisper and faster-whisper: same weights, same audio, one process.

    python benchmarks/speed/transcribe.py --weights DIR [--models tiny.en base] [--rounds 3] [--out FILE.md]

DIR holds for each model a CTranslate2 directory (tiny.en/) and an openai-whisper file (tiny.en.pt) of the same weights.
Needs openai-whisper, faster-whisper and jiwer beside zoo. Two tasks, on recordings under ZOO_DATA:

  short   40 utterances of `read`, each a file of its own
  long    one recording of 10 minutes: utterances of `read` and English `prompts` with pauses of 0.3 to 1.5 s

Every system gets 16 kHz waveforms in memory and the language, and decodes greedily at temperature 0 without the text
before. faster-whisper runs in float32 and int8, sequentially, on two workers with one thread each (short), and batched
(long: its own voice activity detection), zoo in float32, bfloat16 and int8 with the context "full" and "clip".
Rounds are interleaved after a warm-up; the median is reported with the range, and the word error rate with the English
normaliser.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faster_whisper
import jiwer
import numpy as np
import torch
import whisper
from rich.console import Console

import zoo
from zoo import audio
from zoo.text import normaliser

DATA = Path(os.environ.get("ZOO_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
RATE = 16_000
THREADS = 2
PLAIN: dict[str, Any] = {"language": "en", "temperature": 0.0, "condition_on_previous_text": False}
System = Callable[[list[np.ndarray]], list[str]]


@dataclass(frozen=True)
class Task:
    """Waveforms, and what is said in each."""

    name: str
    waves: list[np.ndarray]
    texts: list[str]

    @property
    def seconds(self) -> float:
        return sum(map(len, self.waves)) / RATE


def utterances(name: str, **wanted: str) -> list[tuple[np.ndarray, str]]:
    rows = [json.loads(line) for line in (DATA / name / "manifest.jsonl").read_text().splitlines()]
    chosen = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    return [(audio.load(DATA / name / row["audio"], RATE)[:].numpy(), row["text"]) for row in chosen]


def tasks(files: int, minutes: float) -> list[Task]:
    """The two tasks; the long recording is the same wherever the data is the same."""
    read = utterances("read")
    random = np.random.default_rng(0)
    parts, texts, length = [], [], 0
    pool = read + utterances("prompts", lang="en")
    for place in random.permutation(len(pool)):
        wave, text = pool[place]
        pause = np.zeros(int(random.uniform(0.3, 1.5) * RATE), np.float32)
        if length + len(wave) > minutes * 60 * RATE:
            break
        parts += [wave, pause]
        texts.append(text)
        length += len(wave) + len(pause)
    short = Task("short", [wave for wave, _ in read[:files]], [text for _, text in read[:files]])
    return [short, Task("long", [np.concatenate(parts)], [" ".join(texts)])]


def run_openai(path: Path) -> System:
    model = whisper.load_model(str(path), device="cpu")
    return lambda waves: [model.transcribe(wave, fp16=False, **PLAIN)["text"] for wave in waves]


def run_faster(folder: Path, compute_type: str) -> System:
    model = faster_whisper.WhisperModel(str(folder), "cpu", compute_type=compute_type, cpu_threads=THREADS)
    return lambda waves: [text_of(model.transcribe(wave, beam_size=1, **PLAIN)) for wave in waves]


def run_faster_workers(folder: Path, compute_type: str) -> System:
    """Files side by side, one core each."""
    model = faster_whisper.WhisperModel(
        str(folder), "cpu", compute_type=compute_type, cpu_threads=1, num_workers=THREADS
    )

    def run(waves: list[np.ndarray]) -> list[str]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda wave: text_of(model.transcribe(wave, beam_size=1, **PLAIN)), waves))

    return run


def run_faster_batched(folder: Path, compute_type: str, batch: int) -> System:
    model = faster_whisper.WhisperModel(str(folder), "cpu", compute_type=compute_type, cpu_threads=THREADS)
    pipeline = faster_whisper.BatchedInferencePipeline(model)
    return lambda waves: [text_of(pipeline.transcribe(wave, beam_size=1, batch_size=batch, **PLAIN)) for wave in waves]


def text_of(result: Any) -> str:
    return "".join(segment.text for segment in result[0])


def run_zoo(folder: Path, dtype: str, context: str, vad: str) -> System:
    model: Any = zoo.load(folder, device="cpu", dtype=dtype)
    options = {"language": "en", "temperature": 0.0, "context": context, "vad": vad, "batch_size": 20}

    def run(waves: list[np.ndarray]) -> list[str]:
        return [found.text for found in model.transcribe([torch.from_numpy(wave) for wave in waves], RATE, **options)]

    return run


def systems(weights: Path, name: str, task: Task) -> dict[str, System]:
    folder = weights / name
    table = {"openai-whisper float32": run_openai(weights / f"{name}.pt")}
    for kind in ("float32", "int8"):
        table[f"faster-whisper {kind}"] = run_faster(folder, kind)
        if task.name == "short":
            table[f"faster-whisper {kind}, 2 workers"] = run_faster_workers(folder, kind)
        else:
            table[f"faster-whisper {kind}, batches of 8"] = run_faster_batched(folder, kind, 8)
    vad = "none" if task.name == "short" else "auto"
    for dtype in ("float32", "bfloat16", "int8"):
        table[f"zoo {dtype}"] = run_zoo(folder, dtype, "full", vad)
    table["zoo bfloat16, context clip"] = run_zoo(folder, "bfloat16", "clip", vad)
    return table


def measure(table: dict[str, System], task: Task, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of each interleaved round, and the word error rate in percent, by system."""
    clean = normaliser("english")
    said = {name: run(task.waves) for name, run in table.items()}
    rates = {
        name: 100 * jiwer.wer([clean(text) for text in task.texts], [clean(text) for text in texts])
        for name, texts in said.items()
    }
    times: dict[str, list[float]] = {name: [] for name in table}
    for _ in range(rounds):
        for name, run in table.items():
            start = time.perf_counter()
            run(task.waves)
            times[name].append(time.perf_counter() - start)
    return times, rates


def report(name: str, task: Task, times: dict[str, list[float]], rates: dict[str, float]) -> list[str]:
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


def heading(rounds: int) -> list[str]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in info.splitlines())}
    wanted = {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"}
    extensions = ", ".join(sorted(wanted & set(fields.get("flags", "").split())))
    packages = ("torch", "openai-whisper", "faster-whisper", "ctranslate2")
    return [
        f"# Whisper transcription, {time.strftime('%Y-%m-%d')}",
        "",
        "`python benchmarks/speed/transcribe.py`",
        "",
        f"commit {commit}, {fields.get('model name', platform.processor())} ({extensions}), {THREADS} threads, "
        + ", ".join(f"{package} {version(package)}" for package in packages)
        + f"; greedy, temperature 0; medians of {rounds} interleaved rounds.",
        "",
    ]


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
    lines = heading(options.rounds)
    for name in options.models:
        for task in tasks(options.files, options.minutes):
            if task.name in options.tasks:
                table = systems(options.weights, name, task)
                wanted = options.only.split(",")
                table = {key: run for key, run in table.items() if any(part in key for part in wanted)}
                lines += report(name, task, *measure(table, task, options.rounds))
                Console().print("\n".join(lines[-len(table) - 5 :]), soft_wrap=True, markup=False, highlight=False)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
