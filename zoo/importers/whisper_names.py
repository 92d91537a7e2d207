"""What the three layouts of Whisper's weights have in common once their names are ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from zoo.errors import CheckpointError
from zoo.importers.source import Foreign
from zoo.importers.tensors import fuse_attention, rename, stack
from zoo.models.whisper.cards import CARDS
from zoo.models.whisper.tokenizer import WhisperTokenizer


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
    fuse_attention(renamed, source=source)
    for values in [name for name in renamed if ".cross.v." in name]:
        keys = values.replace(".cross.v.", ".cross.k.")
        if keys in renamed:
            fused = stack(renamed, (keys, values), source=source)  # (2 D, D) or (2 D,)
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


def fitted(found: Foreign, tokenizer: WhisperTokenizer | None, *, source: str) -> Foreign:
    """The model with its tokenizer, all of which belong together.

    Added tokens that stand behind the timestamps are moved to the end of the text, as `WhisperTokenizer` has them.
    Alignment heads of another decoder, such as a distilled model has from its teacher, are left out, and noted.
    Raises CheckpointError when the tokenizer has more ids than the weights rows.
    """
    config, tensors, notes = dict(found.config), dict(found.tensors), dict(found.notes)
    layers, heads = config["decoder_layers"], config["decoder_heads"]
    if any(not (0 <= layer < layers and 0 <= head < heads) for layer, head in config["alignment_heads"]):
        notes["left_out"] = [f"alignment_heads {config['alignment_heads']}: the decoder has {layers} layers of {heads}"]
        config["alignment_heads"] = ()
    words = tensors.get("decoder.tokens.weight")
    if tokenizer is not None and words is not None:
        size = max([len(tokenizer), *(i + 1 for i in tokenizer.moved)])
        if size > len(words):
            raise CheckpointError(
                f"{source}: the tokenizer has {size} ids, timestamps included, the weights {len(words)} rows for them; "
                f"put the tokenizer beside the weights that they were made with"
            )
        if tokenizer.moved:
            tensors["decoder.tokens.weight"] = words[_order(tokenizer, len(words))]
            notes["moved_tokens"] = list(tokenizer.added)
    return replace(found, config=config, tensors=tensors, notes=notes, tokenizer=tokenizer)


def _order(tokenizer: WhisperTokenizer, size: int) -> list[int]:
    """The row of the file for each of ours: text, added tokens, specials, timestamps, rows without a token."""
    begin = tokenizer.eot - len(tokenizer.moved)
    moved = set(tokenizer.moved)
    return [*range(begin), *tokenizer.moved, *(i for i in range(begin, size) if i not in moved)]


def published_alignment_heads(name: str) -> tuple[tuple[int, int], ...]:
    """The alignment heads of a published size ("tiny.en", "large-v3-turbo"), none for any other name."""
    size = name.removeprefix("whisper-").replace("large-v3-turbo", "turbo")
    heads = {card.name: card.config.get("alignment_heads", ()) for card in CARDS}
    return tuple(heads.get(f"whisper-{size}", ()))
