"""HuBERT built from the same modules in the same places as fairseq's, so that its state_dict has fairseq's names; and
checkpoints around it, with the classes that fairseq pickles.

Legend: B batch, S samples, T frames, D width, C front-end channels.
"""

from __future__ import annotations

import argparse
import enum
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor, nn

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
CONV_LAYERS = "[(48,10,5)] + [(48,3,2)] * 4 + [(48,2,2)] * 2"
MODEL: dict[str, Any] = {
    "_name": "hubert",
    "extractor_mode": "default",
    "encoder_layers": 3,
    "encoder_embed_dim": 64,
    "encoder_ffn_embed_dim": 128,
    "encoder_attention_heads": 4,
    "activation_fn": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.0,
    "encoder_layerdrop": 0.05,
    "dropout_input": 0.1,
    "final_dim": 16,
    "untie_final_proj": True,
    "layer_norm_first": False,
    "conv_feature_layers": CONV_LAYERS,
    "conv_bias": False,
    "logit_temp": 0.1,
    "target_glu": False,
    "feature_grad_mult": 0.1,
    "mask_prob": 0.8,
    "conv_pos": 128,
    "conv_pos_groups": 16,
}
LARGE = {"extractor_mode": "layer_norm", "layer_norm_first": True, "conv_bias": True}
TASK: dict[str, Any] = {"_name": "hubert_pretraining", "labels": ["km"], "sample_rate": 16_000, "normalize": False}


