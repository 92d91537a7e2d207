"""MuLan: a joint embedding of music and text (Huang et al. 2022, arXiv 2208.12415).

    10 s of music -> log-mel -> ResNet-50 or AST -> linear -> unit sphere <- linear <- BERT [CLS] <- text

Legend: B batch, S samples, T 10 s windows (the frames of this encoder), M mel frames, N mels or texts, D joint width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.encoder import Frames, Layer
from zoo.errors import ConfigError
from zoo.models.mulan.audio import ASTTower, ResNetTower, SpecAugment
from zoo.models.mulan.text import FILES, TextTower, Tokenizer
from zoo.models.tokenized import TokenizedEncoder, check_ids
from zoo.models.windows import cut_windows, put_back
from zoo.nn.eval_mode import eval_mode
from zoo.nn.frontend import LogMel
from zoo.nn.linear import Linear
from zoo.nn.losses import Temperature
from zoo.text.prompts import embed_prompts
from zoo.validation import check_range

TEXT_BATCH = 64
SHORTEST_WINDOW = 0.1  # s
_COUNTS = (
    *("dim", "mels", "vocab_size", "resnet_width", "resnet_stem_stride", "patch", "patch_stride"),
    *("audio_dim", "audio_layers", "audio_heads", "audio_ffn_dim"),
    *("text_dim", "text_layers", "text_heads", "text_ffn_dim"),
)


@dataclass(frozen=True)
class MulanConfig:
    """The structure of a MuLan, without the tokenizer. Defaults: ResNet-50 on 64 mels, BERT-base.

    tower: "resnet" (resnet_*) or "ast" (audio_*, patch, patch_stride). text_length: maximum number of tokens of a text.
    """

    sample_rate: int = 16_000
    window_seconds: float = 10.0
    dim: int = 128
    tower: str = "resnet"
    mels: int = 64
    resnet_width: int = 64
    resnet_blocks: tuple[int, ...] = (3, 4, 6, 3)
    resnet_stem_stride: int = 1
    audio_dim: int = 768
    audio_layers: int = 12
    audio_heads: int = 12
    audio_ffn_dim: int = 3072
    patch: int = 16
    patch_stride: int = 10
    vocab_size: int = 30_522
    text_dim: int = 768
    text_layers: int = 12
    text_heads: int = 12
    text_ffn_dim: int = 3072
    text_positions: int = 512
    text_length: int = 512
    temperature: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "resnet_blocks", tuple(self.resnet_blocks))
        if self.tower not in ("resnet", "ast"):
            raise ConfigError(f'tower {self.tower!r}: choose "resnet" or "ast"')
        if not 0 < self.temperature <= 1:
            raise ConfigError(f"temperature {self.temperature}: give a value above 0 and at most 1")
        check_range("window_seconds", self.window_seconds, SHORTEST_WINDOW)
        check_range("text_length", self.text_length, 2)  # [CLS] and [SEP]
        for name in _COUNTS:
            check_range(name, getattr(self, name), 1)
        if not self.resnet_blocks or min(self.resnet_blocks) < 1:
            raise ConfigError(
                f"resnet_blocks {self.resnet_blocks}: give at least one stage, and at least one block for each"
            )
        if self.text_length > self.text_positions:
            raise ConfigError(f"text_length {self.text_length} exceeds text_positions {self.text_positions}; lower it")


class MuLan(TokenizedEncoder):
    """Its frames are unit embeddings of consecutive 10 s windows. The only layer is 0.

    The last window of a clip is used if at least half of it is real audio, or if it is the only one. Its missing part
    is masked. `embed` returns the mean over windows, normalized to unit length.
    """

    family = "mulan"
    Config = MulanConfig
    num_layers = 0
    tokenizer: Tokenizer | None = None

    def __init__(self, config: MulanConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.dim = config.sample_rate, config.dim
        self.logmel = LogMel(config.sample_rate, config.mels)
        self.hop = round(config.window_seconds * config.sample_rate)
        self.min_samples = (
            10 * self.logmel.hop + self.logmel.window
        )  # too short for music, but long enough for the towers
        self.mel_frames = self.hop // self.logmel.hop
        self.augment = SpecAugment()
        self.audio = _audio_tower(config, self.mel_frames)
        self.text = TextTower(
            config.vocab_size,
            dim=config.text_dim,
            layers=config.text_layers,
            heads=config.text_heads,
            ffn_dim=config.text_ffn_dim,
            positions=config.text_positions,
        )
        self.audio_projection = Linear(self.audio.dim, config.dim)
        self.text_projection = Linear(config.text_dim, config.dim)
        self.temperature = Temperature(config.temperature)

    @property
    def frame_samples(self) -> int:
        return self.hop + self.logmel.window - self.logmel.hop

    def count_frames(self, samples: int) -> int:
        """The number of windows of a clip: at least one; the last one counts if half of it is real."""
        return 0 if samples < self.min_samples else max(1, (samples + self.hop // 2) // self.hop)

    def forward(self, waves: Tensor, lengths: Tensor, *, layer: Layer = -1, norm_stats: Tensor | None = None) -> Frames:
        """As Encoder.forward: x (B, T, D) of unit vectors."""
        layers = self.resolve_layers(layer)
        counts = torch.tensor([self.count_frames(n) for n in lengths.tolist()])
        real = (lengths - self.logmel.window) // self.logmel.hop + 1  # (B,) mel frames
        x = self.embed_windows(self.logmel(waves), real, counts)  # (B, T, D)
        x = x if isinstance(layer, int) else x.expand(len(layers), *x.shape)
        return Frames(x, counts, self.frame_rate, self.first_time)

    def embed_windows(self, mel: Tensor, lengths: Tensor, counts: Tensor) -> Tensor:
        """mel (B, M, N), lengths (B,) real mel frames, counts (B,) windows -> (B, T, D), zero in padding."""
        windows, remaining, places = cut_windows(mel, lengths, counts, self.mel_frames)
        return put_back(self.embed_spectrogram(windows, remaining), places)

    def embed_spectrogram(
        self,
        mel: Tensor,
        lengths: Tensor | None = None,
        *,
        layout: Literal["time_first", "frequency_first"] = "time_first",
    ) -> Tensor:
        """Unit embeddings (B, D) of log-mel windows: mel (B, M, N) or, frequency first, (B, N, M) of at most 10 s.

        lengths (B,): real mel frames; None = all. The layout is never guessed.
        Raises ConfigError for a shape that does not fit the layout, and for lengths outside of the frames.
        """
        mel = mel if layout == "time_first" else mel.transpose(1, 2)  # (B, M, N)
        if mel.ndim != 3 or mel.shape[2] != self.config.mels or not 0 < mel.shape[1] <= self.mel_frames:
            raise ConfigError(
                f"spectrogram of shape {tuple(mel.shape)}, time first: expected (batch, 1 to {self.mel_frames} frames, "
                f'{self.config.mels} mels); give layout="frequency_first" if it is (batch, mels, frames)'
            )
        if lengths is None:
            lengths = torch.full((len(mel),), mel.shape[1])
        elif lengths.shape != mel.shape[:1] or not bool(((lengths > 0) & (lengths <= mel.shape[1])).all()):
            raise ConfigError(
                f"lengths {lengths.tolist()}: give {len(mel)} numbers of mel frames, 1 to {mel.shape[1]} each"
            )
        mel = F.pad(mel, (0, 0, 0, self.mel_frames - mel.shape[1]))
        states = self.audio(self.augment(mel, lengths), lengths)  # (B, tower width)
        return F.normalize(self.audio_projection(states).float(), dim=-1)

    def forward_text(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """The differentiable text path: token ids (B, T), lengths (B,) -> unit embeddings (B, D)."""
        return F.normalize(self.text_projection(self.text(ids, lengths)).float(), dim=-1)

    def postprocess_pooled(self, pooled: Tensor, pooling: str) -> Tensor:
        return F.normalize(pooled, dim=-1) if pooling == "mean" else pooled

    def embed_text(self, texts: str | Sequence[str]) -> Tensor:
        """Unit embeddings of texts, cut after config.text_length tokens: (N, D), or (D,) for a single string.

        Raises ConfigError for an empty text, and if the model has no tokenizer.
        """
        if self.tokenizer is None:
            raise ConfigError(f"{self.name or 'this MuLan'} has no tokenizer; set model.tokenizer to a Tokenizer")
        text_list = [texts] if isinstance(texts, str) else list(texts)
        for text in text_list:
            if isinstance(text, str) and not text.strip():
                raise ConfigError(f"texts: {text!r} is empty; describe the audio to search for")
        out = torch.zeros(len(text_list), self.dim, dtype=torch.float32)
        for start in range(0, len(text_list), TEXT_BATCH):
            ids, lengths = self.tokenizer.encode(text_list[start : start + TEXT_BATCH], self.config.text_length)
            with eval_mode(self):
                out[start : start + TEXT_BATCH] = self.forward_text(ids.to(self.device), lengths).cpu()
        return out[0] if isinstance(texts, str) else out

    def similarity(self, waves: Any, texts: str | Sequence[str], sample_rate: int | None = None) -> Tensor:
        """Cosines (B, N) of clips and texts; (N,) for a single clip, without N for a single text.

        Raises ConfigError if there are no texts, and for an empty one.
        """
        if isinstance(texts, str):
            return self.embed(waves, sample_rate) @ self.embed_text(texts)
        return self.embed(waves, sample_rate) @ self.embed_text(_text_list("texts", texts)).T

    def classify(
        self,
        waves: Any,
        labels: Sequence[str],
        sample_rate: int | None = None,
        *,
        templates: Sequence[str] = ("{}",),
    ) -> Tensor:
        """Zero-shot probabilities (B, N) of labels: softmax of cosine / temperature; (N,) for a single clip.

        templates: prompts with {} for the label. The embedding of a label is the normalized mean over its prompts.
        Raises ConfigError if labels or templates are not lists, or a template has no {}.
        """
        labels, templates = _text_list("labels", labels), _text_list("templates", templates)
        classes = F.normalize(embed_prompts(labels, templates, self.embed_text).mean(0), dim=-1)  # (N, D)
        return (self.embed(waves, sample_rate) @ classes.T / self.temperature().detach().cpu()).softmax(-1)

    def preprocessing(self) -> dict[str, Any]:
        settings = {k: v for k, v in asdict(self.config).items() if k in ("mels", "window_seconds", "text_length")}
        return super().preprocessing() | {"clip_seconds": settings.pop("window_seconds")} | settings

    def load_assets(self, directory: Path) -> None:
        if any((directory / name).is_file() for name in FILES):
            self.tokenizer = Tokenizer.load(directory)
            check_ids(len(self.tokenizer), self.config.vocab_size, directory)


def _text_list(name: str, texts: Sequence[str]) -> list[str]:
    """The texts as a list. A single string is an error, because it would become a list of letters."""
    if isinstance(texts, str) or not texts:
        raise ConfigError(f"{name}: give a list of strings, not {texts!r}")
    return list(texts)


def _audio_tower(config: MulanConfig, frames: int) -> ResNetTower | ASTTower:
    if config.tower == "resnet":
        stride = (config.resnet_stem_stride, config.resnet_stem_stride)
        return ResNetTower(
            config.mels, config.resnet_width, blocks=config.resnet_blocks, stem_stride=stride, frames=frames
        )
    return ASTTower(
        config.mels,
        dim=config.audio_dim,
        layers=config.audio_layers,
        heads=config.audio_heads,
        ffn_dim=config.audio_ffn_dim,
        patch=config.patch,
        stride=config.patch_stride,
        frames=frames,
    )
