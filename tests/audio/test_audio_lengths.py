"""Stated lengths held against the file: MP3 headers, chains, files joined by `cat`, tails, placeholders of streams.

None of them may give less than all of the recording without an error.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from audio_files import open_files, sound, write_container, write_headless_mp3

from zoo import audio
from zoo.audio import mpeg
from zoo.errors import AudioError, MissingDependencyError

RATE = 16000


@pytest.fixture(autouse=True)
def no_descriptor_leaks() -> object:
    before = open_files()
    yield
    assert open_files() == before


def write_mp3(path: Path, seconds: float, mode: str = "VARIABLE") -> bytes:
    soundfile.write(path, sound(RATE, seconds), RATE, format="MP3", bitrate_mode=mode, compression_level=0.5)
    data = path.read_bytes()
    assert {"VARIABLE": b"Xing", "CONSTANT": b"Info"}[mode] in data[:64]
    return data


def with_header(data: bytes, frames: int | None = None, size: int | None = None) -> bytes:
    """The MP3 with other numbers of frames and bytes in its Xing or Info header."""
    place = max(data.find(b"Xing"), data.find(b"Info"))
    assert 0 < place < 40
    edited = bytearray(data)
    if frames is not None:
        edited[place + 8 : place + 12] = struct.pack(">I", frames)
    if size is not None:
        edited[place + 12 : place + 16] = struct.pack(">I", size)
    return bytes(edited)


def assert_whole(path: Path, seconds: float, slack: float = 0.2) -> None:
    """All of it is read, also by `probe`, and spans are those of the whole."""
    info = audio.probe(path)
    wave = audio.load(path, info.sample_rate)
    assert abs(len(wave) / info.sample_rate - seconds) < slack
    assert abs(info.duration - seconds) < slack
    for start in np.arange(0.25, seconds - 1, 0.75):
        begin = round(start * info.sample_rate)
        span = audio.load(path, info.sample_rate, start=start, end=start + 0.5)
        torch.testing.assert_close(span, wave[begin : begin + len(span)], atol=1e-4, rtol=0)


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
@pytest.mark.parametrize("numbers", [{"frames": 0, "size": 0}, {"frames": 0}, {"size": 0}, {"size": 5000}])
def test_a_length_header_that_is_wrong(tmp_path: Path, mode: str, numbers: dict[str, int]) -> None:
    pytest.importorskip("av")
    path = tmp_path / "a.mp3"
    path.write_bytes(with_header(write_mp3(path, 6, mode), **numbers))
    assert_whole(path, 6)


def test_damage_before_a_span_does_not_move_it(tmp_path: Path) -> None:
    """Positions are counted from the start of a file with a wrong header, so that a lost frame would shift the span."""
    pytest.importorskip("av")
    path = tmp_path / "a.mp3"
    data = bytearray(with_header(write_mp3(path, 6), frames=0))
    data[len(data) // 3 : len(data) // 3 + 2000] = bytes(2000)
    path.write_bytes(data)
    with pytest.raises(AudioError, match="truncated or damaged"):
        audio.load(path, RATE, start=4, end=5)
    assert len(audio.load(path, RATE, start=0.5, end=1)) == RATE // 2


def test_a_length_header_that_counts_half_the_frames(tmp_path: Path) -> None:
    """Its bytes are right, so that only reading finds it out: an error, but no shorter recording."""
    path = tmp_path / "a.mp3"
    data = write_mp3(path, 20)
    path.write_bytes(with_header(data, frames=20 * RATE // 576 // 2))
    with pytest.raises(AudioError, match=r"a\.mp3: goes on behind the length that its header states"):
        audio.load(path, RATE)
    assert len(audio.load(path, RATE, start=1, end=2)) == RATE


@pytest.mark.parametrize("between", [b"", b"ID3\4\0\0\0\0\0\x23" + b"TSSE" + bytes(31), b"TAG" + bytes(125)])
@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
def test_joined_mp3(tmp_path: Path, mode: str, between: bytes) -> None:
    pytest.importorskip("av")
    path = tmp_path / "a.mp3"
    data = write_mp3(path, 3, mode)
    path.write_bytes(data + between + data)
    assert_whole(path, 6, slack=0.4)  # 0.1 s of padding at each end


def test_joined_mp3_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr("zoo.audio.sources.find_spec", lambda name: None)
    path = tmp_path / "a.mp3"
    data = write_mp3(path, 5)
    path.write_bytes(data + data)
    with pytest.raises(AudioError, match=r"a\.mp3: .*length header.*audiozoo\[video\]"):
        audio.load(path, RATE)
    path.write_bytes(data)
    assert len(audio.load(path, RATE)) == 5 * RATE


@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_chained_ogg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtype: str, times: int) -> None:
    pytest.importorskip("av")
    path = tmp_path / "a.ogg"
    soundfile.write(path, sound(RATE, 2), RATE, format="OGG", subtype=subtype)
    path.write_bytes(path.read_bytes() * times)
    assert_whole(path, 2 * times, slack=0.05)
    if times > 1:
        monkeypatch.setattr("zoo.audio.sources.find_spec", lambda name: None)
        with pytest.raises(MissingDependencyError, match=r"a\.ogg.*pip install 'audiozoo\[video\]'"):
            audio.load(path, RATE)


def test_joined_wav_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(RATE, 1), RATE)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(AudioError, match=r"a\.wav: is several WAV files joined"):
        audio.load(path, RATE)


def test_more_data_than_a_wav_states(tmp_path: Path) -> None:
    """As in a recording over 4 GiB, whose size does not fit, or one that ended before its header was written again."""
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(RATE, 5), RATE)
    data = bytearray(path.read_bytes())
    chunk = b"LIST" + struct.pack("<I", 4) + b"INFO"
    expected = audio.load(path, RATE)
    for harmless in (chunk, bytes(2**18), b"ID3\4" + b"cover" * 20_000, chunk + b"noise" * 10_000):
        path.write_bytes(data + harmless)
        assert torch.equal(audio.load(path, RATE), expected)
    data[40:44] = struct.pack("<I", 2 * RATE)  # the first of 5 s
    path.write_bytes(data)
    with pytest.raises(AudioError, match=r"a\.wav: has 128000 bytes behind the audio whose size its header states"):
        audio.load(path, RATE)


TAILS = {
    "zeros": bytes(4096),
    "Lyrics3": b"LYRICSBEGININD0000200" + b"a word\r\n" * 40 + b"000348LYRICS200",
    "APE": b"APETAGEX\xd0\x07\0\0" + bytes(20000),
    "ID3v1": b"TAG" + bytes(125),
    "ID3 at the end": b"ID3\4\0\0\0\0\7\x68" + bytes(1000),
    "noise": np.random.default_rng(0).integers(0, 127, 5000, dtype=np.uint8).tobytes(),
    "Lyrics3 and zeros": b"LYRICSBEGININD0000200000021LYRICS200" + bytes(5000),
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("suffix", ["mp3", "mp2"])
def test_a_tail_is_no_damage(tmp_path: Path, suffix: str, tail: str) -> None:
    pytest.importorskip("av")
    path = tmp_path / f"a.{suffix}"
    if suffix == "mp2":
        write_container(path, "mp2", sound(RATE, 3), RATE)
    else:
        write_headless_mp3(path, sound(RATE, 3), RATE)
    whole = audio.load(path, RATE)
    path.write_bytes(path.read_bytes() + TAILS[tail])
    assert torch.equal(audio.load(path, RATE), whole)
    assert len(audio.load(path, RATE, start=2.0)) == len(whole) - 2 * RATE


@pytest.mark.parametrize("suffix", ["mp3", "mp2"])
def test_damage_between_frames_is_no_tail(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("av")
    path = tmp_path / f"a.{suffix}"
    if suffix == "mp2":
        write_container(path, "mp2", sound(RATE, 4), RATE)
    else:
        write_headless_mp3(path, sound(RATE, 4), RATE)
    data = path.read_bytes()
    half = len(data) // 2
    for damaged in (
        data[:half] + bytes(3000) + data[half + 3000 :],
        data[:half] + bytes(3000) + data[half + 3000 :] + bytes(4096),
        data + bytes(100_000),  # more zeros than a tail has: perhaps a download that was not finished
    ):
        path.write_bytes(damaged)
        with pytest.raises(AudioError, match="truncated or damaged"):
            audio.load(path, RATE)


def mp3_in_wav(path: Path, seconds: float, mode: str) -> Path:
    """MP3 frames in a WAV file whose fact chunk counts the encoder's delay, and alone in a file."""
    data = write_mp3(path.with_suffix(".mp3"), seconds, mode)
    frames = data[mpeg.frame_bytes(data[:4]) :]  # without the header frame
    path.with_suffix(".mp3").write_bytes(frames)
    format_chunk = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 1152, 1, 1393)
    fact = struct.pack("<I", round(seconds * RATE) + 1105 + 576)
    chunks = b""
    for name, content in ((b"fmt ", format_chunk), (b"fact", fact), (b"data", frames)):
        chunks += name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path.with_suffix(".mp3")


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
def test_mp3_in_wav(tmp_path: Path, mode: str) -> None:
    pytest.importorskip("av")
    path = tmp_path / "a.wav"
    alone = mp3_in_wav(path, 6, mode)
    assert soundfile.info(path).subtype == "MPEG_LAYER_III"
    assert torch.equal(audio.load(path, RATE), audio.load(alone, RATE))
    assert_whole(path, 6)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match="truncated"):
        audio.load(path, RATE)


