"""Log-mel and MFCC against independent definitions."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchaudio
from small import noise
from torchaudio.compliance import kaldi

from zoo.nn.frontend import LogMel, WhisperMel, mel_filters, mfcc, slaney_filters


def test_logmel_equals_torchaudio_without_centering() -> None:
    wave = noise(1.0)
    reference = torchaudio.transforms.MelSpectrogram(
        16_000, n_fft=512, win_length=400, hop_length=160, n_mels=80, center=False
    )
    # torch.stft centers a short window in its transform; the position of the zeros does not change the magnitude.
    shifted = torch.nn.functional.pad(wave, (56, 56))
    expected = reference(shifted).clamp(min=LogMel.floor).log().T
    ours = LogMel(16_000, 80)(wave[None])[0]
    assert ours.shape == (98, 80)
    torch.testing.assert_close(ours, expected[: len(ours)], atol=1e-3, rtol=1e-3)


def reference_logmel(wave: np.ndarray, mels: int, fft: int) -> np.ndarray:
    """The definition in float64: 25 ms periodic Hann windows every 10 ms, power, triangles on the HTK mel scale."""
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.stack([np.abs(np.fft.rfft(wave[t : t + 400] * taper, fft)) ** 2 for t in range(0, len(wave) - 399, 160)])
    corners = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), mels + 2) / 2595) - 1)  # Hz
    bins = np.arange(fft // 2 + 1) * 16_000 / fft
    filters = []
    for low, center, high in zip(corners, corners[1:], corners[2:], strict=False):
        rising, falling = (bins - low) / (center - low), (high - bins) / (high - center)
        filters.append(np.clip(np.minimum(rising, falling), 0, None))
    return np.log(np.maximum(power @ np.array(filters).T, 1e-7))


@pytest.mark.parametrize(("mels", "fft"), [(64, 512), (80, 512), (128, 1024)])
def test_logmel_equals_its_definition(mels: int, fft: int) -> None:
    wave = noise(0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torchaudio warns about filters without a bin
        ours = LogMel(16_000, mels)(wave[None])[0].double().numpy()
    np.testing.assert_allclose(ours, reference_logmel(wave.double().numpy(), mels, fft), atol=1e-3)


@pytest.mark.parametrize("mels", [64, 100, 114, 115, 128, 200])
def test_no_mel_band_is_empty(mels: int) -> None:
    assert (LogMel(16_000, mels)(noise(0.5)[None])[0].amax(0) > np.log(1.1 * LogMel.floor)).all()


def test_logmel_stays_in_float32_and_finite_on_silence() -> None:
    module = LogMel(16_000, 80).bfloat16()
    out = module(torch.zeros(1, 1600).bfloat16())
    assert out.dtype == torch.float32
    assert torch.equal(out, torch.full_like(out, LogMel.floor).log())


def test_mfcc_is_kaldi_with_two_orders_of_differences() -> None:
    wave = noise(0.7)
    _, ours, _ = mfcc([noise(0.333, 1), wave, noise(0.1, 2)], 16_000)
    plain = kaldi.mfcc(wave[None], sample_frequency=16_000, use_energy=False)
    assert ours.shape == (68, 39)
    torch.testing.assert_close(ours[:, :13], plain)
    padded = torch.cat([plain[:1], plain[:1], plain, plain[-1:], plain[-1:]])
    slope = sum(n * (padded[2 + n : 2 + n + 68] - padded[2 - n : 2 - n + 68]) for n in (1, 2)) / 10
    torch.testing.assert_close(ours[:, 13:26], slope, atol=1e-3, rtol=1e-3)


def librosa_filters(fft: int, mels: int, *, htk: bool) -> np.ndarray:
    """librosa.filters.mel at 16 kHz by its formulas, in float64: (mels, fft / 2 + 1); area-normalized where not htk."""
    step, border = 200 / 3, 1000.0  # Slaney: linear below 1 kHz, logarithmic above
    log_step = np.log(6.4) / 27

    def to_mel(f: np.ndarray) -> np.ndarray:
        if htk:
            return 2595 * np.log10(1 + f / 700)
        return np.where(f < border, f / step, border / step + np.log(np.maximum(f, border) / border) / log_step)

    def to_hertz(m: np.ndarray) -> np.ndarray:
        if htk:
            return 700 * (10 ** (m / 2595) - 1)
        return np.where(m < border / step, m * step, border * np.exp(log_step * (m - border / step)))

    edges = to_hertz(np.linspace(to_mel(np.array(0.0)), to_mel(np.array(8000.0)), mels + 2))
    ramps = edges[:, None] - np.linspace(0, 8000, fft // 2 + 1)
    width = np.diff(edges)[:, None]
    weights = np.maximum(0, np.minimum(-ramps[:-2] / width[:-1], ramps[2:] / width[1:]))
    return weights if htk else weights * (2 / (edges[2:] - edges[:-2]))[:, None]


@pytest.mark.parametrize(("htk", "filters"), [(True, mel_filters), (False, slaney_filters)])
@pytest.mark.parametrize(("fft", "mels"), [(512, 64), (1024, 128), (400, 80)])
def test_filters_equal_librosa(fft: int, mels: int, htk: bool, filters: Callable[..., torch.Tensor]) -> None:
    ours = filters(fft, 16_000, mels, torch.device("cpu")).T.double().numpy()
    np.testing.assert_allclose(ours, librosa_filters(fft, mels, htk=htk), atol=2e-5)


def test_autocast_leaves_spectra_in_float32() -> None:
    """A model gets the same spectra in training and in inference."""
    wave = noise(0.5)
    for spectrum in (lambda: LogMel(16_000, 80)(wave[None])[0], lambda: WhisperMel(80).log_power(wave, end=8_000)):
        plain = spectrum()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(spectrum(), plain)
