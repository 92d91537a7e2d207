"""Encoders that embed audio and text in one space: MuLan and CLAP.

Legend: B batch, T windows (the frames of these encoders), N texts, D joint width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import ConfigError
from zoo.models.tokenized import TokenizedEncoder, check_ids
from zoo.nn.eval_mode import eval_mode
from zoo.nn.losses import Temperature
from zoo.text.prompts import embed_prompts
from zoo.text.tokenizer import TextTokenizer

TEXT_BATCH = 64


class JointEncoder(TokenizedEncoder):
    """Its frames are unit embeddings of consecutive windows of `hop` samples. The only layer is 0.

    The last window of a clip is used if at least half of it is real audio, or if it is the only one. `embed` returns
    the mean over windows, normalized to unit length. A subclass implements `forward` and `forward_text`.

    tokenizer_class: the kind of its tokenizer; text_length: maximum number of tokens of a text.
    """

    tokenizer_class: type[TextTokenizer]
    num_layers = 0
    tokenizer: TextTokenizer | None = None
    temperature: Temperature
    text_length: int

    def count_frames(self, samples: int) -> int:
        """The number of windows of a clip: at least one; the last one counts if half of it is real."""
        return 0 if samples < self.min_samples else max(1, (samples + self.hop // 2) // self.hop)

    def forward_text(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """The differentiable text path: token ids (N, tokens), lengths (N,) -> unit embeddings (N, D)."""
        raise NotImplementedError

    def postprocess_pooled(self, pooled: Tensor, pooling: str) -> Tensor:
        return F.normalize(pooled, dim=-1) if pooling == "mean" else pooled

    def embed_text(self, texts: str | Sequence[str]) -> Tensor:
        """Unit embeddings of texts, cut after `text_length` tokens: (N, D), or (D,) for a single string.

        Raises ConfigError for an empty text, and if the model has no tokenizer.
        """
        if self.tokenizer is None:
            raise ConfigError(
                f"{self.name or f'this {self.family}'} has no tokenizer; set model.tokenizer to a "
                f"{self.tokenizer_class.__module__}.{self.tokenizer_class.__name__}"
            )
        text_list = [texts] if isinstance(texts, str) else list(texts)
        for text in text_list:
            if isinstance(text, str) and not text.strip():
                raise ConfigError(f"texts: {text!r} is empty; describe the audio to search for")
        out = torch.zeros(len(text_list), self.dim, dtype=torch.float32)
        for start in range(0, len(text_list), TEXT_BATCH):
            ids, lengths = self.tokenizer.encode(text_list[start : start + TEXT_BATCH], self.text_length)
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

    def load_assets(self, directory: Path) -> None:
        if self.tokenizer_class.find(directory) is not None:
            self.tokenizer = self.tokenizer_class.load(directory)
            check_ids(len(self.tokenizer), self.config.vocab_size, directory)


def _text_list(name: str, texts: Sequence[str]) -> list[str]:
    """The texts as a list. A single string is an error, because it would become a list of letters."""
    if isinstance(texts, str) or not texts:
        raise ConfigError(f"{name}: give a list of strings, not {texts!r}")
    return list(texts)
