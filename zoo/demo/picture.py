"""A spectrogram as a PNG picture.

Legend: T frames, N mel bands.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

_ANCHORS = (
    (8, 10, 30),
    (52, 22, 104),
    (120, 40, 130),
    (190, 62, 110),
    (238, 112, 80),
    (252, 180, 100),
    (252, 248, 200),
)
"""RGB from quiet to loud, evenly spaced."""
_QUIETEST, _LOUDEST = 8.0, 99.7  # percentiles of a clip


def spectrogram(bands: np.ndarray) -> bytes:
    """PNG of log-mel bands (T, N): time to the right, frequency upward."""
    low, high = np.percentile(bands, (_QUIETEST, _LOUDEST))
    shades = np.clip((bands - low) / max(high - low, 1e-9), 0.0, 1.0) * 255
    return png(np.flipud(shades.T).astype(np.uint8), palette())


def palette() -> np.ndarray:
    """(256, 3) colors."""
    places = np.linspace(0, 255, len(_ANCHORS))
    channels = [np.interp(np.arange(256), places, channel) for channel in zip(*_ANCHORS, strict=True)]
    return np.stack(channels, axis=1).astype(np.uint8)


def png(pixels: np.ndarray, colors: np.ndarray) -> bytes:
    """An indexed PNG. pixels: (height, width) uint8; colors: (256, 3) uint8."""
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, indexed
    lines = np.zeros((height, width + 1), dtype=np.uint8)  # each line begins with its filter: 0, none
    lines[:, 1:] = pixels
    parts = [_chunk(b"IHDR", header), _chunk(b"PLTE", colors.tobytes())]
    parts += [_chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
