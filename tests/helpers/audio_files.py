"""Recordings for the audio tests, written when a test runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile


def open_files() -> int:
    """Number of open file descriptors of this process."""
    return sum(1 for _ in Path("/dev/fd").iterdir())


def sound(rate: int, seconds: float, channels: int = 1, seed: int = 0, noise: float = 0.3) -> np.ndarray:
    """(S, C) float64: a sweeping tone per channel plus noise, within 0.5 + noise."""
    time = np.arange(round(rate * seconds))[:, None] / rate  # (S, 1)
    pitch = 200 * (1 + np.arange(channels))
    tone = 0.5 * np.sin(2 * np.pi * pitch * time * (1 + 0.1 * time))
    return tone + np.random.default_rng(seed).uniform(-noise, noise, tone.shape)


def bursts(rate: int, seconds: float, channels: int = 1) -> np.ndarray:
    """(S, C) float64: bursts of tone and noise between silences, so that MP3 encoders save bits."""
    time = np.arange(round(rate * seconds))[:, None] / rate  # (S, 1)
    loudness = np.clip(np.sin(2 * np.pi * 0.7 * time), 0, 1) ** 4
    noise = np.random.default_rng(0).normal(size=time.shape)
    return np.repeat(loudness * (0.3 * np.sin(2 * np.pi * 220 * time) + 0.1 * noise), channels, axis=1)


def write_container(path: Path, codec: str, wave: np.ndarray, rate: int, *, picture: bool = False) -> Path:
    """Write wave (S, C) as the audio track of a container (chosen by the suffix), with a video track if `picture`."""
    import av

    layout = {1: "mono", 2: "stereo"}[wave.shape[1]]
    with av.open(str(path), "w") as container:
        film = container.add_stream("mpeg4", rate=10) if picture else None
        track = container.add_stream(codec, rate=rate, layout=layout)
        if film is not None:
            film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
            for index in range(int(len(wave) / rate * 10)):
                image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index % 255, np.uint8), format="rgb24")
                image.pts = index
                container.mux(film.encode(image))
            container.mux(film.encode())
        for begin in range(0, len(wave), 1024):
            block = np.ascontiguousarray(wave[begin : begin + 1024].T, dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, begin
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return path


def write_headless_mp3(path: Path, wave: np.ndarray, rate: int, **options: float) -> Path:
    """An MP3 of variable bit rate without its first frame, which holds the length."""
    soundfile.write(path, wave, rate, format="MP3", bitrate_mode="VARIABLE", **options)
    data = path.read_bytes()
    second = data.find(data[:2], 4)
    while data[second + 2] & 0x0C != data[2] & 0x0C:  # another sample rate, so this is not the start of a frame
        second = data.find(data[:2], second + 1)
    path.write_bytes(data[second:])
    return path
