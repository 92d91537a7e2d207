"""Voice activity: spans and windows by hand and as properties; the energy gate; Silero against its own package."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import noise

from zoo import audio
from zoo.audio import SpooledWave, silero, vad
from zoo.audio.vad import FRAME, VoiceActivity, energy, windows
from zoo.errors import ConfigError, MissingDependencyError

RATE = 16_000
probabilities = st.lists(st.sampled_from([0.0, 0.1, 0.4, 0.5, 0.9]), min_size=1, max_size=200).map(torch.tensor)


def test_spans_by_hand() -> None:
    quick = VoiceActivity("energy", min_silence=2 * FRAME / RATE, min_speech=2 * FRAME / RATE, margin=0.0)
    found = quick.spans(
        torch.tensor([0.1, 0.6, 0.4, 0.1, 0.6, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.4, 0.4]), 14 * FRAME
    )
    assert found == [
        (FRAME, 5 * FRAME)
    ]  # joined over one frame; the second is too short, the third below the threshold
    padded = VoiceActivity("energy", min_silence=0.0, min_speech=0.0, margin=FRAME / RATE)
    assert padded.spans(torch.tensor([0.9, 0.0, 0.0, 0.0, 0.9]), 5 * FRAME - 7) == [
        (0, 2 * FRAME),
        (3 * FRAME, 5 * FRAME - 7),
    ]


@given(probabilities, st.integers(0, FRAME - 1), st.floats(0, 1), st.floats(0, 1))
def test_spans_hold_all_frames_above_the_threshold_in_order(
    frames: torch.Tensor, short: int, silence: float, margin: float
) -> None:
    samples = len(frames) * FRAME - short
    spans = VoiceActivity("energy", min_speech=0.0, min_silence=silence, margin=margin).spans(frames, samples)
    borders = [border for span in spans for border in span]
    assert borders == sorted(set(borders)) and all(0 <= b <= samples for b in borders)
    for frame in (frames >= 0.5).nonzero()[:, 0].tolist():
        assert any(a <= frame * FRAME < b for a, b in spans)
    assert bool(spans) == bool((frames >= 0.5).any())


@given(probabilities, st.integers(4, 40), st.floats(0, 5))
def test_windows_cover_the_spans_once_and_are_short(found: torch.Tensor, frames: int, gap: float) -> None:
    spans = VoiceActivity("energy", min_speech=0.0, min_silence=0.1, margin=0.0).spans(found, len(found) * FRAME)
    longest = frames * FRAME
    cut = windows(spans, found, longest, gap * RATE)
    assert all(0 < b - a <= longest for a, b in cut)
    assert all(b <= c for (_, b), (c, _) in itertools.pairwise(cut))
    for a, b in spans:
        covered = sum(max(0, min(b, d) - max(a, c)) for c, d in cut)
        assert covered == b - a


def test_a_long_span_is_cut_at_the_least_likely_frame() -> None:
    found = torch.full((100,), 0.9)
    found[50:55], found[10:15] = 0.6, 0.5
    cut = windows([(0, 100 * FRAME)], found, 70 * FRAME, 0)
    assert cut == [(0, 52 * FRAME), (52 * FRAME, 100 * FRAME)]


def tone(seconds: float, level: float = 0.3) -> torch.Tensor:
    """Syllables: a tone that swells five times a second."""
    t = torch.arange(int(seconds * RATE)) / RATE
    return level * (t * 220 * 6.283).sin() * (t * 5 * 3.1416).sin().abs()


def test_the_energy_gate_finds_loud_sounds() -> None:
    quiet = 1e-3 * noise(3.0)
    clip = torch.cat([quiet, tone(2.0), quiet])
    (span,) = VoiceActivity("energy").spans(energy(clip), len(clip))
    assert abs(span[0] / RATE - 2.7) < 0.15 and abs(span[1] / RATE - 5.3) < 0.15
    assert len(VoiceActivity("energy").spans(energy(tone(4.0)), 4 * RATE)) == 1  # no pause at all


STEADY = {
    "silence": torch.zeros(5 * RATE),
    "an offset": torch.full((5 * RATE,), 0.4),
    "white noise": 0.1 * torch.randn(5 * RATE, generator=torch.Generator().manual_seed(0)),
    "a hum": 0.2 * (torch.arange(5 * RATE) * 50 * 6.283 / RATE).sin(),
    "a whisper of noise": 1e-4 * torch.randn(5 * RATE, generator=torch.Generator().manual_seed(1)),
}


@pytest.mark.parametrize("name", STEADY)
def test_steady_sounds_hold_no_speech(name: str) -> None:
    assert not VoiceActivity("energy").spans(energy(STEADY[name]), 5 * RATE)


LEVELS = [0, -20, -49, -55, -60, -79]  # dB re full scale of the peak


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("click", [0.0, 1.0])
def test_the_energy_gate_hears_quiet_speech(level: int, click: float) -> None:
    clip = torch.cat([1e-3 * noise(2.0), tone(2.0), 1e-3 * noise(2.0)])
    clip = clip / clip.abs().max() * 10 ** (level / 20)
    if level >= -60:
        clip[100] += click
    activity = VoiceActivity("energy")
    spans = activity.spans(activity.probabilities(clip), len(clip))
    assert len(spans) == 1
    assert abs(spans[0][0] / RATE - 1.7) < 0.15 and abs(spans[0][1] / RATE - 4.3) < 0.15


@pytest.mark.parametrize("level", LEVELS)
def test_silero_does_not_care_for_the_level(level: int) -> None:
    pytest.importorskip("silero_vad")
    clip = torch.cat([noise(1.0), tone(1.0), noise(1.0, seed=1)])
    clip = clip / clip.abs().max()
    activity = VoiceActivity("silero")
    quiet = activity.probabilities(clip * 10 ** (level / 20))
    torch.testing.assert_close(quiet, activity.probabilities(clip), atol=1e-3, rtol=0)


@pytest.mark.parametrize("detector", ["energy", "silero"])
def test_the_last_bit_is_no_speech(detector: str) -> None:
    if detector == "silero":
        pytest.importorskip("silero_vad")
    dither = torch.randint(-1, 2, (RATE,), generator=torch.Generator().manual_seed(0)) / 2**15
    clip = torch.cat([torch.zeros(2 * RATE), dither, torch.zeros(2 * RATE)])
    activity = VoiceActivity(detector)
    assert not activity.spans(activity.probabilities(clip), len(clip))
    assert not activity.spans(activity.probabilities(torch.zeros(RATE)), RATE)


@pytest.mark.parametrize("detector", ["energy", "silero"])
def test_a_wave_on_disk(detector: str) -> None:
    if detector == "silero":
        pytest.importorskip("silero_vad")
    wave = torch.cat([0.01 * noise(1.0), 0.1 * tone(1.0)])
    spooled = SpooledWave(iter(wave.split(5000)), RATE)
    activity = VoiceActivity(detector)
    assert torch.equal(activity.probabilities(spooled), activity.probabilities(wave))


@pytest.mark.realdata
@pytest.mark.parametrize("detector", ["energy", "silero"])
def test_real_speech_at_any_level(data_root: Path, detector: str) -> None:
    if detector == "silero":
        pytest.importorskip("silero_vad")
    path = sorted((data_root / "read").rglob("*.[ofw][gla][gav]*"))[0]
    clip = audio.load(path, RATE)[:]
    clip = clip / clip.abs().max()
    activity = VoiceActivity(detector)
    loud = activity.spans(activity.probabilities(clip), len(clip))
    speech = sum(stop - start for start, stop in loud)
    assert speech > 0.3 * len(clip)
    for level in LEVELS:
        spans = activity.spans(activity.probabilities(clip * 10 ** (level / 20)), len(clip))
        assert abs(sum(stop - start for start, stop in spans) - speech) < 0.1 * speech


@pytest.mark.parametrize("samples", [1, 511, 512, 513, 2048 * 512 + 5])
def test_any_length(samples: int) -> None:
    wave = noise(samples / RATE)[:samples]
    for detector in ("energy", "none", *(["silero"] if silero.available() else [])):
        activity = VoiceActivity(detector)
        found = activity.probabilities(wave)
        assert len(found) == -(-samples // FRAME) and found.min() >= 0 and found.max() <= 1
    assert VoiceActivity("none").spans(found, samples) == [(0, samples)]


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="vad 'webrtc' is unknown; choose one of auto, silero, energy, none"):
        VoiceActivity("webrtc")
    for wrong in ({"threshold": 0.0}, {"min_silence": -1.0}, {"margin": -0.1}):
        with pytest.raises(ConfigError, match="threshold must lie"):
            VoiceActivity(**wrong)  # type: ignore[arg-type]


def test_silero_equals_the_model_of_the_package() -> None:
    package = pytest.importorskip("silero_vad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = package.load_silero_vad()
    wave = torch.cat([noise(1.0), tone(1.0), noise(1.0, seed=1)])[: 90 * FRAME + 100]
    padded = torch.nn.functional.pad(wave, (0, -len(wave) % FRAME)).view(-1, FRAME)
    with torch.no_grad():
        expected = torch.cat([theirs(frame, RATE).view(1) for frame in padded])
    torch.testing.assert_close(silero.probabilities(wave), expected, atol=1e-4, rtol=0)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("silero_vad")
    wave = noise(4.0)
    whole = silero.probabilities(wave)
    monkeypatch.setattr(silero, "BLOCK", 7)
    torch.testing.assert_close(silero.probabilities(wave), whole, atol=1e-5, rtol=0)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero, "find_spec", lambda name: None)
    silero.silero.cache_clear()
    assert torch.equal(VoiceActivity("auto").probabilities(tone(1.0)), energy(tone(1.0)))
    with pytest.raises(MissingDependencyError, match=r"pip install 'audiozoo\[vad\]'"):
        vad.VoiceActivity("silero").probabilities(tone(1.0))
