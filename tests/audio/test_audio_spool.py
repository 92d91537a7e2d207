"""Long recordings: slices from disk, the file is freed with the object, memory is much smaller than the recording."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from audio_files import open_files, sound, write_container
from hypothesis import given
from hypothesis import strategies as st

from zoo import audio
from zoo.audio.reading import load_open
from zoo.errors import AudioError

RATE = 16000
WAVE = torch.rand(5000, generator=torch.Generator().manual_seed(0))
SPOOLED = audio.SpooledWave(WAVE.split(333), RATE)
BOUND = st.none() | st.integers(-6000, 6000)


@given(start=BOUND, stop=BOUND)
def test_slices_like_a_tensor(start: int | None, stop: int | None) -> None:
    part = SPOOLED[start:stop]
    assert part.dtype == torch.float32 and torch.equal(part, WAVE[start:stop])


def test_len_repr_copies_and_errors() -> None:
    assert len(SPOOLED) == 5000 and "5000 samples at 16000 Hz" in repr(SPOOLED)
    part = SPOOLED[:10]
    part[:] = 0  # a copy: the file does not change
    assert torch.equal(SPOOLED[:10], WAVE[:10])
    for index in (3, slice(0, 10, 2), "a"):
        with pytest.raises(TypeError, match="slices"):
            SPOOLED[index]  # type: ignore[index]
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(SPOOLED)


def test_file_has_no_name_and_is_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = open_files()
    wave = audio.SpooledWave([WAVE], RATE)
    assert not list(tmp_path.iterdir()) and open_files() == before + 1
    del wave
    gc.collect()
    assert open_files() == before
    closed = audio.SpooledWave([WAVE], RATE)
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        closed[:1]


def test_failure_while_spooling_frees_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, sound(RATE, 60), RATE)
    path.write_bytes(path.read_bytes()[:-5000])
    before = open_files()
    with pytest.raises(AudioError, match="truncated"):
        audio.load(path, RATE, spool_seconds=1)
    gc.collect()
    assert open_files() == before
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null")
    with pytest.raises(AudioError, match=r"/dev/null: .*TMPDIR"):
        audio.SpooledWave([WAVE], RATE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(**_: object) -> tuple[int, str]:
        (tmp_path / "x").touch()
        return os.open("/dev/full", os.O_RDWR), str(tmp_path / "x")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with pytest.raises(AudioError, match="cannot write a long recording"):
        audio.SpooledWave([torch.zeros(100000)], RATE)
    soundfile.write(tmp_path / "a.wav", sound(RATE, 3), RATE)
    with pytest.raises(AudioError, match=r"cannot write a long recording .*; .*a\.wav needs it") as caught:
        audio.load(tmp_path / "a.wav", RATE, spool_seconds=1)
    assert caught.value.item == tempfile.gettempdir()


def test_a_full_disk_names_the_open_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(1_900_000), 1000)

    def full(file: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    message = r"cannot write a long recording to this folder \(No space.*; row 3 needs it$"
    with path.open("rb") as file, pytest.raises(AudioError, match=message):
        load_open("row 3", file, RATE)


def test_short_reads_and_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may read or write less than requested, for example beyond 2 GiB."""
    read, write = os.pread, os.write
    monkeypatch.setattr(os, "pread", lambda file, size, offset: read(file, min(size, 100), offset))
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:100]))
    assert torch.equal(audio.SpooledWave([WAVE], RATE)[10:], WAVE[10:])


def test_several_threads_read_at_once() -> None:
    def read(start: int) -> bool:
        return torch.equal(SPOOLED[start : start + 700], WAVE[start : start + 700])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, list(range(0, 4500, 7)) * 5))


def test_threshold(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sound(RATE, 3), RATE)
    whole = audio.load(tmp_path / "a.wav", RATE)
    assert isinstance(whole, torch.Tensor)
    assert isinstance(audio.load(tmp_path / "a.wav", RATE, spool_seconds=3), torch.Tensor)
    spooled = audio.load(tmp_path / "a.wav", RATE, spool_seconds=2.9)
    assert isinstance(spooled, audio.SpooledWave) and torch.equal(spooled[:], whole)
    assert isinstance(audio.load(tmp_path / "a.wav", RATE, start=1, spool_seconds=2.9), torch.Tensor)


def test_container_of_unknown_length_is_spooled_too(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = write_container(tmp_path / "a.mkv", "pcm_s16le", sound(RATE, 90), RATE)
    spooled = audio.load(path, RATE, spool_seconds=10)
    assert isinstance(spooled, audio.SpooledWave) and torch.equal(spooled[:], audio.load(path, RATE))


PEAK = """
import re, sys
from pathlib import Path
from zoo import audio

def status(field):
    return int(re.search(field + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

audio.load(sys.argv[2], 16000)  # libraries loaded, filter built
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # reset VmHWM
clip = audio.load(sys.argv[1], 16000, spool_seconds=float(sys.argv[3]))
print(type(clip).__name__, len(clip), status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory by Linux's /proc")
@pytest.mark.parametrize(
    ("spool_seconds", "kind", "limit"),
    [(599, "SpooledWave", 30), pytest.param(1800, "Tensor", 120, marks=pytest.mark.slow)],
)
def test_ten_minutes_of_stereo_in_bounded_memory(tmp_path: Path, spool_seconds: float, kind: str, limit: float) -> None:
    """The stereo samples take 220 MiB as float32, the mono clip 37 MiB (twice that while its blocks are joined)."""
    second = sound(48000, 1.0, 2)
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 48000, 2) as file:
        for _ in range(600):
            file.write(second)
    soundfile.write(tmp_path / "short.wav", np.concatenate([second] * 15), 48000)
    command = [sys.executable, "-c", PEAK, str(tmp_path / "long.wav"), str(tmp_path / "short.wav"), str(spool_seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(audio.__file__).parents[2])
    type_name, length, growth = done.stdout.split()
    assert (type_name, int(length)) == (kind, 600 * RATE)
    assert float(growth) < limit
