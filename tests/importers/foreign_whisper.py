"""Whispers of transformers with random weights, and the same weights as openai-whisper and CTranslate2 store them."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.utils import logging
from whisper_tokens import tokenizer

from zoo.models.whisper.tokenizer import WhisperTokenizer

logging.disable_progress_bar()

HEADS = [[0, 1], [1, 0]]
TIED = {"decoder/projection/weight": "decoder/embeddings/weight"}
KINDS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "large-v3": {"num_mel_bins": 128, "encoder_layers": 3, "encoder_attention_heads": 4},
    "turbo": {"num_mel_bins": 128, "encoder_layers": 3, "decoder_layers": 2, "decoder_attention_heads": 8},
}


def whisper(kind: str = "tiny", languages: int = 3, **overrides: Any) -> WhisperForConditionalGeneration:
    """A small model in which no parameter has its trivial initial value."""
    size = {
        "d_model": 64,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 256,
        "decoder_ffn_dim": 256,
        "vocab_size": 268 + 8 + 1501 + languages,
        "max_target_positions": 64,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "decoder_start_token_id": 1,
    }
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(WhisperConfig(**{**size, **KINDS[kind], **overrides})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif "proj.weight" in name or "fc" in name:
                parameter.mul_(4)
    return model


def saved(model: WhisperForConditionalGeneration, directory: Path, **options: Any) -> Path:
    """Save as transformers does, with the tokenizer of the tests beside it."""
    model.generation_config = GenerationConfig(alignment_heads=HEADS)
    model.save_pretrained(directory, **options)
    tokenizer(directory).save(directory / "tokenizer.json")
    (directory / "multilingual.tiktoken").unlink()
    return directory


def features(model: WhisperForConditionalGeneration, wave: Tensor) -> Tensor:
    """(1, N, M) as transformers computes them from one clip, padded to 30 s."""
    extractor = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
    return extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt").input_features


def openai_state(model: WhisperForConditionalGeneration) -> dict[str, Tensor]:
    """The tensors under openai-whisper's names."""
    names = {
        "embed_positions.weight": "positional_embedding",
        "embed_tokens.": "token_embedding.",
        "encoder.layer_norm.": "encoder.ln_post.",
        "decoder.layer_norm.": "decoder.ln.",
        "layers.": "blocks.",
        "self_attn_layer_norm": "attn_ln",
        "encoder_attn_layer_norm": "cross_attn_ln",
        "final_layer_norm": "mlp_ln",
        "self_attn": "attn",
        "encoder_attn": "cross_attn",
        "q_proj": "query",
        "k_proj": "key",
        "v_proj": "value",
        "out_proj": "out",
        "fc1": "mlp.0",
        "fc2": "mlp.2",
    }
    state = {}
    for name, tensor in model.model.state_dict().items():
        for theirs, openai in names.items():
            name = name.replace(theirs, openai)
        state[name] = tensor.clone()
    return state


def openai_file(model: WhisperForConditionalGeneration, path: Path, **extra: Tensor) -> Path:
    c = model.config
    dims = {
        "n_mels": c.num_mel_bins,
        "n_vocab": c.vocab_size,
        "n_audio_ctx": c.max_source_positions,
        "n_audio_state": c.d_model,
        "n_audio_head": c.encoder_attention_heads,
        "n_audio_layer": c.encoder_layers,
        "n_text_ctx": c.max_target_positions,
        "n_text_state": c.d_model,
        "n_text_head": c.decoder_attention_heads,
        "n_text_layer": c.decoder_layers,
    }
    torch.save({"dims": dims, "model_state_dict": openai_state(model) | extra}, path)
    return path


