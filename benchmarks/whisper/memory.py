"""Peak memory of `zoo transcribe` on one long recording of speech.

    python -m benchmarks.whisper.memory --weights DIR [--models tiny.en base] [--hours 1] [--out FILE.md]

DIR holds a directory for each model that zoo loads. The recording, 16 kHz WAV, repeats the ten minutes of
benchmarks.whisper.recordings. Each model runs in its own process; the kernel measures its largest resident set.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.speed.memory import measure
from benchmarks.whisper.recordings import RATE, long_recording
from benchmarks.whisper.systems import heading, publish


def write(path: Path, hours: float) -> None:
    """Write the recording."""
    wave, _ = long_recording(10.0)
    samples = int(hours * 3600 * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for start in range(0, samples, len(wave)):
            file.write(np.clip(wave[: samples - start], -1, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = heading("Whisper: memory of a long recording", "python -m benchmarks.whisper.memory", "word times off.")
    lines += ["| model | audio, h | peak resident set, GiB | x real time |", "|-|-|-|-|"]
    with tempfile.TemporaryDirectory() as name:
        recording = Path(name) / "long.wav"
        write(recording, options.hours)
        for model in options.models:
            for dtype in options.dtypes:
                out = str(Path(name) / f"{model}-{dtype}")
                command = ["transcribe", str(recording), "-m", str(options.weights / model), "-o", out, "--language"]
                peak, seconds = measure([*command, "en", "--dtype", dtype, "--quiet"])
                speed = options.hours * 3600 / seconds
                lines.append(f"| {model}, {dtype} | {options.hours:g} | {peak:.2f} | {speed:.0f} |")
    publish([*lines, ""], options.out)


if __name__ == "__main__":
    main()
