"""The model that CTC fine-tuning starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zoo.models.hubert import HuBERT
from zoo.recipes.hubert.ctc_config import TuneConfig
from zoo.recipes.hubert.init import with_weights_of


def with_head(model: HuBERT, vocabulary: Sequence[str], tune: TuneConfig) -> HuBERT:
    """The same weights with a CTC head for `vocabulary`, a fresh one unless the model has just that, and the dropouts
    of `tune`. What belongs to pre-training, unit head and quantizer, is left behind.
    """
    config = replace(
        model.config,
        units=(),
        vocabulary=tuple(vocabulary),
        dropout=tune.dropout,
        attention_dropout=tune.attention_dropout,
        activation_dropout=tune.activation_dropout,
        layerdrop=tune.layerdrop,
    )
    fresh = ("head.",) if config.vocabulary == model.config.vocabulary else ("head.", "ctc.")
    return with_weights_of(model, config, fresh)
