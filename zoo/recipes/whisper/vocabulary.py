"""Byte-level BPE that is learned from a corpus, and BPE dropout.

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
    """BPE of at most `size` tokens over `texts`, bytes included, and the specials of Whisper.

    languages: codes that get a token each; for English alone there is none, as in the published English-only models.
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
    specials = {name: len(vocabulary) + place for place, name in enumerate(names)}
    merges = [(a, b) for a, b in json.loads(bpe.to_str())["model"]["merges"]]
    return WhisperTokenizer(vocabulary, merges, specials)


def read_tokenizer(path: str | Path) -> WhisperTokenizer:
    """From a file, as VocabularyConfig.file names it. Raises CheckpointError."""
    path = Path(path).expanduser()
    return WhisperTokenizer.from_tiktoken(path) if path.suffix == ".tiktoken" else WhisperTokenizer.from_file(path)


class Speller:
    """Text -> ids, with BPE dropout (Provilkov et al. 2020, algorithm 1): each time it could be applied, a merge is
    left out with probability `dropout`.
    """

    def __init__(self, tokenizer: WhisperTokenizer, dropout: float = 0.0) -> None:
        self.tokenizer, self.dropout = tokenizer, dropout
        self._ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
        self._words = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def __call__(self, text: str, draws: Random) -> list[int]:
        """Ids of a text; what is left out depends on `draws` alone."""
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
            known = [(rank, i) for i, pair in enumerate(pairwise(parts)) if (rank := self._ranks.get(pair)) is not None]
            kept = [merge for merge in known if draws.random() >= self.dropout]
            if not kept:
                return parts
            _, place = min(kept)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
