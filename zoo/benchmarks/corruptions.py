"""Apply the conditions of zoo.benchmarks.conditions to recordings.

Random parts are seeded with the digest of the clip: the same clip gives the same result in every run.

Legend: S samples.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import soundfile
import torch
from torch import Tensor
from torchaudio import functional

from zoo.audio import resample
from zoo.benchmarks.conditions import Condition

_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_OPUS_BITS = (6_000, 256_000)  # bit/s of libsndfile's compression levels 1 and 0


def corrupt(wave: Tensor, sample_rate: int, condition: Condition, digest: str) -> Tensor:
    """wave (S,) -> (S,), or about (S * condition.stretch,). digest: of the clip, the seed of the random parts."""
    if not wave.any():
        return wave
    generator = torch.Generator().manual_seed(int(digest[:8], 16))  # a seed of 32 bits
    return _FUNCTIONS[condition.kind](wave, sample_rate, condition.amount, generator)


def version(condition: Condition) -> str:
    """The version of the codec, on which the result depends. Empty for conditions without a codec."""
    return soundfile.__libsndfile_version__ if condition.kind == "opus" else ""


def noise(count: int, sample_rate: int, color: str, generator: torch.Generator) -> Tensor:
    """`count` samples of white or pink noise (power as 1 / f from 20 Hz up) of variance 1."""
    white = torch.randn(count, generator=generator)
    if color == "white":
        return white
    spectrum = torch.fft.rfft(white)
    frequencies = torch.fft.rfftfreq(count, 1 / sample_rate).clamp(min=20)
    pink = torch.fft.irfft(spectrum / frequencies.sqrt(), count)
    return pink / pink.square().mean().sqrt().clamp(min=1e-12)


def _pink(wave: Tensor, sample_rate: int, decibels: float, generator: torch.Generator) -> Tensor:
    return _mixed(wave, noise(len(wave), sample_rate, "pink", generator), decibels)


def _white(wave: Tensor, sample_rate: int, decibels: float, generator: torch.Generator) -> Tensor:
    return _mixed(wave, noise(len(wave), sample_rate, "white", generator), decibels)


def _mixed(wave: Tensor, noise: Tensor, decibels: float) -> Tensor:
    return wave + noise * wave.square().mean().sqrt() * 10 ** (-decibels / 20)


def _room(wave: Tensor, sample_rate: int, seconds: float, generator: torch.Generator) -> Tensor:
    """Add reverberation. Length and loudness stay the same."""
    time = torch.arange(1, round(seconds * sample_rate) + 1) / sample_rate
    tail = torch.randn(len(time), generator=generator) * torch.exp(-math.log(1e3) * time / seconds)
    response = torch.cat([torch.ones(1), tail / tail.norm()])
    wet = functional.fftconvolve(wave, response)[: len(wave)]
    return wet * (wave.norm() / wet.norm().clamp(min=1e-12))


def _speed(wave: Tensor, sample_rate: int, factor: float, generator: torch.Generator) -> Tensor:
    return resample(wave, round(sample_rate * factor), sample_rate)


def _opus(wave: Tensor, sample_rate: int, kilobits: float, generator: torch.Generator) -> Tensor:
    rate = next((rate for rate in _OPUS_RATES if rate >= sample_rate), _OPUS_RATES[-1])
    peak = max(1.0, float(wave.abs().max()))
    min_bits, max_bits = _OPUS_BITS
    file = io.BytesIO()
    with soundfile.SoundFile(
        file,
        "w",
        rate,
        1,
        format="OGG",
        subtype="OPUS",
        compression_level=1 - (1000 * kilobits - min_bits) / (max_bits - min_bits),
    ) as writer:
        writer.write((_resampled(wave, sample_rate, rate) / peak).numpy())
    file.seek(0)
    decoded = torch.from_numpy(soundfile.read(file, dtype="float32")[0])
    return _fit_length(_resampled(decoded, rate, sample_rate) * peak, len(wave))


def _telephone(wave: Tensor, sample_rate: int, _: float, generator: torch.Generator) -> Tensor:
    narrow = _resampled(wave, sample_rate, 8_000)
    narrow = functional.highpass_biquad(narrow, 8_000, 300.0)
    narrow = functional.lowpass_biquad(narrow, 8_000, 3_400.0)
    peak = max(1.0, float(narrow.abs().max()))
    coded = functional.mu_law_decoding(functional.mu_law_encoding(narrow / peak, 256), 256)
    return _fit_length(_resampled(coded * peak, 8_000, sample_rate), len(wave))


def _resampled(wave: Tensor, source: int, target: int) -> Tensor:
    return wave if source == target else resample(wave, source, target)


def _fit_length(wave: Tensor, count: int) -> Tensor:
    return torch.nn.functional.pad(wave[:count], (0, max(0, count - len(wave))))


_FUNCTIONS: dict[str, Callable[[Tensor, int, float, torch.Generator], Tensor]] = {
    "pink": _pink,
    "white": _white,
    "room": _room,
    "speed": _speed,
    "opus": _opus,
    "telephone": _telephone,
}
