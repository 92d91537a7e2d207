"""Reading files: every format, spans, mono, scaling, probe; results equal those of soundfile and torchaudio."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from audio_files import bursts, open_files, sound, write_container, write_headless_mp3

from zoo import audio
from zoo.errors import AudioError, MissingDependencyError

RATE = 16000
LIBSNDFILE = {
    "wav": {},
    "flac": {},
    "aiff": {},
    "au": {},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
}
CONTAINERS = [  # suffix, codec, with a picture
    ("mp4", "aac", True),
    ("m4a", "aac", False),
    ("mkv", "aac", True),
    ("webm", "libopus", False),
    ("mov", "pcm_s16le", True),
    ("ts", "aac", False),
    ("wv", "wavpack", False),
]


def reference(wave: torch.Tensor, rate: int) -> torch.Tensor:
    """torchaudio's resampling to RATE, with the kernel in float64."""
    return torchaudio.functional.resample(wave.double(), rate, RATE).float()


def similarity(a: torch.Tensor, b: torch.Tensor) -> float:
    """Cosine of two waves over their common length; lossy codecs reach 0.99."""
    size = min(len(a), len(b))
    return float(torch.nn.functional.cosine_similarity(a[:size], b[:size], dim=0))


@pytest.mark.parametrize("suffix", LIBSNDFILE)
@pytest.mark.parametrize("channels", [1, 2])
def test_soundfile_formats(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sound(RATE, 2.0, channels), RATE, **LIBSNDFILE[suffix])
    expected = torch.from_numpy(soundfile.read(path, dtype="float32", always_2d=True)[0].mean(1))
    wave = audio.load(path, RATE)
    assert wave.dtype == torch.float32
    torch.testing.assert_close(wave, expected, atol=3e-7, rtol=0)  # soundfile.read seeks first: an ulp for mp3
    assert audio.probe(path) == audio.AudioInfo(RATE, channels, 2 * RATE, 2.0)


def test_extension_is_ignored(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", sound(RATE, 0.5), RATE)
    wave = audio.load(tmp_path / "a.flac", RATE)
    for name in ("a.mp3", "a.raw", "a.mp4", "a.txt", "a", "ä ö.wav"):
        (tmp_path / name).write_bytes((tmp_path / "a.flac").read_bytes())
        assert torch.equal(audio.load(tmp_path / name, RATE), wave)


@pytest.mark.parametrize(("subtype", "step"), [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23)])
def test_integers_are_scaled_by_their_full_range(tmp_path: Path, subtype: str, step: float) -> None:
    full = np.array([-1.0, 0.0, 0.5, 1.0 - step])
    soundfile.write(tmp_path / "a.wav", full, RATE, subtype=subtype)
    assert audio.load(tmp_path / "a.wav", RATE).tolist() == full.tolist()


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 22254])
def test_resampled_load_is_torchaudio(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(rate, 1.5, 2), rate, subtype="FLOAT")
    whole = torch.from_numpy(soundfile.read(path, dtype="float32")[0].mean(1))
    wave = audio.load(path, RATE)
    assert len(wave) == -(-len(whole) * RATE // rate)
    if rate != 22254:  # torchaudio takes 12 s for it
        torch.testing.assert_close(wave, reference(whole, rate), atol=1e-6, rtol=0)


def test_blocks_of_a_long_file_equal_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(44100, 30, 2), 44100)  # five blocks
    whole = torch.from_numpy(soundfile.read(path, dtype="float32")[0].mean(1))
    expected = reference(whole, 44100)
    torch.testing.assert_close(audio.load(path, RATE), expected, atol=1e-6, rtol=0)
    spooled = audio.load(path, RATE, spool_seconds=1)
    assert isinstance(spooled, audio.SpooledWave)
    torch.testing.assert_close(spooled[:], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("suffix", "codec", "picture"), CONTAINERS)
def test_containers(tmp_path: Path, suffix: str, codec: str, picture: bool) -> None:
    pytest.importorskip("av")
    rate = 48000
    original = sound(rate, 4.0, 2)
    path = write_container(tmp_path / f"a.{suffix}", codec, original, rate, picture=picture)
    wave = audio.load(path, rate)
    info = audio.probe(path)
    assert (info.sample_rate, info.channels) == (rate, 2)
    assert abs(info.duration - 4.0) < 0.05 and abs(len(wave) / rate - 4.0) < 0.05
    mono = torch.from_numpy(original.mean(1)).float()
    shift = 0 if suffix != "ts" else 1024  # MPEG-TS has no field for the encoder's delay
    assert similarity(wave[shift:], mono) > 0.9  # lossy codecs change white noise
    assert abs(len(audio.load(path, RATE)) - len(wave) / 3) <= 1


