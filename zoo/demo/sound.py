"""Clips as short MP3 files inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

import numpy as np
import soundfile

from zoo.demo.clips import DemoClip

LONGEST = 6.0
"""Seconds of a clip that the page holds."""
_FADE = 0.1  # s
_COMPRESSION = 0.8  # of 0 ... 1


def sounds(clips: Iterable[DemoClip]) -> dict[str, str]:
    """The data URI of each clip by its key."""
    found: dict[str, str] = {}
    for clip in clips:
        if clip.key not in found:
            found[clip.key] = data_uri("audio/mpeg", mp3(clip))
    return found


def mp3(clip: DemoClip) -> bytes:
    """The first seconds of a clip, faded out where it is cut."""
    with soundfile.SoundFile(clip.entry.audio) as file:
        rate = file.samplerate
        total = file.frames
        wave = file.read(int(LONGEST * rate), dtype="float32")
    if len(wave) < total:
        fade = int(_FADE * rate)
        wave[-fade:] *= np.linspace(1.0, 0.0, fade, dtype="float32")
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        wave,
        rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=_COMPRESSION,
        bitrate_mode="VARIABLE",
    )
    return buffer.getvalue()


def data_uri(kind: str, content: bytes) -> str:
    """content as a URI that needs no request. kind: its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
