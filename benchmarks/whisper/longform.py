"""Whisper on long recordings and on sounds without speech, and its word times: zoo, openai-whisper, faster-whisper.

    python -m benchmarks.whisper.longform --weights DIR --work transcripts.jsonl [--models tiny.en base] [--out FILE.md]

DIR as in benchmarks.whisper.wer. Three tables for each model:

  words in error   in one recording of 10 minutes: utterances of `read` and English `prompts` with pauses
  words without speech   a minute: on digital silence, white and pink noise, and music of `music` (2 minutes of each)
  borders   distance of the first word's start and the last word's end from the start and the end of the sound: frames
            of 10 ms less than 30 dB below the loud ones. Every fourth utterance of `read` and English `prompts`, each
            between pauses of half a second; only those that every system transcribes without an error
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faster_whisper
import numpy as np
import torch
import whisper

import zoo
from benchmarks.whisper.recordings import DATA, RATE, Utterance, long_recording, utterances
from benchmarks.whisper.systems import PLAIN, Transcriber, faster, faster_batched, heading, openai, ours, publish
from benchmarks.whisper.transcript_store import TranscriptStore
from zoo import audio
from zoo.benchmarks.wer import error_rates
from zoo.data import manifest
from zoo.text.normalizers import normalizer

MINUTES = 10.0
MINUTES_WITHOUT_SPEECH = 2.0
LEVEL = 10 ** (-30 / 20)  # of noise: rms, relative to full scale
HOP = RATE // 100  # samples of a frame for the level
RANGE = 30.0  # dB
BORDER_STEP = 4  # one of so many utterances
Times = Callable[[np.ndarray], list[tuple[str, float, float]]]
"""A recording -> words with start and end in seconds."""


def systems(weights: Path, name: str, threads: int) -> dict[str, Callable[[], Transcriber]]:
    """Long-form transcribers by name, built when called; greedy, at temperature 0, openai-whisper's first."""
    folder = weights / name

    def zoo_as(dtype: str, **options: Any) -> Callable[[], Transcriber]:
        return lambda: ours(folder, "greedy", dtype, **options)

    return {
        "openai-whisper float32": lambda: openai(weights / f"{name}.pt", "greedy"),
        "faster-whisper float32": lambda: faster(folder, "greedy", "float32", threads=threads),
        "faster-whisper float32, VAD": lambda: faster(folder, "greedy", "float32", threads=threads, vad_filter=True),
        "faster-whisper float32, batched, VAD": lambda: faster_batched(folder, "greedy", "float32", threads=threads),
        "zoo float32, sequential, no VAD": zoo_as("float32", mode="sequential", vad="none"),
        "zoo bfloat16, energy gate": zoo_as("bfloat16", vad="energy"),
        "zoo bfloat16, silero": zoo_as("bfloat16", vad="silero"),
        "zoo bfloat16, silero, context clip": zoo_as("bfloat16", vad="silero", padding="none"),
    }


