"""A HuBERT of two blocks without a head, words of three letters to transcribe, and fine-tuning without masks."""

from __future__ import annotations

from typing import Any

import torch
from small import SMALL

import zoo
from zoo.models.hubert.model import HuBERT
from zoo.recipes.hubert.config import MaskConfig
from zoo.recipes.hubert.ctc_config import CtcTuneConfig

TINY = SMALL["hubert"] | {"frontend": "logmel", "layers": 2, "norm_first": True}
NO_MASKS = CtcTuneConfig(
    freeze_steps=0,
    dropout=0.0,
    activation_dropout=0.0,
    time_mask=MaskConfig(0.0, 5, 0),
    channel_mask=MaskConfig(0.0, 8, 0),
)
WORDS = ("ba", "abba", "cab", "ab cab", "ba ba")


def fresh(**overrides: Any) -> HuBERT:
    torch.manual_seed(0)
    model = zoo.create("hubert-base", **TINY | overrides)
    assert isinstance(model, HuBERT)
    return model
