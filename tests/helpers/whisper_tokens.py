"""A Whisper tokenizer with a vocabulary of a test's size: all bytes, a few words, all specials."""

from __future__ import annotations

import base64
from pathlib import Path

from zoo.models.whisper.tokenizer import WhisperTokenizer

WORDS = (b" t", b"he", b" the", b" a", b"nd", b" and", b" -", b" '", b"\xe2\x99", b"\xe2\x99\xaa", b"\xe6\x97", b"00")
"""Each is the join of two earlier ones, as the merges of BPE are."""


def write_tiktoken(path: Path) -> Path:
    """The vocabulary in the layout of openai-whisper's assets."""
    tokens = [*(bytes([byte]) for byte in range(256)), *WORDS]
    lines = [f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens)]
    path.write_text("".join(lines), encoding="ascii")
    return path


def tokenizer(folder: Path, languages: int = 3) -> WhisperTokenizer:
    return WhisperTokenizer.from_tiktoken(write_tiktoken(folder / "multilingual.tiktoken"), languages)
