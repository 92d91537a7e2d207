"""Front ends: the folded GroupNorm against PyTorch's, norm_stats of blocks add up, tiles change nothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from small import noise

from zoo.nn import conv
from zoo.nn.conv import ConvPosition, LogMelFrontend, WaveformFrontend


def _plain(frontend: WaveformFrontend, wave: torch.Tensor) -> torch.Tensor:
    """The reference computation: (S,) -> (T, C)."""
    x = wave[None, None]
    if frontend.normalize:
        x = (x - x.mean()) / (x.var(correction=0) + 1e-7).sqrt()
    for i in range(len(frontend.convs)):
        x = frontend.convs[i](x)
        if frontend.group_norm and i == 0:
            x = frontend.norms[0](x)
        if not frontend.group_norm:
            x = frontend.norms[i](x.transpose(1, 2)).transpose(1, 2)
        x = F.gelu(x)
    return x[0].T


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
def test_frontend_equals_the_reference(norm: str, bias: bool, normalize: bool, gradients: bool) -> None:
    torch.manual_seed(0)
    frontend = WaveformFrontend(16, norm, bias=bias, normalize=normalize)  # type: ignore[arg-type]
    for parameter in frontend.norms.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 1.5)
    frontend.tile = 7  # many tiles
    wave = noise(1.3) + 0.1
    with torch.set_grad_enabled(gradients):
        ours = frontend(wave[None], torch.tensor([len(wave)]))[0]
    torch.testing.assert_close(ours, _plain(frontend, wave), atol=2e-5, rtol=2e-5)


def test_group_norm_survives_a_large_offset() -> None:
    """In float32, w V w^T cancels badly if the signal is mostly a constant, so the sums are in float64."""
    torch.manual_seed(0)
    frontend = WaveformFrontend(16, "group")
    wave = 0.001 * noise(0.8) + 0.9
    exact = _plain(frontend.double(), wave.double())
    frontend.float()
    with torch.no_grad():
        ours = frontend(wave[None], torch.tensor([len(wave)]))[0]
    assert torch.cosine_similarity(ours.double(), exact, dim=-1).min() > 0.9999


@settings(max_examples=20, deadline=None)
@given(block=st.integers(3_000, 60_000), samples=st.integers(8_000, 90_000))
def test_norm_stats_do_not_depend_on_the_block_length(block: int, samples: int) -> None:
    wave = noise(6)[:samples]
    before = conv.BLOCK
    for frontend in (WaveformFrontend(8, "group"), LogMelFrontend(8, 16_000, 40)):
        whole = frontend.norm_stats(wave)
        conv.BLOCK = block
        try:
            torch.testing.assert_close(frontend.norm_stats(wave), whole, rtol=1e-9, atol=1e-5)
        finally:
            conv.BLOCK = before


@pytest.mark.parametrize("frame_ms", [20, 40])
def test_logmel_frontend_frames_cover_exactly_one_window(frame_ms: int) -> None:
    torch.manual_seed(0)
    frontend = LogMelFrontend(8, 16_000, frame_ms)
    assert frontend.hop == 16 * frame_ms
    wave = noise(1.0)[None]
    norm_stats = frontend.norm_stats(wave[0])[None]
    with torch.no_grad():
        x = frontend(wave, torch.tensor([16_000]), norm_stats)[0]
        assert len(x) == (16_000 - frontend.window) // frontend.hop + 1
        changed = wave.clone()
        changed[0, 5 * frontend.hop + frontend.window :] = 0  # everything after frame 5
        changed[0, : 5 * frontend.hop] = 0  # and before
        y = frontend(changed, torch.tensor([16_000]), norm_stats)[0]
    torch.testing.assert_close(x[5], y[5])
    assert not torch.allclose(x[4], y[4]) and not torch.allclose(x[6], y[6])


@pytest.mark.parametrize("frontend", [WaveformFrontend(8, "group"), LogMelFrontend(8, 16_000, 20)], ids=["wave", "mel"])
def test_padding_after_the_longest_clip_makes_frames_too(frontend: WaveformFrontend | LogMelFrontend) -> None:
    """Evaluation and training give the same number of frames."""
    waves, lengths = torch.stack([noise(1.0, seed) for seed in range(2)]), torch.tensor([12_000, 9_000])
    count = (12_000 - frontend.window) // frontend.hop + 1
    with_gradients = frontend(waves, lengths)
    with torch.no_grad():
        without = frontend(waves, lengths)
    assert with_gradients.shape == without.shape == (2, (16_000 - frontend.window) // frontend.hop + 1, 8)
    torch.testing.assert_close(without[0, :count], with_gradients[0, :count].detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("gain", [0.1, 30.0])
def test_logmel_frontend_ignores_loudness(gain: float) -> None:
    torch.manual_seed(0)
    frontend, length = LogMelFrontend(8, 16_000, 20), torch.tensor([16_000])
    wave = noise(1.0)[None]
    with torch.no_grad():
        torch.testing.assert_close(frontend(gain * wave, length), frontend(wave, length), atol=1e-3, rtol=1e-3)


def test_logmel_frontend_keeps_a_steady_spectrum() -> None:
    """Two steady vowels give different frames: only their mean over time differs, and it is not normalized away."""
    torch.manual_seed(0)
    frontend, time = LogMelFrontend(8, 16_000, 20), torch.arange(8_000) / 16_000
    vowels = torch.stack([sum(torch.sin(2 * torch.pi * f * time) for f in pair) for pair in ((300, 2300), (700, 1100))])
    with torch.no_grad():
        low, high = frontend(vowels, torch.tensor([8_000, 8_000])).mean(1)
    assert (low - high).norm() > 0.3 * low.norm()


def test_each_clip_of_a_batch_is_normalized_on_its_own() -> None:
    """Samples after the end of a clip, even sound, do not change its level."""
    torch.manual_seed(0)
    frontend = LogMelFrontend(8, 16_000, 20)
    waves, lengths = torch.stack([noise(1.0, seed) for seed in range(3)]), torch.tensor([16_000, 9_000, 4_321])
    norm_stats = torch.stack([frontend.norm_stats(wave[:n]) for wave, n in zip(waves, lengths.tolist(), strict=True)])
    with torch.no_grad():
        batch, by_clip = frontend(waves, lengths), frontend(waves, lengths, norm_stats)
    for a, b, n in zip(batch, by_clip, lengths.tolist(), strict=True):
        real = (n - frontend.window) // frontend.hop + 1
        torch.testing.assert_close(a[:real], b[:real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", [8, 9])
def test_position_equals_grouped_conv1d(kernel: int) -> None:
    torch.manual_seed(0)
    position = ConvPosition(12, kernel, 3)
    torch.nn.init.normal_(position.bias)
    x = torch.randn(2, 20, 12)
    expected = F.conv1d(x.transpose(1, 2), position.weight, position.bias, padding=kernel // 2, groups=3)
    torch.testing.assert_close(position(x), F.gelu(expected[..., :20]).transpose(1, 2), atol=1e-5, rtol=1e-5)
