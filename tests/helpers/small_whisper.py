"""A small Whisper with a window of 30 s: random weights, a few hundred tokens, three languages or English."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import torch
from whisper_tokens import tokenizer

import zoo
from zoo.models.whisper.model import Whisper


@cache
def small_whisper(languages: int = 3, seed: int = 0, text_ctx: int = 32) -> Whisper:
    """One block of width 16 in encoder and decoder. Its weights are large, so that texts depend on the audio."""
    with tempfile.TemporaryDirectory() as folder:
        words = tokenizer(Path(folder), languages)
    if languages == 0:
        words.multilingual, words.languages = False, {}
    torch.manual_seed(seed)
    model = zoo.create(
        "whisper-tiny",
        dim=16,
        heads=2,
        encoder_layers=1,
        decoder_layers=1,
        decoder_heads=2,
        text_ctx=text_ctx,
        vocab_size=len(words),
        alignment_heads=((0, 0), (0, 1)),
    )
    assert isinstance(model, Whisper)
    model.tokenizer = words
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "blocks" in name and weight.ndim == 2:
                weight.mul_(8 if name.startswith("decoder") else 3)
        model.decoder.positions.mul_(100)
    return model
