"""Models of transformers that zoo wraps, with random weights, and what they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from neighbors import randomized
from torch import Tensor

SIZE = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
DECODER = {"decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 64}
MOONSHINE = {"encoder_num_hidden_layers": 2, "decoder_num_hidden_layers": 1, "vocab_size": 50} | {
    f"{part}_num_attention_heads": 4 for part in ("encoder", "decoder")
}


def moonshine() -> tuple[Any, Any]:
    config = transformers.MoonshineConfig(hidden_size=32, intermediate_size=64, **MOONSHINE)
    return transformers.MoonshineModel(config), transformers.Wav2Vec2FeatureExtractor(do_normalize=False)


def data2vec() -> tuple[Any, Any]:
    config = transformers.Data2VecAudioConfig(**SIZE, conv_dim=(48,) * 7)
    return transformers.Data2VecAudioModel(config), transformers.Wav2Vec2FeatureExtractor(do_normalize=True)


def speech2text() -> tuple[Any, Any]:
    options: dict[str, Any] = {"d_model": 32, "encoder_layers": 2, "encoder_ffn_dim": 64, "conv_channels": 32}
    config = transformers.Speech2TextConfig(**options, **DECODER, vocab_size=50)
    return transformers.Speech2TextModel(config), transformers.Speech2TextFeatureExtractor()


WRAPPED: dict[str, Callable[[], tuple[Any, Any]]] = {
    "waveform, 20 ms": data2vec,
    "waveform, squeezed layers": lambda: (
        transformers.SEWModel(transformers.SEWConfig(**SIZE, conv_dim=(16,) * 13, squeeze_factor=2)),
        transformers.Wav2Vec2FeatureExtractor(do_normalize=True),
    ),
    "waveform, decoder": moonshine,
    "spectrogram": lambda: (
        transformers.Wav2Vec2BertModel(transformers.Wav2Vec2BertConfig(**SIZE)),
        transformers.SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80),
    ),
    "spectrogram, decoder": speech2text,
}


def foreign(kind: str) -> tuple[Any, Any]:
    """A small model and its feature extractor."""
    torch.manual_seed(0)
    model, extractor = WRAPPED[kind]()
    return randomized(model), extractor


def expected_states(model: Any, extractor: Any, wave: Tensor) -> Tensor:
    """(L + 1, T, D) of one clip at 16 kHz; the last is last_hidden_state, if it has the shape of the others."""
    inputs = extractor([wave.numpy()], sampling_rate=16_000, return_tensors="pt")
    encoder = model.get_encoder() if model.config.is_encoder_decoder else model
    with torch.no_grad():
        output = encoder(**inputs, output_hidden_states=True)
    states, last = output.hidden_states, output.last_hidden_state
    return torch.cat([*states[:-1], last if last.shape == states[-1].shape else states[-1]])