class Transpose(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(-2, -1)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
        return self.out_proj((weights @ v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, dim: int, heads: int, ffn: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(dim, heads)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1, self.fc2 = nn.Linear(dim, ffn), nn.Linear(ffn, dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            x = x + self.self_attn(self.self_attn_layer_norm(x))
            return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        x = self.self_attn_layer_norm(x + self.self_attn(x))
        return self.final_layer_norm(x + self.fc2(F.gelu(self.fc1(x))))


class Hubert(nn.Module):
    """codebooks: number of dictionary entries, special symbols included, of each label set."""

    def __init__(self, cfg: Mapping[str, Any], channels: int, codebooks: tuple[int, ...]) -> None:
        super().__init__()
        self.cfg, dim = cfg, cfg["encoder_embed_dim"]
        self.feature_extractor = nn.Module()
        self.feature_extractor.conv_layers = nn.ModuleList(
            self._conv(i, channels, cfg["extractor_mode"], cfg["conv_bias"]) for i in range(7)
        )
        self.post_extract_proj = nn.Linear(channels, dim) if channels != dim else None
        self.layer_norm = nn.LayerNorm(channels)
        self.mask_emb = nn.Parameter(torch.rand(dim))
        position = nn.Conv1d(dim, dim, cfg["conv_pos"], padding=cfg["conv_pos"] // 2, groups=cfg["conv_pos_groups"])
        self.encoder = nn.Module()
        self.encoder.pos_conv = nn.Sequential(nn.utils.weight_norm(position, dim=2), nn.Identity(), nn.GELU())
        self.encoder.layers = nn.ModuleList(
            Layer(dim, cfg["encoder_attention_heads"], cfg["encoder_ffn_embed_dim"], cfg["layer_norm_first"])
            for _ in range(cfg["encoder_layers"])
        )
        self.encoder.layer_norm = nn.LayerNorm(dim)
        self.final_proj = nn.Linear(dim, cfg["final_dim"] * (len(codebooks) if cfg["untie_final_proj"] else 1))
        self.label_embs_concat = nn.Parameter(torch.rand(sum(codebooks), cfg["final_dim"]))
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.ndim == 1 or name.endswith("weight_g"):
                    parameter.add_(0.2 * torch.randn_like(parameter))

    @staticmethod
    def _conv(i: int, channels: int, mode: str, bias: bool) -> nn.Sequential:
        conv = nn.Conv1d(channels if i else 1, channels, KERNELS[i], STRIDES[i], bias=bias)
        if mode == "layer_norm":
            norm = nn.Sequential(Transpose(), nn.LayerNorm(channels), Transpose())
            return nn.Sequential(conv, nn.Dropout(0.0), norm, nn.GELU())
        if i == 0:
            return nn.Sequential(conv, nn.Dropout(0.0), nn.GroupNorm(channels, channels), nn.GELU())
        return nn.Sequential(conv, nn.Dropout(0.0), nn.GELU())

    @torch.no_grad()
    def states(self, wave: Tensor) -> Tensor:
        """(S,) -> (L + 1, T, D): input of the first layer and output of each, the last after the output norm."""
        x = wave[None, None]  # (1, 1, S)
        for conv in self.feature_extractor.conv_layers:
            x = conv(x)
        x = self.layer_norm(x.transpose(1, 2))
        x = x if self.post_extract_proj is None else self.post_extract_proj(x)  # (1, T, D)
        x = x + F.gelu(self.encoder.pos_conv[0](x.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
        x = x if self.cfg["layer_norm_first"] else self.encoder.layer_norm(x)
        states = [x]
        for layer in self.encoder.layers:
            states.append(layer(states[-1]))
        if self.cfg["layer_norm_first"]:
            states[-1] = self.encoder.layer_norm(states[-1])
        return torch.cat(states)

    @torch.no_grad()
    def unit_logits(self, x: Tensor, codebooks: tuple[int, ...]) -> list[Tensor]:
        """(T, D) -> for each codebook (T, classes), special symbols included."""
        projected = self.final_proj(x)
        if self.cfg["untie_final_proj"]:
            parts = projected.chunk(len(codebooks), dim=-1)
        else:
            parts = [projected] * len(codebooks)
        codes = self.label_embs_concat.split(list(codebooks))
        return [
            F.cosine_similarity(p[:, None], c[None], dim=-1) / self.cfg["logit_temp"]
            for p, c in zip(parts, codes, strict=True)
        ]


class Dictionary:
    """Attributes of fairseq.data.Dictionary."""

    def __init__(self, symbols: list[str]) -> None:
        self.bos_word, self.unk_word, self.pad_word, self.eos_word = "<s>", "<unk>", "<pad>", "</s>"
        self.symbols = ["<s>", "<pad>", "</s>", "<unk>", *symbols]
        self.count = [1] * len(self.symbols)
        self.indices = {symbol: i for i, symbol in enumerate(self.symbols)}
        self.nspecial = 4


class Choices(str, enum.Enum):
    """Like the enumerations of fairseq's configurations: pickled by value."""

    default = "default"
    layer_norm = "layer_norm"


@contextmanager
def fairseq_is_installed() -> Iterator[None]:
    """While the file is written, and only then, its classes live in modules of the real names."""
    homes = {Dictionary: "fairseq.data.dictionary", Choices: "fairseq.models.hubert.hubert"}
    before = {cls: cls.__module__ for cls in homes}
    packages = {home.rsplit(".", k)[0] for home in homes.values() for k in range(4)}
    sys.modules.update({name: ModuleType(name) for name in packages})
    for cls, home in homes.items():
        cls.__module__ = home
        setattr(sys.modules[home], cls.__name__, cls)
    try:
        yield
    finally:
        for cls in homes:
            cls.__module__ = before[cls]
        for name in packages:
            del sys.modules[name]


def write(path: Path, content: Mapping[str, Any], *, new: bool = True) -> Path:
    """torch.save with everything else that fairseq keeps in a checkpoint."""
    rest = {
        "criterion": None,
        "optimizer_history": [
            {"criterion_name": "HubertCriterion", "num_updates": 5, "lr_scheduler_state": {"best": 1.5}}
        ],
        "extra_state": {"epoch": 1, "metrics": argparse.Namespace(default=[]), "val_loss": torch.tensor(1.0)},
        "last_optimizer_state": {
            "state": {0: {"step": 5, "exp_avg": torch.zeros(1000)}},
            "param_groups": [{"lr": 1e-3}],
        },
    }
    with fairseq_is_installed():
        torch.save({**rest, **content}, path, _use_new_zipfile_serialization=new)
    return path


def configuration(form: str, model: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings as versions of fairseq wrote them."""
    model, task = dict(model), dict(task)
    if form == "containers":
        return {"args": None, "cfg": {"_name": None, "common": {"fp16": True}, "model": model, "task": task}}
    if form == "omegaconf":
        return {"args": None, "cfg": OmegaConf.create({"model": model, "task": task, "common": {"seed": 1337}})}
    if form == "enumerations":
        model["extractor_mode"] = Choices(model["extractor_mode"])
        return {"cfg": {"model": argparse.Namespace(**model), "task": OmegaConf.create(task)}}
    assert form == "arguments"
    return {"args": argparse.Namespace(arch="hubert", **{**model, **task})}


FORMS = ("containers", "omegaconf", "enumerations", "arguments")
