"""HuBERTs of transformers with random weights, and what they compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import HubertConfig, HubertForCTC, HubertModel, PreTrainedModel, Wav2Vec2FeatureExtractor
from transformers.utils import logging

logging.disable_progress_bar()

SIZE: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "conv_dim": (48,) * 7,
}
KINDS: dict[str, dict[str, Any]] = {
    "base": {},
    "large": {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
}


def hubert(kind: str, cls: type[PreTrainedModel] = HubertModel, **overrides: Any) -> PreTrainedModel:
    """A small model of base or large type in which no parameter has its trivial initial value."""
    torch.manual_seed(0)
    model = cls(HubertConfig(**{**SIZE, **KINDS[kind], **overrides})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or "original0" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def saved(model: PreTrainedModel, directory: Path, *, normalize: bool | None = False, **options: Any) -> Path:
    """Save as transformers does, with a feature extractor's configuration unless `normalize` is None."""
    model.save_pretrained(directory, **options)
    if normalize is not None:
        Wav2Vec2FeatureExtractor(do_normalize=normalize).save_pretrained(directory)
    return directory


def hidden_states(model: PreTrainedModel, wave: Tensor, *, normalize: bool = False) -> Tensor:
    """(L + 1, T, D) of one clip at 16 kHz, through transformers' own feature extractor.

    The last layer of a pre-norm model is taken after the output norm: last_hidden_state, which transformers < 5 repeats
    at the end of hidden_states, where transformers 5 leaves the norm out.
    """
    extractor = Wav2Vec2FeatureExtractor(do_normalize=normalize)
    values = extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt").input_values
    with torch.no_grad():
        output = model.base_model(values, output_hidden_states=True)
    return torch.cat([*output.hidden_states[:-1], output.last_hidden_state])


__all__ = ["KINDS", "SIZE", "HubertForCTC", "HubertModel", "hidden_states", "hubert", "saved"]
