"""Bad files: each raises an AudioError that names path and fault, and leaves no descriptor open."""

from __future__ import annotations

import os
import pickle
import stat
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import open_files, sound, write_container

from zoo import audio
from zoo.audio.reading import load_open
from zoo.errors import AudioError

RATE = 16000
OGG = {"format": "OGG", "subtype": "VORBIS"}


@pytest.fixture(autouse=True)
def no_descriptor_leaks() -> object:
    before = open_files()
    yield
    assert open_files() == before


def assert_refused(path: Path | str, reason: str) -> AudioError:
    with pytest.raises(AudioError, match=reason) as caught:
        audio.load(path, RATE)
    assert str(path) in str(caught.value) and caught.value.item == str(path)
    return caught.value


def test_missing_folder_empty_special(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nothing.wav", "no such file")
    assert_refused(tmp_path, "is a folder")
    (tmp_path / "empty.wav").touch()
    assert_refused(tmp_path / "empty.wav", r"empty \(0 bytes\)")
    os.mkfifo(tmp_path / "pipe.wav")
    assert_refused(tmp_path / "pipe.wav", "not a regular file")
    assert_refused(tmp_path / "a.wav" / "b.wav", "no such file|cannot be opened")
    for path in ("a\0b.wav", "~a\0b.wav", "\ud800.wav", "~\ud800/a.wav"):
        assert_refused(path, "cannot be opened")
        with pytest.raises(AudioError, match="cannot be opened"):
            audio.probe(path)
    assert_refused(tmp_path / ("x" * 300 + ".wav"), "cannot be opened")


def test_permission() -> None:
    with tempfile.TemporaryDirectory() as folder:  # another user may not enter the folders above tmp_path
        Path(folder).chmod(0o755)
        path = Path(folder, "a.wav")
        soundfile.write(path, sound(RATE, 0.1), RATE)
        path.chmod(stat.S_IWUSR)
        user = os.geteuid()
        if user == 0:  # root can read everything
            os.setresuid(65534, 65534, 0)
        try:
            assert_refused(path, "permission denied")
        finally:
            if user == 0:
                os.setresuid(0, 0, 0)


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac", "a.ogg", "a.mp4", "a.txt", "a"])
@pytest.mark.parametrize("content", [b"hello, this is text\n" * 400, bytes(range(256)) * 40, bytes(10000), b"x"])
def test_not_audio(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert_refused(tmp_path / name, "not audio|no audio track|cannot be decoded")


def test_playlists_open_nothing_else(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sound(RATE, 0.5), RATE)
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    assert_refused(tmp_path / "a.m3u8", "not audio|damaged|no audio track|cannot be decoded")


SCRIPTS = {
    "sbg": "-SE\n\ntone: 200+10/50\n00:00:00 tone\n23:59:59 tone\n",
    "ffconcat": "ffconcat version 1.0\nfile 'a.flac'\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.flac\n",
    "m3u8 of itself": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nb.m3u8\n",
}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("name", ["b.wav", "b.m3u8"])
def test_playlists_and_scripts_are_refused(tmp_path: Path, script: str, name: str) -> None:
    """ffmpeg would open other local files for them, wait without end, or generate a day of sound."""
    soundfile.write(tmp_path / "a.flac", sound(RATE, 0.5), RATE)
    (tmp_path / name).write_text(SCRIPTS[script])
    assert_refused(tmp_path / name, "is not audio")
    with (tmp_path / name).open("rb") as file, pytest.raises(AudioError, match="row 0: is not audio"):
        load_open("row 0", file, RATE)


def test_a_video_without_audio(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        film = container.add_stream("mpeg4", rate=10)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        container.mux(film.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(film.encode())
    assert_refused(tmp_path / "a.mp4", "no audio track")


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "au", "w64", "ogg", "mp3"])
@pytest.mark.parametrize("share", [0.3, 0.8, 0.99])
def test_truncated(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sound(RATE, 20), RATE, **(OGG if suffix == "ogg" else {}))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert_refused(path, "truncated")


@pytest.mark.parametrize("suffix", ["wav", "aiff", "flac", "ogg"])
def test_one_byte_missing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sound(RATE, 1), RATE, **(OGG if suffix == "ogg" else {}))
    path.write_bytes(path.read_bytes()[:-1])
    assert_refused(path, "truncated")


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("mkv", "aac"), ("webm", "libopus"), ("wv", "wavpack")])
def test_truncated_container(tmp_path: Path, suffix: str, codec: str) -> None:
    pytest.importorskip("av")
    path = write_container(tmp_path / f"a.{suffix}", codec, sound(48000, 10), 48000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert_refused(path, "truncated|damaged")


def test_damage_affects_only_spans_that_contain_it(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = write_container(tmp_path / "a.mp4", "aac", sound(48000, 10), 48000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    path.write_bytes(data)
    with pytest.raises(AudioError, match="truncated or damaged"):
        audio.load(path, 48000, start=4.0, end=6.5)
    assert len(audio.load(path, 48000, start=7.0, end=8.0)) == 48000


def test_very_short_truncated_files(tmp_path: Path) -> None:
    """A truncated file never raises an error of the decoder itself."""
    for suffix, options in [("wav", {}), ("flac", {}), ("ogg", OGG), ("mp3", {})]:
        path = tmp_path / f"a.{suffix}"
        soundfile.write(path, sound(RATE, 0.5), RATE, **options)
        data = path.read_bytes()
        for size in [*range(1, 60, 7), 100, 300, 1000, 2000]:
            path.write_bytes(data[:size])
            assert_refused(path, "truncated|damaged|not audio|no samples|cannot be decoded")


def test_damage_in_the_middle_of_a_flac(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, sound(RATE, 10), RATE)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    assert_refused(path, "truncated or damaged")


@pytest.mark.parametrize("claim", [0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x7FFFF000])
def test_wav_from_a_pipe_is_read_to_its_end(tmp_path: Path, claim: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(RATE, 1), RATE)
    data = bytearray(path.read_bytes())
    assert data[36:40] == b"data"
    data[40:44] = struct.pack("<I", claim)
    path.write_bytes(data)
    assert len(audio.load(path, RATE)) == RATE


def test_trailing_bytes_are_allowed(tmp_path: Path) -> None:
    for suffix, options in [("wav", {}), ("ogg", OGG), ("mp3", {})]:
        path = tmp_path / f"a.{suffix}"
        soundfile.write(path, sound(RATE, 1), RATE, **options)
        path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
        assert len(audio.load(path, RATE)) == RATE


@pytest.mark.parametrize("rate", [0, 1, 2**31 - 1])
def test_invalid_sample_rate(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(RATE, 1), RATE)
    data = bytearray(path.read_bytes())
    data[24:28] = struct.pack("<I", rate)
    path.write_bytes(data)
    assert_refused(path, "not a sample rate|not audio|cannot be decoded")


def test_no_samples(tmp_path: Path) -> None:
    for suffix in ("wav", "flac"):
        soundfile.write(tmp_path / f"a.{suffix}", np.zeros(0), RATE)
        assert_refused(tmp_path / f"a.{suffix}", r"no samples|0 bytes")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, 1234, 599999])
def test_not_finite(tmp_path: Path, bad: float, position: int) -> None:
    wave = np.zeros((600000, 2), np.float32)  # more than two blocks
    wave[position, 1] = bad
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    assert_refused(tmp_path / "a.wav", f"sample {position} is (nan|inf|-inf)")


def test_integers_in_float_format(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.round(sound(RATE, 1) * 32767), RATE, subtype="FLOAT")
    assert_refused(tmp_path / "a.wav", "int16 samples in float format")


def test_errors_can_be_pickled(tmp_path: Path) -> None:
    error = assert_refused(tmp_path / "nothing.wav", "no such file")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