def sounds_without_speech() -> dict[str, np.ndarray]:
    """Two minutes each of sounds without speech."""
    samples, random = int(MINUTES_WITHOUT_SPEECH * 60 * RATE), np.random.default_rng(0)
    white = random.standard_normal(samples)
    spectrum = np.fft.rfft(white)
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), samples)
    entries = [entry for entry in manifest.read(DATA / "music" / "manifest.jsonl") if entry.split == "test"]
    music = np.concatenate([audio.load(entry.audio, RATE)[:].numpy() for entry in entries[:: len(entries) // 12]])
    sounds = {"silence": np.zeros(samples), "white noise": white, "pink noise": pink}
    levelled = {name: wave * (LEVEL / max(wave.std(), 1e-9)) for name, wave in sounds.items()}
    return {name: wave.astype(np.float32) for name, wave in levelled.items()} | {"music": music[:samples]}


def openai_times(path: Path) -> Times:
    model = whisper.load_model(str(path), device="cpu")

    def run(wave: np.ndarray) -> list[tuple[str, float, float]]:
        result = model.transcribe(wave, fp16=False, temperature=0.0, word_timestamps=True, **PLAIN)
        return [(w["word"], w["start"], w["end"]) for segment in result["segments"] for w in segment["words"]]

    return run


def faster_times(folder: Path, threads: int) -> Times:
    model = faster_whisper.WhisperModel(str(folder), "cpu", compute_type="float32", cpu_threads=threads)

    def run(wave: np.ndarray) -> list[tuple[str, float, float]]:
        segments, _ = model.transcribe(wave, beam_size=1, temperature=0.0, word_timestamps=True, **PLAIN)
        return [(w.word, w.start, w.end) for segment in segments for w in segment.words or ()]

    return run


def zoo_times(folder: Path, dtype: str) -> Times:
    model: Any = zoo.load(folder, device="cpu", dtype=dtype)

    def run(wave: np.ndarray) -> list[tuple[str, float, float]]:
        options = {"language": "en", "temperature": 0.0, "vad": "none", "word_timestamps": True}
        transcript = model.transcribe(torch.from_numpy(wave), RATE, **options)
        return [(word.text, word.start, word.end) for word in transcript.words]

    return run


def sound_borders(wave: np.ndarray) -> tuple[float, float]:
    """Start and end of the sound of a recording, in seconds."""
    frames = wave[: len(wave) // HOP * HOP].reshape(-1, HOP)
    level = 10 * np.log10(np.maximum(np.square(frames).mean(1), 1e-12))
    loud = np.flatnonzero(level > np.quantile(level, 0.95) - RANGE)
    return loud[0] * HOP / RATE, (loud[-1] + 1) * HOP / RATE


def borders(times: Times, items: Sequence[Utterance]) -> list[tuple[float, float] | None]:
    """Error of the first and the last border in seconds; None for a text with errors."""
    normalize, pause, distances = normalizer("english"), np.zeros(RATE // 2, np.float32), []
    for item in items:
        words = times(np.concatenate([pause, item.wave, pause]))
        correct = words and normalize("".join(text for text, _, _ in words)) == normalize(item.text)
        start, end = (0.5 + second for second in sound_borders(item.wave))
        distances.append((abs(words[0][1] - start), abs(words[-1][2] - end)) if correct else None)
    return distances


def long_lines(store: TranscriptStore, name: str, table: dict[str, Callable[[], Transcriber]]) -> list[str]:
    wave, placed = long_recording(MINUTES)
    reference = " ".join(p.utterance.text for p in placed)
    lines = ["| system | WER, % | S | D | I |", "|-|-|-|-|-|"]
    for system, build in table.items():
        texts = store.complete((name, system, "long"), [wave], build)
        rates = error_rates([reference], texts, "english")
        lines.append(
            f"| {system} | {100 * rates.wer:.2f} | {rates.substitutions} | {rates.deletions} | {rates.insertions} |"
        )
    return lines


def no_speech_lines(store: TranscriptStore, name: str, table: dict[str, Callable[[], Transcriber]]) -> list[str]:
    sounds, normalize = sounds_without_speech(), normalizer("english")
    lines = ["| system | " + " | ".join(sounds) + " |", "|-" * (len(sounds) + 1) + "|"]
    for system, build in table.items():
        texts = store.complete((name, system, "nothing"), list(sounds.values()), build)
        counts = [len(normalize(text).split()) / MINUTES_WITHOUT_SPEECH for text in texts]
        lines.append(f"| {system} | " + " | ".join(f"{count:.1f}" for count in counts) + " |")
    return lines


def border_lines(weights: Path, name: str, threads: int) -> list[str]:
    table: dict[str, Callable[[], Times]] = {
        "openai-whisper float32": lambda: openai_times(weights / f"{name}.pt"),
        "faster-whisper float32": lambda: faster_times(weights / name, threads),
        "zoo float32": lambda: zoo_times(weights / name, "float32"),
        "zoo bfloat16": lambda: zoo_times(weights / name, "bfloat16"),
    }
    items = (utterances("read") + utterances("prompts", lang="en"))[::BORDER_STEP]
    distances = {system: borders(build(), items) for system, build in table.items()}
    shared = [row for row in zip(*distances.values(), strict=True) if None not in row]
    lines = [f"{len(shared)} of {len(items)} utterances", ""]
    lines += ["| system | mean, ms | median, ms | 95 %, ms |", "|-|-|-|-|"]
    for i, system in enumerate(table):
        errors = np.array([row[i] for row in shared])
        middle, high = (1000 * np.quantile(errors, share) for share in (0.5, 0.95))
        lines.append(f"| {system} | {1000 * errors.mean():.0f} | {middle:.0f} | {high:.0f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    store = TranscriptStore(options.work)
    lines = heading(
        "Whisper: long recordings, sounds without speech, word times",
        "python -m benchmarks.whisper.longform",
        "greedy, temperature 0, language given.",
    )
    for name in options.models:
        table = systems(options.weights, name, options.threads)
        lines += [f"## {name}: one recording of {MINUTES:.0f} minutes", "", *long_lines(store, name, table), ""]
        lines += [f"## {name}: words a minute without speech", "", *no_speech_lines(store, name, table), ""]
        lines += [f"## {name}: word borders", "", *border_lines(options.weights, name, options.threads), ""]
    publish(lines, options.out)


if __name__ == "__main__":
    main()