def ctranslate2_variables(model: WhisperForConditionalGeneration) -> dict[str, Tensor]:
    """The tensors under CTranslate2's names, projections fused and settings added."""
    fused: dict[str, list[Tensor]] = {}
    for name, tensor in model.model.state_dict().items():
        name = (
            re.sub(r"layers\.(\d+)\.", r"layer_\1/", name)
            .replace("encoder.", "encoder/")
            .replace("decoder.", "decoder/")
        )
        name = name.replace("self_attn_layer_norm.", "self_attention/layer_norm/")
        name = name.replace("encoder_attn_layer_norm.", "attention/layer_norm/")
        name = name.replace("final_layer_norm.", "ffn/layer_norm/").replace("layer_norm.", "layer_norm/")
        name = name.replace("layer_norm/weight", "layer_norm/gamma").replace("layer_norm/bias", "layer_norm/beta")
        name = name.replace("self_attn.out_proj.", "self_attention/linear_1/")
        name = name.replace("encoder_attn.q_proj.", "attention/linear_0/")
        name = name.replace("encoder_attn.out_proj.", "attention/linear_2/")
        name = name.replace("fc1.", "ffn/linear_0/").replace("fc2.", "ffn/linear_1/")
        name = name.replace("embed_tokens.", "embeddings/").replace("conv1.", "conv1/").replace("conv2.", "conv2/")
        name = name.replace("embed_positions.weight", "position_encodings/encodings")
        part = re.search(r"(self_attn|encoder_attn)\.([qkv])_proj\.", name)
        if part:
            target = "self_attention/linear_0/" if part[1] == "self_attn" else "attention/linear_1/"
            place = "qkv".index(part[2]) if part[1] == "self_attn" else "kv".index(part[2])
            slots = fused.setdefault(name.replace(part[0], target), [torch.zeros(0)] * (3 if "self" in target else 2))
            slots[place] = tensor
        else:
            fused[name] = [tensor]
    width = model.config.d_model
    for name, parts in fused.items():
        fused[name] = [p if len(p) else torch.zeros(width) for p in parts]  # keys have no bias
    variables = {name: torch.cat(parts) for name, parts in fused.items()}
    for side, heads in (("encoder", "encoder_attention_heads"), ("decoder", "decoder_attention_heads")):
        variables[f"{side}/num_heads"] = torch.tensor(getattr(model.config, heads), dtype=torch.int16)
    for flag, value in {"pre_norm": 1, "alibi": 0, "alibi_use_positive_positions": 0, "scale_alibi": 0}.items():
        variables[f"decoder/{flag}"] = torch.tensor(value, dtype=torch.int8)
    variables["decoder/alignment_layer"] = torch.tensor(-1, dtype=torch.int16)
    return variables


def quantized(variables: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """As CTranslate2 stores them: matrices in int8 or int16 beside what they were multiplied by, or all in a float."""
    dtypes = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    out: dict[str, Tensor] = {}
    for name, value in variables.items():
        if not value.is_floating_point():
            out[name] = value
        elif kind in dtypes:
            out[name] = value.to(dtypes[kind])
        elif value.ndim == 1 or "position_encodings" in name:
            out[name] = value
        elif kind == "int8":
            scale = 127 / value.flatten(1).abs().amax(1)  # (rows,)
            rows = scale.reshape(-1, *[1] * (value.ndim - 1))
            out |= {name: (value * rows).round().to(torch.int8), f"{name}_scale": scale}
        else:
            scale = torch.tensor(2**10 / float(value.abs().max()))
            out |= {name: (value * scale).round().to(torch.int16), f"{name}_scale": scale}
    return out


def ctranslate2_directory(
    model: WhisperForConditionalGeneration,
    directory: Path,
    kind: str = "float32",
    *,
    version: int = 6,
    aliases: dict[str, str] = TIED,
    **extra: Tensor,
) -> Path:
    variables = quantized(ctranslate2_variables(model), kind) | extra
    codes = {torch.float32: 0, torch.int8: 1, torch.int16: 2, torch.int32: 3, torch.float16: 4, torch.bfloat16: 5}
    out = bytearray(struct.pack("<I", version) + _string("WhisperSpec") + struct.pack("<II", 3, len(variables)))
    for name, value in sorted(variables.items()):
        data = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        out += _string(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        out += struct.pack("<BI", codes[value.dtype], len(data)) + data
    out += struct.pack("<I", len(aliases)) + b"".join(_string(name) for pair in aliases.items() for name in pair)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.bin").write_bytes(out)
    config = {"alignment_heads": HEADS, "lang_ids": [270, 271, 272], "suppress_ids": [], "suppress_ids_begin": []}
    (directory / "config.json").write_text(json.dumps(config))
    made: WhisperTokenizer = tokenizer(directory)
    made.save(directory / "tokenizer.json")
    return directory


def _string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"
