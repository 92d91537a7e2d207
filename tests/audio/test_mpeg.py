"""MPEG frames in bytes, by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zoo.audio import mpeg


@pytest.mark.parametrize(
    ("head", "size"),
    [  # by hand, from the standards
        (b"\xff\xfb\x90\x00", 417),  # MPEG 1, layer III, 128 kbit/s, 44.1 kHz
        (b"\xff\xfb\x92\x00", 418),  # the same with padding
        (b"\xff\xf3\x48\x00", 144),  # MPEG 2, layer III, 32 kbit/s, 16 kHz
        (b"\xff\xe3\x18\x00", 72),  # MPEG 2.5, layer III, 8 kbit/s, 8 kHz
        (b"\xff\xfd\xa4\x00", 576),  # MPEG 1, layer II, 192 kbit/s, 48 kHz
        (b"\xff\xff\x54\x00", 160),  # MPEG 1, layer I, 160 kbit/s, 48 kHz
        (b"\xff\xfb\x9c\x00", 0),  # reserved sample rate
        (b"\xff\xfb\xf0\x00", 0),  # reserved bit rate
        (b"\xff\xeb\x90\x00", 0),  # reserved version
        (b"\xff\xf9\x90\x00", 0),  # AAC
        (b"ID3\4", 0),
        (b"\xff\xfb", 0),
    ],
)
def test_bytes_of_a_frame(head: bytes, size: int) -> None:
    assert mpeg.frame_bytes(head) == size


def test_frames_follow_over_the_border_of_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpeg, "BLOCK", 3 * mpeg.LARGEST_FRAME + 100)
    frame = b"\xff\xfb\x90\x00" + bytes(413)
    path = tmp_path / "a.bin"
    for before in range(8000, 18000, 331):
        path.write_bytes(bytes(before) + 3 * frame)
        file = os.open(path, os.O_RDONLY)
        found = [mpeg.frames_follow(file, place) for place in (0, before, before + 1)]
        os.close(file)
        assert found == [True, True, False], before