def test_mp3_in_wav_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.audio.sources.find_spec", lambda name: None)
    path = tmp_path / "a.wav"
    mp3_in_wav(path, 35, "CONSTANT")  # more than one block: its codec decides whether soundfile may seek between them
    expected = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
    torch.testing.assert_close(audio.load(path, RATE), expected, atol=2e-6, rtol=0)
    assert_whole(path, 35)
    mp3_in_wav(path, 35, "VARIABLE")
    with pytest.raises(AudioError, match=r"bytes would be lost.*audiozoo\[video\]"):
        audio.load(path, RATE)


def test_streams_of_unknown_length(tmp_path: Path) -> None:
    """FLAC and MP3 from a pipe: libsndfile would stop too early; PyAV reads to the end."""
    pytest.importorskip("av")
    wave = sound(RATE, 30)
    wave[15 * RATE :] = 0  # silence needs few bits: the length guessed from the noisy start is far too short
    mp3 = write_headless_mp3(tmp_path / "a.mp3", wave, RATE)
    assert soundfile.info(mp3).duration < 25
    assert abs(audio.probe(mp3).duration - 30) < 0.2
    assert abs(len(audio.load(mp3, RATE)) - 30 * RATE) < 0.2 * RATE
    soundfile.write(tmp_path / "a.flac", wave, RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    expected = audio.load(tmp_path / "a.flac", RATE)
    data[21] &= 0xF0  # STREAMINFO: the low 36 bits of bytes 18-25 count the samples; 0 is unknown
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    assert torch.equal(audio.load(tmp_path / "a.flac", RATE), expected)
    assert audio.probe(tmp_path / "a.flac").samples == 30 * RATE


SIZES = [2_000_000_000, 1_000_000_000, 1_000_000_000 - 36, 3_000_000_000, 2**31 - 1 - 36, 2**32 - 1]


def with_data_size(path: Path, size: int) -> None:
    soundfile.write(path, sound(RATE, 1), RATE)
    data = bytearray(path.read_bytes())
    assert data[36:40] == b"data"
    data[40:44] = struct.pack("<I", size)
    path.write_bytes(data)


@pytest.mark.parametrize("size", SIZES)
def test_sizes_that_programs_write_that_stream(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.wav"
    with_data_size(path, size)
    assert len(audio.load(path, RATE)) == RATE
    assert audio.probe(path).samples == RATE


@pytest.mark.parametrize("size", [33_000, 2_000_400, 1_234_567_890, 100_000_000])
def test_other_sizes_are_believed(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.wav"
    with_data_size(path, size)
    with pytest.raises(AudioError, match="is truncated: its header states"):
        audio.load(path, RATE)


def test_size_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    path = tmp_path / "a.wav"
    with_data_size(path, 0)
    assert_whole(path, 1, slack=1e-9)
    monkeypatch.setattr("zoo.audio.sources.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"a\.wav.*does not state the length"):
        audio.load(path, RATE)
    soundfile.write(path, np.zeros(0), RATE)
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO")
    with pytest.raises(AudioError, match="no samples"):
        audio.load(path, RATE)
