"""The tokenizer of CLAP's text tower: the byte-level BPE of RoBERTa (Liu et al. 2019, arXiv 1907.11692)."""

from __future__ import annotations

from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from zoo.errors import ConfigError
from zoo.text.tokenizer import TextTokenizer

PAD, UNKNOWN, START, END, MASK = "<pad>", "<unk>", "<s>", "</s>", "<mask>"
MERGES = "merges.txt"


class Tokenizer(TextTokenizer):
    """Text to the token ids of a RoBERTa: <s>, byte-level BPE, </s>.

    `load` reads tokenizer.json, or vocab.json with merges.txt beside it.
    """

    kind = "RoBERTa"
    special = (PAD, UNKNOWN, START, END)
    vocabulary = "vocab.json"

    @classmethod
    def from_file(cls, file: Path) -> Tokenizer:
        merges = file.with_name(MERGES)
        if not merges.is_file():
            raise ConfigError(f"no {MERGES} beside it")
        backend = tokenizers.Tokenizer(models.BPE.from_file(str(file), str(merges)))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        start, end = backend.token_to_id(START), backend.token_to_id(END)
        if start is not None and end is not None:
            backend.post_processor = processors.RobertaProcessing((END, end), (START, start), add_prefix_space=False)
        known = [token for token in (START, PAD, END, UNKNOWN) if backend.token_to_id(token) is not None]
        backend.add_special_tokens(known)
        if backend.token_to_id(MASK) is not None:
            backend.add_special_tokens([tokenizers.AddedToken(MASK, lstrip=True, special=True)])
        return cls(backend)
