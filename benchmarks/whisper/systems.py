"""zoo, openai-whisper and faster-whisper with one interface: waveforms in, texts out, with the same options.

Needs openai-whisper and faster-whisper beside zoo.
"""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faster_whisper
import numpy as np
import torch
import whisper

import zoo
from benchmarks.whisper.recordings import RATE

Transcriber = Callable[[Sequence[np.ndarray]], list[str]]
FALLBACK = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "beam 5": {"temperature": FALLBACK, "beam_size": 5},
}
PLAIN: dict[str, Any] = {"language": "en", "condition_on_previous_text": False}


def openai(weights: Path, search: str) -> Transcriber:
    """weights: a .pt file."""
    model = whisper.load_model(str(weights), device="cpu")
    options = PLAIN | SEARCHES[search] | ({"best_of": 5} if search != "greedy" else {})
    return lambda waves: [model.transcribe(wave, fp16=False, **options)["text"] for wave in waves]


def faster(folder: Path, search: str, compute_type: str, *, threads: int, **extra: Any) -> Transcriber:
    """folder: a CTranslate2 directory; extra: options of its `transcribe`, such as vad_filter."""
    model = faster_whisper.WhisperModel(str(folder), "cpu", compute_type=compute_type, cpu_threads=threads)
    options = PLAIN | {"beam_size": 1} | SEARCHES[search] | extra
    return lambda waves: [text_of(model.transcribe(wave, **options)) for wave in waves]


def faster_batched(folder: Path, search: str, compute_type: str, *, threads: int, batch: int = 8) -> Transcriber:
    """Batched mode, with its own voice activity detection."""
    model = faster_whisper.WhisperModel(str(folder), "cpu", compute_type=compute_type, cpu_threads=threads)
    pipeline = faster_whisper.BatchedInferencePipeline(model)
    options = PLAIN | {"beam_size": 1} | SEARCHES[search] | {"batch_size": batch}
    return lambda waves: [text_of(pipeline.transcribe(wave, **options)) for wave in waves]


def ours(folder: Path, search: str, dtype: str, **extra: Any) -> Transcriber:
    """extra: options of zoo's `transcribe`, such as padding, mode and vad."""
    model: Any = zoo.load(folder, device="cpu", dtype=dtype)
    options = {"language": "en"} | SEARCHES[search] | ({"best_of": 5} if search != "greedy" else {}) | extra

    def run(waves: Sequence[np.ndarray]) -> list[str]:
        return [result.text for result in model.transcribe([torch.from_numpy(wave) for wave in waves], RATE, **options)]

    return run


def text_of(result: Any) -> str:
    """The text of a result of faster-whisper."""
    return "".join(segment.text for segment in result[0])


def heading(title: str, command: str, note: str) -> list[str]:
    """The first lines of a result file: title, command, commit, processor, versions, note."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in info.splitlines())}
    shown = {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"}
    extensions = ", ".join(sorted(shown & set(fields.get("flags", "").split())))
    packages = ("torch", "openai-whisper", "faster-whisper", "ctranslate2")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    processor = fields.get("model name", platform.processor())
    return [
        f"# {title}, {time.strftime('%Y-%m-%d')}",
        "",
        f"`{command}`",
        "",
        f"commit {commit}, {processor} ({extensions}), {versions}; {note}",
        "",
    ]


def publish(lines: list[str], out: Path | None) -> None:
    """Print the lines of a result, and write them to `out`."""
    text = "\n".join(lines)
    if out:
        out.write_text(text)
    print(text)
