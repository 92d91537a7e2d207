"""Steps that the importers of all three layouts of Whisper's weights share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from zoo.errors import CheckpointError
from zoo.importers.source import Foreign, fuse_attention, rename, stack
from zoo.io.text import shorten
from zoo.models.whisper.cards import CARDS
from zoo.models.whisper.tokenizer import WhisperTokenizer


def whisper_tensors(
    tensors: Mapping[str, Tensor], rules: Sequence[tuple[str, str]], *, source: str
) -> dict[str, Tensor]:
    """Rename tensors by `rules`, then fuse projections: q, k, v of self-attention, k and v of cross-attention.

    Whisper's keys have no bias; a zero bias is added. Raises CheckpointError as `rename`.
    """
    renamed = rename(tensors, rules, source=source)
    renamed = {name.replace("encoder.blocks.", "encoder.transformer.blocks."): t for name, t in renamed.items()}
    for name in [name for name in renamed if name.endswith((".q.bias", ".cross.v.bias"))]:
        keys = name.replace(".q.bias", ".k.bias").replace(".v.bias", ".k.bias")
        renamed.setdefault(keys, torch.zeros_like(renamed[name]))
    fuse_attention(renamed, source=source)
    for values in [name for name in renamed if ".cross.v." in name]:
        keys = values.replace(".cross.v.", ".cross.k.")
        if keys in renamed:
            fused = stack(renamed, (keys, values), source=source)  # (2 D, D) or (2 D,)
            renamed[values.replace(".cross.v.", ".cross.kv.")] = fused
    return renamed


def drop_output(tensors: dict[str, Tensor], output: str, embedding: str, *, source: str) -> None:
    """Drop the output projection, which equals the token embedding. In place.

    If the file has no token embedding, the projection becomes the embedding. Raises CheckpointError if both are in the
    file and differ.
    """
    projection = tensors.pop(output, None)
    if projection is None:
        return
    words = tensors.setdefault(embedding, projection)
    if words.shape != projection.shape or not torch.equal(words, projection.to(words.dtype)):
        raise CheckpointError(f"{source}: {output} differs from the token embedding; zoo's Whisper has tied ones only")


def with_tokenizer(foreign: Foreign, tokenizer: WhisperTokenizer | None, *, source: str) -> Foreign:
    """The model with its tokenizer, after a check that both fit together.

    Added tokens after the timestamps are moved to the end of the text, as in `WhisperTokenizer`. Alignment heads that
    the decoder does not have (a distilled model may list those of its teacher) are left out, with a note.
    Raises CheckpointError if the tokenizer has more ids than the weights have rows.
    """
    config, tensors, notes = dict(foreign.config), dict(foreign.tensors), dict(foreign.notes)
    layers, heads = config["decoder_layers"], config["decoder_heads"]
    if any(not (0 <= layer < layers and 0 <= head < heads) for layer, head in config["alignment_heads"]):
        notes["left_out"] = [
            f"alignment_heads {shorten(config['alignment_heads'])}: the decoder has {layers} layers of {heads}"
        ]
        config["alignment_heads"] = ()
    words = tensors.get("decoder.tokens.weight")
    if tokenizer is not None and words is not None:
        size = max([len(tokenizer), *(i + 1 for i in tokenizer.moved)])
        if size > len(words):
            raise CheckpointError(
                f"{source}: the tokenizer has {size} ids, timestamps included, but the weights have {len(words)} rows; "
                f"put the tokenizer of these weights beside them"
            )
        if tokenizer.moved:
            tensors["decoder.tokens.weight"] = words[_order(tokenizer, len(words))]
            notes["moved_tokens"] = list(tokenizer.added)
    return replace(foreign, config=config, tensors=tensors, notes=notes, tokenizer=tokenizer)


def _order(tokenizer: WhisperTokenizer, size: int) -> list[int]:
    """The row in the file for each of our rows: text, added tokens, specials, timestamps, rows without a token."""
    begin = tokenizer.eot - len(tokenizer.moved)
    moved = set(tokenizer.moved)
    return [*range(begin), *tokenizer.moved, *(i for i in range(begin, size) if i not in moved)]


def published_alignment_heads(name: str) -> tuple[tuple[int, int], ...]:
    """The alignment heads of a published size such as "tiny.en" or "large-v3-turbo"; () for any other name."""
    size = name.removeprefix("whisper-").replace("large-v3-turbo", "turbo")
    heads = {card.name: card.config.get("alignment_heads", ()) for card in CARDS}
    return tuple(heads.get(f"whisper-{size}", ()))
