"""The initial model of CTC fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from zoo.models.ctc import Alphabet
from zoo.models.ctc.alphabet import BOUNDARY
from zoo.models.hubert.model import HuBERT
from zoo.recipes.hubert.ctc_config import CtcTuneConfig
from zoo.recipes.hubert.init import with_weights_of


def with_head(
    model: HuBERT, vocabulary: Sequence[str], tune: CtcTuneConfig, say: Callable[[str], None] = lambda line: None
) -> HuBERT:
    """The same weights with a CTC head for `vocabulary` and the dropout of `tune`, without unit head and quantizer.

    If the model already has a CTC head with every symbol of `vocabulary`, it keeps that head and its vocabulary.
    Otherwise it gets a new head; rows of symbols that the old head has are copied. say: gets a line about this choice.
    """
    old, new = Alphabet(model.config.vocabulary), Alphabet(vocabulary)
    old_rows = {row: index for symbol, row in new.indices.items() if (index := _index(old, symbol)) is not None}
    fresh = [symbol for symbol, row in new.indices.items() if row not in old_rows]
    keep_head = not fresh and bool(old.symbols)
    config = replace(
        model.config,
        units=(),
        vocabulary=old.symbols if keep_head else new.symbols,
        dropout=tune.dropout,
        attention_dropout=tune.attention_dropout,
        activation_dropout=tune.activation_dropout,
        layerdrop=tune.layerdrop,
    )
    tuned = with_weights_of(model, config, ("head.",) if keep_head else ("head.", "ctc."))
    if keep_head:
        say(f"the CTC head of init is kept: its {len(old)} symbols include all {len(new)} of the data")
    elif old_rows.keys() - {new.boundary}:
        _copy_rows(model, tuned, {Alphabet.blank: Alphabet.blank, **old_rows})
        say(
            f"the CTC head has rows of init for {len(old_rows)} of {len(new.indices)} symbols; fresh: {' '.join(fresh)}"
        )
    elif old.symbols:
        say(
            "the CTC head of init is replaced: its vocabulary has none of the characters of the data "
            f"({' '.join(fresh[:8])} ...)"
        )
    return tuned


def _index(alphabet: Alphabet, symbol: str) -> int | None:
    """The index of a symbol in the alphabet. The word boundary is a space in some models and "|" in others."""
    return alphabet.boundary if symbol == BOUNDARY else alphabet.indices.get(symbol)


def _copy_rows(old: HuBERT, new: HuBERT, old_rows: Mapping[int, int]) -> None:
    """Copy rows of the CTC head. old_rows: row of the new head -> row of the old one."""
    assert old.ctc is not None and new.ctc is not None
    rows, sources = list(old_rows), list(old_rows.values())
    with torch.no_grad():
        new.ctc.weight[rows] = old.ctc.weight[sources]
        new.ctc.bias[rows] = old.ctc.bias[sources]
