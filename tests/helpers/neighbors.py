"""Models of transformers with random weights for every family that zoo reads, and what they compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTModel,
    HubertConfig,
    HubertModel,
    PreTrainedModel,
    UniSpeechConfig,
    UniSpeechModel,
    UniSpeechSatConfig,
    UniSpeechSatModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)
from transformers.utils import logging

logging.disable_progress_bar()

SIZE: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "conv_dim": (48,) * 7,
}
LARGE: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


def randomized(model: PreTrainedModel) -> PreTrainedModel:
    """In eval mode, with no parameter at its trivial initial value."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or "original0" in name or "gru_rel_pos" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


@dataclass(frozen=True)
class Reference:
    """A structure of transformers. cls, config: its classes; options: of the small configuration; normalize: of the
    feature extractor.
    """

    cls: type[PreTrainedModel]
    config: Callable[..., Any]
    options: dict[str, Any]
    normalize: bool = False

    def make(self, cls: type[PreTrainedModel] | None = None, **overrides: Any) -> PreTrainedModel:
        torch.manual_seed(0)
        return randomized((cls or self.cls)(self.config(**(SIZE | self.options | overrides))))

    def save(self, model: PreTrainedModel, directory: Path) -> Path:
        """As transformers saves a model with its feature extractor."""
        model.save_pretrained(directory)
        Wav2Vec2FeatureExtractor(do_normalize=self.normalize).save_pretrained(directory)
        return directory

    def hidden_states(self, model: PreTrainedModel, wave: Tensor) -> Tensor:
        """(L + 1, T, D) of one clip at 16 kHz; the last is last_hidden_state, after the output norm."""
        extractor = Wav2Vec2FeatureExtractor(do_normalize=self.normalize)
        values = extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt").input_values
        with torch.no_grad():
            output = model.base_model(values, output_hidden_states=True)
        return torch.cat([*output.hidden_states[:-1], output.last_hidden_state])


@dataclass(frozen=True)
class ASTReference(Reference):
    """AST over windows of a second: the mean of its two tokens in each window."""

    extractor: ClassVar[ASTFeatureExtractor] = ASTFeatureExtractor(num_mel_bins=36, max_length=100, mean=-5.0, std=3.0)

    def make(self, cls: type[PreTrainedModel] | None = None, **overrides: Any) -> PreTrainedModel:
        torch.manual_seed(0)
        size = {name: value for name, value in SIZE.items() if name != "conv_dim"}
        model = randomized((cls or self.cls)(self.config(**(size | self.options | overrides))))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith(("_token", "position_embeddings")):
                    parameter.normal_(std=0.2)
                elif parameter.ndim > 1:
                    parameter.mul_(5)  # so that patches and attention matter in a model as narrow as this
        return model

    def save(self, model: PreTrainedModel, directory: Path) -> Path:
        model.save_pretrained(directory)
        self.extractor.save_pretrained(directory)
        return directory

    def hidden_states(self, model: PreTrainedModel, wave: Tensor) -> Tensor:
        count = max(1, (len(wave) + 8_000) // 16_000)
        windows = [wave[w * 16_000 : (w + 1) * 16_000 + 240].numpy() for w in range(count)]
        values = self.extractor(windows, sampling_rate=16_000, return_tensors="pt").input_values
        with torch.no_grad():
            output = model.base_model(values, output_hidden_states=True)
        return torch.stack([s[:, :2].mean(1) for s in (*output.hidden_states[:-1], output.last_hidden_state)])


REFERENCES: dict[str, Reference] = {
    "HuBERT": Reference(HubertModel, HubertConfig, {}),
    "HuBERT Large": Reference(HubertModel, HubertConfig, LARGE, normalize=True),
    "wav2vec 2.0": Reference(Wav2Vec2Model, Wav2Vec2Config, {}),
    "wav2vec 2.0 Large, XLS-R": Reference(Wav2Vec2Model, Wav2Vec2Config, LARGE, normalize=True),
    "UniSpeech": Reference(UniSpeechModel, UniSpeechConfig, LARGE, normalize=True),
    "UniSpeech-SAT": Reference(UniSpeechSatModel, UniSpeechSatConfig, {}),
    "UniSpeech-SAT Large": Reference(
        UniSpeechSatModel, UniSpeechSatConfig, LARGE | {"conv_bias": False}, normalize=True
    ),
    "AST": ASTReference(ASTModel, ASTConfig, {"num_mel_bins": 36, "max_length": 100}),
    "WavLM": Reference(WavLMModel, WavLMConfig, {}),
    "WavLM Large": Reference(WavLMModel, WavLMConfig, LARGE | {"conv_bias": False}, normalize=True),
}
