"""The model that CTC fine-tuning starts from."""

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
    """The same weights with a CTC head for `vocabulary`, and the dropouts of `tune`. What belongs to pre-training, unit
    head and quantizer, is left behind.

    A model that spells already keeps its head, vocabulary and all, if that has every character; else what it knows of
    the characters goes over to the new head. say: is told which.
    """
    old, wanted = Alphabet(model.config.vocabulary), Alphabet(vocabulary)
    known = {new: number for symbol, new in wanted.indices.items() if (number := _place(old, symbol)) is not None}
    fresh = [symbol for symbol, new in wanted.indices.items() if new not in known]
    kept = not fresh and bool(old.symbols)
    config = replace(
        model.config,
        units=(),
        vocabulary=old.symbols if kept else wanted.symbols,
        dropout=tune.dropout,
        attention_dropout=tune.attention_dropout,
        activation_dropout=tune.activation_dropout,
        layerdrop=tune.layerdrop,
    )
    made = with_weights_of(model, config, ("head.",) if kept else ("head.", "ctc."))
    if kept:
        say(f"the CTC head of init is kept: its {len(old)} symbols hold all {len(wanted)} of the data")
    elif known.keys() - {wanted.boundary}:
        _copy_rows(model, made, {Alphabet.blank: Alphabet.blank, **known})
        say(
            f"the CTC head has rows of init for {len(known)} of {len(wanted.indices)} symbols; fresh: {' '.join(fresh)}"
        )
    elif old.symbols:
        say(
            f"the CTC head of init is replaced: of the characters of the data it knows none ({' '.join(fresh[:8])} ...)"
        )
    return made


def _place(alphabet: Alphabet, symbol: str) -> int | None:
    """Of a symbol; between words some models have a space where others have "|"."""
    return alphabet.boundary if symbol == BOUNDARY else alphabet.indices.get(symbol)


def _copy_rows(old: HuBERT, new: HuBERT, places: Mapping[int, int]) -> None:
    """places: row of the new head -> row of the old one."""
    assert old.ctc is not None and new.ctc is not None
    rows, sources = list(places), list(places.values())
    with torch.no_grad():
        new.ctc.weight[rows] = old.ctc.weight[sources]
        new.ctc.bias[rows] = old.ctc.bias[sources]