@pytest.mark.parametrize(("suffix", "codec", "picture"), CONTAINERS)
def test_span_of_a_container(tmp_path: Path, suffix: str, codec: str, picture: bool) -> None:
    pytest.importorskip("av")
    rate = 48000
    tone = sound(rate, 8.0, noise=0)  # AAC decoders replace noise by random noise
    path = write_container(tmp_path / f"a.{suffix}", codec, tone, rate, picture=picture)
    whole, span = audio.load(path, rate), audio.load(path, rate, start=5.25, end=6.5)
    assert len(span) == round(1.25 * rate)
    begin = round(5.25 * rate)
    millisecond = 48 if suffix in ("mkv", "webm") else 0  # the resolution of their time stamps
    offsets = range(-millisecond, millisecond + 1)
    assert min(float((whole[begin + k : begin + k + len(span)] - span).abs().max()) for k in offsets) < 1e-3
    with pytest.raises(AudioError, match="outside the recording"):
        audio.load(path, rate, start=5, end=9)
    with pytest.raises(AudioError, match="outside the recording"):
        audio.load(path, rate, start=20)


@pytest.mark.parametrize(("suffix", "codec"), [("mpg", "mp2"), ("mpg", "ac3"), ("avi", "mp2")])
@pytest.mark.parametrize("picture", [False, True])
def test_spans_if_a_seek_stops_inside_a_frame(tmp_path: Path, suffix: str, codec: str, picture: bool) -> None:
    pytest.importorskip("av")
    path = write_container(tmp_path / f"a.{suffix}", codec, sound(48000, 20, noise=0), 48000, picture=picture)
    whole = audio.load(path, 48000)
    for start in (0.1, 0.5, 5.25, 10.1, 18.0):
        span, begin = audio.load(path, 48000, start=start, end=start + 1), round(start * 48000)
        offsets = range(max(-2, -begin), 3)  # their clock ticks at 90 kHz
        assert min(float((whole[begin + k : begin + k + len(span)] - span).abs().max()) for k in offsets) < 1e-3


@pytest.mark.parametrize("channels", [1, 2])
def test_spans_of_flac_in_ogg(tmp_path: Path, channels: int) -> None:
    """After a seek, ffmpeg returns wrong time stamps for the frames."""
    pytest.importorskip("av")
    path = write_container(tmp_path / "a.oga", "flac", sound(RATE, 4.3, channels), RATE)
    whole = audio.load(path, RATE)
    for start in np.arange(0.1, 4.2, 0.2):
        span = audio.load(path, RATE, start=start)
        torch.testing.assert_close(span, whole[round(start * RATE) :], atol=0, rtol=0)


@pytest.mark.parametrize("suffix", LIBSNDFILE)
def test_span(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sound(RATE, 6), RATE, **LIBSNDFILE[suffix])
    whole = audio.load(path, RATE)
    for start, end in [(0.0, 0.5), (1.2345, 4.5), (5.5, 6.0), (5.5, 6.05)]:
        expected = whole[round(start * RATE) : round(end * RATE)]
        torch.testing.assert_close(audio.load(path, RATE, start=start, end=end), expected, atol=1e-5, rtol=0)
    assert len(audio.load(path, RATE, start=2.0)) == 4 * RATE
    assert len(audio.load(path, RATE, end=2.0)) == 2 * RATE


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize(("rate", "seconds"), [(8000, 2.37), (16000, 2.37), (16000, 0.4), (48000, 5.01)])
def test_spans_on_the_last_page_of_an_ogg_file(tmp_path: Path, subtype: str, rate: int, seconds: float) -> None:
    """After a seek into the last page, libsndfile's position is wrong by the samples that are cut from its end."""
    path = tmp_path / "a.ogg"
    soundfile.write(path, sound(rate, seconds), rate, subtype=subtype)
    whole = audio.load(path, rate)
    for start in np.arange(0.01, seconds - 0.01, 0.07):
        span = audio.load(path, rate, start=start)
        torch.testing.assert_close(span, whole[round(start * rate) :], atol=1e-3, rtol=0)


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
@pytest.mark.parametrize(("rate", "channels"), [(44100, 1), (44100, 2), (24000, 2), (16000, 1)])
def test_mp3_with_a_low_bit_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, channels: int, mode: str
) -> None:
    """Its frames use bits from earlier frames, so blocks and spans need those frames too."""
    monkeypatch.setitem(sys.modules, "av", None)  # PyAV would read the files of constant bit rate
    path = tmp_path / "a.mp3"
    soundfile.write(path, bursts(rate, 20, channels), rate, bitrate_mode=mode, compression_level=0.99)
    expected = torch.from_numpy(soundfile.read(path, dtype="float32", always_2d=True)[0].mean(1))
    torch.testing.assert_close(audio.load(path, rate), expected, atol=2e-6, rtol=0)
    for start in np.arange(0.1, 19, 0.7):
        span, first = audio.load(path, rate, start=start, end=start + 0.5), round(start * rate)
        torch.testing.assert_close(span, expected[first : first + len(span)], atol=1e-5, rtol=0)
    assert len(audio.load(path, rate, start=19.5)) == len(expected) - round(19.5 * rate)


