"""Log-mel and MFCC against independent definitions."""

from __future__ import annotations

import torch
import torchaudio
from small import noise
from torchaudio.compliance import kaldi

from zoo.frontend import LogMel, mfcc


def test_logmel_equals_torchaudio_without_centring() -> None:
    wave = noise(1.0)
    reference = torchaudio.transforms.MelSpectrogram(
        16_000, n_fft=512, win_length=400, hop_length=160, n_mels=80, center=False
    )
    # torch.stft centres a short window in its transform; a magnitude does not care where the zeros stand.
    shifted = torch.nn.functional.pad(wave, (56, 56))
    expected = reference(shifted).clamp(min=LogMel.floor).log().T
    ours = LogMel(16_000, 80)(wave[None])[0]
    assert ours.shape == (98, 80)
    torch.testing.assert_close(ours, expected[: len(ours)], atol=1e-3, rtol=1e-3)


def test_logmel_stays_in_float32_and_finite_on_silence() -> None:
    module = LogMel(16_000, 80).bfloat16()
    out = module(torch.zeros(1, 1600).bfloat16())
    assert out.dtype == torch.float32
    assert torch.equal(out, torch.full_like(out, LogMel.floor).log())


def test_mfcc_is_kaldi_with_two_orders_of_differences() -> None:
    wave = noise(0.7)
    ours = mfcc(wave, 16_000)
    plain = kaldi.mfcc(wave[None], sample_frequency=16_000, use_energy=False)
    assert ours.shape == (68, 39)
    torch.testing.assert_close(ours[:, :13], plain)
    padded = torch.cat([plain[:1], plain[:1], plain, plain[-1:], plain[-1:]])
    slope = sum(n * (padded[2 + n : 2 + n + 68] - padded[2 - n : 2 - n + 68]) for n in (1, 2)) / 10
    torch.testing.assert_close(ours[:, 13:26], slope, atol=1e-3, rtol=1e-3)
