"""What the three layouts of Whisper's weights have in common once their names are ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from zoo.cards import CARDS
from zoo.errors import CheckpointError
from zoo.importers.tensors import fuse_attention, rename
from zoo.models.whisper_tokenizer import WhisperTokenizer


def whisper_tensors(
    tensors: Mapping[str, Tensor], rules: Sequence[tuple[str, str]], *, source: str
) -> dict[str, Tensor]:
    """Rename by `rules`, then fuse projections: q, k, v of self-attention, k and v of cross-attention.

    Whisper's keys have no bias; a zero takes its place. Raises CheckpointError as `rename`.
    """
    renamed = rename(tensors, rules, source=source)
    renamed = {name.replace("encoder.blocks.", "encoder.transformer.blocks."): t for name, t in renamed.items()}
    for name in [name for name in renamed if name.endswith((".q.bias", ".cross.v.bias"))]:
        keys = name.replace(".q.bias", ".k.bias").replace(".v.bias", ".k.bias")
        renamed.setdefault(keys, torch.zeros_like(renamed[name]))
    fuse_attention(renamed)
    for values in [name for name in renamed if ".cross.v." in name]:
        keys = values.replace(".cross.v.", ".cross.k.")
        if keys in renamed:
            fused = torch.cat([renamed.pop(keys), renamed.pop(values)])  # (2 D, D) or (2 D,)
            renamed[values.replace(".cross.v.", ".cross.kv.")] = fused
    return renamed


def take_output(tensors: dict[str, Tensor], output: str, embedding: str, *, source: str) -> None:
    """Drop the output projection, which is the token embedding once more, or the only one in the file. In place.

    Raises CheckpointError when both are there and differ.
    """
    projection = tensors.pop(output, None)
    if projection is None:
        return
    words = tensors.setdefault(embedding, projection)
    if words.shape != projection.shape or not torch.equal(words, projection.to(words.dtype)):
        raise CheckpointError(f"{source}: {output} differs from the token embedding; zoo's Whisper has tied ones only")


def read_tokenizer(directory: Path) -> WhisperTokenizer | None:
    """From tokenizer.json, else from vocab.json and merges.txt. Raises CheckpointError when one is damaged."""
    if (directory / "tokenizer.json").is_file():
        return WhisperTokenizer.from_file(directory / "tokenizer.json")
    if (directory / "vocab.json").is_file():
        return WhisperTokenizer.from_vocabulary(directory)
    return None


def published_alignment_heads(name: str) -> tuple[tuple[int, int], ...]:
    """The alignment heads of a published size ("tiny.en", "large-v3-turbo"), none for any other name."""
    size = name.removeprefix("whisper-").replace("large-v3-turbo", "turbo")
    heads = {card.name: card.config.get("alignment_heads", ()) for card in CARDS if card.family == "whisper"}
    return tuple(heads.get(f"whisper-{size}", ()))