def test_spans_of_a_headless_mp3_with_a_low_bit_rate(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = write_headless_mp3(tmp_path / "a.mp3", bursts(16000, 20, 2), 16000, compression_level=0.99)
    whole = audio.load(path, 16000)
    for start in np.arange(2.6, 19, 0.7):
        span, first = audio.load(path, 16000, start=start, end=start + 0.5), round(start * 16000)
        torch.testing.assert_close(span, whole[first : first + len(span)], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (-1.0, 1.0),
        (1.0, 1.0),
        (1.0, 0.5),
        (float("nan"), 1.0),
        (0.0, float("inf")),
        (0.0, 1e308),
        (1e308, None),
        (2.0, None),
        (0, 2.2),
    ],
)
def test_invalid_spans(tmp_path: Path, start: float, end: float | None) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(RATE, 2), RATE)
    with pytest.raises(AudioError, match=r"a\.wav: .*span"):
        audio.load(path, RATE, start=start, end=end)


def test_span_reads_only_the_span(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(RATE, 60), RATE)
    read, frames = soundfile.SoundFile.read, []

    def counting(self: soundfile.SoundFile, count: int, **options: object) -> np.ndarray:
        frames.append(count)
        return read(self, count, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    audio.load(path, RATE, start=50, end=51)
    assert frames == [RATE]


def test_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    video = write_container(tmp_path / "a.mp4", "aac", sound(RATE, 1.0), RATE, picture=True)
    wave = sound(RATE, 60)
    wave[20 * RATE :] = 0
    short_guess = write_headless_mp3(tmp_path / "vbr.mp3", np.concatenate([wave] * 3), RATE)
    (tmp_path / "notes.txt").write_text("no audio at all\n" * 100)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"a\.mp4.*pip install 'audiozoo\[video\]'"):
        audio.load(video, RATE)
    assert len(audio.load(short_guess, RATE, start=1, end=3)) == 2 * RATE
    with pytest.raises(AudioError, match=r"vbr\.mp3.*without a length header.*audiozoo\[video\]"):
        audio.load(short_guess, RATE)
    with pytest.raises(AudioError, match=r"notes\.txt: is not audio that soundfile can read"):
        audio.load(tmp_path / "notes.txt", RATE)


def test_threads_and_descriptors(tmp_path: Path) -> None:
    pytest.importorskip("av")
    paths = []
    for index in range(12):
        suffix = list(LIBSNDFILE)[index % len(LIBSNDFILE)]
        paths.append(tmp_path / f"{index}.{suffix}")
        rate = (8000, 24000, 48000)[index % 3]
        soundfile.write(paths[-1], sound(rate, 0.7, 2, seed=index), rate, **LIBSNDFILE[suffix])
    paths.append(write_container(tmp_path / "a.mp4", "aac", sound(RATE, 1.0), RATE))
    expected = [audio.load(path, RATE) for path in paths]
    before = open_files()
    with ThreadPoolExecutor(8) as pool:
        waves = list(pool.map(lambda path: audio.load(path, RATE), paths * 10))
    assert all(torch.equal(wave, expected[i % len(paths)]) for i, wave in enumerate(waves))
    assert open_files() == before


@pytest.mark.realdata
@pytest.mark.parametrize("corpus", ["fsdd", "esc10", "read", "music", "an4", "prompts", "voices"])
def test_real_recordings(data_root: Path, corpus: str) -> None:
    folder = data_root / corpus
    with (folder / "manifest.jsonl").open() as manifest:
        lines = [json.loads(line) for line, _ in zip(manifest, range(5), strict=False)]
    for line in lines:
        path = folder / line["audio"]
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        info = audio.probe(path)
        assert (info.sample_rate, info.channels, info.samples) == (rate, samples.shape[1], len(samples))
        wave = audio.load(path, RATE)
        expected = reference(torch.from_numpy(samples.mean(1)), rate)
        torch.testing.assert_close(wave[: len(expected)], expected, atol=1e-6, rtol=0)
        middle = info.duration / 2
        at_rate, span = audio.load(path, rate), audio.load(path, rate, start=middle / 2, end=middle)
        assert torch.equal(span, at_rate[round(middle / 2 * rate) : round(middle * rate)])
