"""Models with random weights, and the same models in transformers with the same weights.

Imported where transformers is installed only.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from benchmarks.gpu.models import tokenizer
from zoo.checkpoint import assign
from zoo.importers.towers import ast_tensors
from zoo.loading import load_foreign
from zoo.models.mulan.audio import ASTTower

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()
SDPA: Any = {"attn_implementation": "sdpa"}


def speech_encoder(family: str, config: Any) -> nn.Module:
    """A HuBERT or wav2vec 2.0 of transformers with the sizes of our configuration."""
    sizes = {
        "hidden_size": config.dim,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.ffn_dim,
        "conv_dim": (config.conv_dim,) * 7,
        "num_conv_pos_embedding_groups": config.position_groups,
    }
    if family == "wav2vec2":
        return transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**sizes, **SDPA)).eval()
    return transformers.HubertModel(transformers.HubertConfig(feat_proj_layer_norm=True, **sizes, **SDPA)).eval()


def whisper(config: Any) -> Any:
    """A WhisperForConditionalGeneration with the sizes of our configuration."""
    words = tokenizer()
    return transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(
            vocab_size=config.vocab_size,
            num_mel_bins=config.mels,
            d_model=config.dim,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            encoder_attention_heads=config.heads,
            decoder_attention_heads=config.decoder_heads,
            encoder_ffn_dim=4 * config.dim,
            decoder_ffn_dim=4 * config.dim,
            pad_token_id=words.eot,
            bos_token_id=words.eot,
            eos_token_id=words.eot,
            decoder_start_token_id=words.sot,
            **SDPA,
        )
    ).eval()


def ast(tower: ASTTower, config: Any) -> nn.Module:
    """An ASTModel with the sizes of our configuration; its weights are copied into `tower`."""
    model = transformers.ASTModel(
        transformers.ASTConfig(
            max_length=tower.frames,
            num_mel_bins=config.mels,
            hidden_size=config.audio_dim,
            num_hidden_layers=config.audio_layers,
            num_attention_heads=config.audio_heads,
            intermediate_size=config.audio_ffn_dim,
            patch_size=config.patch,
            time_stride=config.patch_stride,
            frequency_stride=config.patch_stride,
            **SDPA,
        )
    ).eval()
    assign(tower, ast_tensors(model.state_dict(), frames=tower.frames), source="transformers")
    return model


def as_ours(peer: Any) -> Any:
    """Our model with the weights of a HuBERT, wav2vec 2.0 or Whisper of transformers."""
    with tempfile.TemporaryDirectory() as folder:
        peer.save_pretrained(folder)
        Path(folder, "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
        if isinstance(peer, transformers.WhisperForConditionalGeneration):
            tokenizer().save(Path(folder) / "tokenizer.json")
        return load_foreign(folder)


def pool(frames: Tensor, counts: list[int]) -> Tensor:
    """Mean over the real frames of each clip: frames (B, T, D) -> (B, D) float32."""
    return torch.stack([x[:count].float().mean(0) for x, count in zip(frames, counts, strict=True)])
