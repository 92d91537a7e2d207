from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from recordings import write_wav

from zoo.audio import SpooledWave
from zoo.errors import AudioError, MissingDependencyError
from zoo.jobs import decode
from zoo.jobs.failures import NoRoom
from zoo.jobs.survey import Planned


def planned(path: object, seconds: float = 1.0, start: float | None = None, end: float | None = None) -> Planned:
    return Planned(str(path), start, end, 1, 2, seconds)


def test_items_come_in_order_with_slow_and_fast_threads() -> None:
    def read(item: Planned) -> torch.Tensor:
        time.sleep(0.003 * (int(item.path) % 3))
        return torch.full((1,), float(item.path))

    items = [planned(i) for i in range(40)]
    with closing(decode.ahead(items, read, workers=4, look_ahead_seconds=10.0)) as clips:
        assert [(int(item.path), int(clip[0])) for item, clip in clips] == [(i, i) for i in range(40)]


@pytest.mark.parametrize("workers", [1, 5])
def test_waiting_audio_is_bounded(workers: int) -> None:
    """5,000 clips of up to 3 s and a few long ones: count the seconds that are read and not yet consumed."""
    lock, waiting, max_waiting = threading.Lock(), 0.0, 0.0

    def read(item: Planned) -> torch.Tensor:
        nonlocal waiting, max_waiting
        with lock:
            waiting += item.seconds
            max_waiting = max(max_waiting, waiting)
        return torch.zeros(1)

    items = [planned(i, 40.0 if i % 1000 == 7 else 0.01 + i % 7 / 2) for i in range(5000)]
    pulled = 0

    def stream() -> Iterator[Planned]:
        nonlocal pulled
        for item in items:
            pulled += 1
            yield item

    consumed = 0
    for item, _ in decode.ahead(stream(), read, workers=workers, look_ahead_seconds=50.0):
        with lock:
            waiting -= item.seconds
        consumed += 1
        assert pulled - consumed <= decode.LOOK_AHEAD_CLIPS  # the inputs are not read far ahead either
    assert consumed == 5000
    assert 40.0 < max_waiting <= 50.0 + 40.0


def test_the_number_of_waiting_clips_is_bounded_for_clips_of_unknown_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "LOOK_AHEAD_CLIPS", 16)
    reads = 0

    def read(item: Planned) -> torch.Tensor:
        nonlocal reads
        reads += 1
        return torch.zeros(1)

    with closing(decode.ahead([planned(i, 0.0) for i in range(500)], read, workers=2, look_ahead_seconds=9.0)) as clips:
        for consumed, _ in enumerate(clips, start=1):
            assert reads <= consumed + 16


def test_closing_early_stops_the_threads() -> None:
    before = threading.active_count()
    clips = decode.ahead(map(planned, range(1000)), lambda item: torch.zeros(1), workers=3, look_ahead_seconds=5.0)
    next(clips)
    assert threading.active_count() == before + 3
    clips.close()
    assert threading.active_count() == before


def test_decoding_does_not_change_the_thread_count_of_the_encoder() -> None:
    inside = []

    def read(item: Planned) -> torch.Tensor:
        inside.append(torch.get_num_threads())
        return torch.zeros(1)

    threads_before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        list(decode.ahead(map(planned, range(8)), read, workers=2, look_ahead_seconds=5.0))
        fresh: list[int] = []
        thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert (set(inside), torch.get_num_threads(), fresh) == ({1}, 2, [2])
    finally:
        torch.set_num_threads(threads_before)


def test_an_unexpected_error_ends_the_run() -> None:
    def read(item: Planned) -> torch.Tensor:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        list(decode.ahead([planned(0)], read, workers=1, look_ahead_seconds=5.0))


def test_read_returns_the_span_at_the_encoders_rate(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "x.wav", 2.0, rate=8000)
    clip = decode.read(planned(path, 1.0, 0.5, 1.5), sample_rate=16000, min_samples=400)
    assert isinstance(clip, torch.Tensor) and len(clip) == 16000


def test_read_returns_the_reason_if_there_is_no_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reason(path: Path) -> str:
        outcome = decode.read(planned(path), sample_rate=16000, min_samples=400)
        assert isinstance(outcome, str)
        return outcome

    (tmp_path / "text.wav").write_text("no audio at all")
    assert str(tmp_path) not in reason(tmp_path / "text.wav")
    assert "399 samples" not in reason(write_wav(tmp_path / "short.wav", 0.02))
    assert "320 samples at 16000 Hz, this encoder needs 400" in reason(tmp_path / "short.wav")
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan] * 800), 16000, subtype="FLOAT")
    assert "nan" in reason(tmp_path / "nan.wav").lower()

    def no_av(*args: object, **options: object) -> None:
        raise MissingDependencyError("pip install audiozoo[video]")

    monkeypatch.setattr(decode.audio, "load", no_av)
    assert "pip install" in reason(tmp_path / "film.mp4")


def test_a_recording_that_the_temporary_folder_cannot_hold_is_a_failure_of_this_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*args: object, **options: object) -> None:
        raise AudioError(tempfile.gettempdir(), "cannot write a long recording to this folder; set TMPDIR")

    monkeypatch.setattr(decode.audio, "load", full)
    reason = decode.read(planned("long.wav"), sample_rate=16000, min_samples=400)
    assert isinstance(reason, str) and reason.startswith("is too long") and tempfile.gettempdir() in reason


def test_a_recording_without_room_is_read_again_when_the_one_before_it_is_done() -> None:
    """The temporary folder has room for one recording; the second is decoded while the first is in use."""
    first_is_done = threading.Event()
    reads: list[str] = []

    def read(item: Planned) -> torch.Tensor | str:
        reads.append(item.path)
        return torch.ones(1) if item.path == "0" or first_is_done.is_set() else NoRoom("no room")

    with closing(decode.ahead([planned(0), planned(1)], read, workers=2, look_ahead_seconds=5.0)) as clips:
        assert isinstance(next(clips)[1], torch.Tensor)
        while len(reads) < 2:
            time.sleep(0.001)
        first_is_done.set()
        assert isinstance(next(clips)[1], torch.Tensor) and reads in (["0", "1", "1"], ["1", "0", "1"])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(24, "Too many open files"), "cannot be read (Too many open files)"),
        (MemoryError(), "cannot be read (MemoryError)"),
        (RuntimeError("a bug"), "cannot be read (RuntimeError: a bug)"),
    ],
)
def test_an_error_of_the_system_is_a_failure_of_this_item(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(decode.audio, "load", fail)
    assert decode.read(planned("x.wav"), sample_rate=16000, min_samples=400) == reason


def test_a_long_recording_is_decoded_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "SPOOL_SECONDS", 0.5)
    path = write_wav(tmp_path / "x.wav", 1.0)
    assert isinstance(decode.read(planned(path), sample_rate=16000, min_samples=400), SpooledWave)
