"""Training of a byte-level BPE vocabulary, and BPE dropout.

The result is a WhisperTokenizer like the published ones: text, then specials, then a token for each 20 ms up to 30 s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from zoo.models.whisper.tokenizer import EOT, NO_SPEECH, NO_TIMESTAMPS, SOT, TASKS, WhisperTokenizer


def train_tokenizer(texts: Iterable[str], size: int, languages: Sequence[str]) -> WhisperTokenizer:
    """BPE of at most `size` tokens from `texts`, bytes included, and the specials of Whisper.

    languages: codes, one token each; none if English is the only one, as in the published English-only models.
    The same texts give the same tokenizer.
    """
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator((f" {text.strip()}" for text in texts), trainer)
    vocabulary = bpe.get_vocab()
    codes = [f"<|{code}|>" for code in languages] if list(languages) != ["en"] else []
    names = [EOT, SOT, *codes, *TASKS, NO_SPEECH, NO_TIMESTAMPS]
    specials = {name: len(vocabulary) + i for i, name in enumerate(names)}
    merges = [(a, b) for a, b in json.loads(bpe.to_str())["model"]["merges"]]
    return WhisperTokenizer(vocabulary, merges, specials)


def read_tokenizer(path: str | Path) -> WhisperTokenizer:
    """Read the file of VocabularyConfig.file. Raises CheckpointError."""
    path = Path(path).expanduser()
    return WhisperTokenizer.from_tiktoken(path) if path.suffix == ".tiktoken" else WhisperTokenizer.from_file(path)


class BpeEncoder:
    """Text -> ids, with BPE dropout (Provilkov et al. 2020, algorithm 1).

    Each time a merge could be applied, it is left out with probability `dropout`.
    """

    def __init__(self, tokenizer: WhisperTokenizer, dropout: float = 0.0) -> None:
        self.tokenizer, self.dropout = tokenizer, dropout
        self._ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
        self._words = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def __call__(self, text: str, draws: Random) -> list[int]:
        """Ids of a text. `draws` decides which merges are left out."""
        if not self.dropout:
            return self.tokenizer.encode(text)
        return [
            self.tokenizer.vocabulary[part]
            for word, _ in self._words.pre_tokenize_str(text)
            for part in self._split(word, draws)
        ]

    def _split(self, word: str, draws: Random) -> list[str]:
        parts = list(word)
        while True:
            possible = [
                (rank, i) for i, pair in enumerate(pairwise(parts)) if (rank := self._ranks.get(pair)) is not None
            ]
            merges = [merge for merge in possible if draws.random() >= self.dropout]
            if not merges:
                return parts
            _, i = min(merges)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
