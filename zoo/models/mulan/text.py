"""The tokenizer of MuLan's text tower: WordPiece, as in BERT (Devlin et al. 2018, arXiv 1810.04805)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from zoo.errors import ConfigError
from zoo.io.small_files import read_json, read_text
from zoo.models.mulan import tokenizer_file
from zoo.text.tokenizer import TextTokenizer, replace_surrogates
from zoo.text.tokenizer_file import AddedTokenEntry, add_tokens

PAD, UNKNOWN, START, END, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MIN_COUNT = 2  # pairs of word pieces that occur less often are not joined


class Tokenizer(TextTokenizer):
    """Text to the token ids of a BERT: [CLS], WordPiece tokens, [SEP].

    `load` reads tokenizer.json or BERT's vocab.txt. For vocab.txt, tokenizer_config.json in the same directory sets
    lower-casing, accents and Chinese characters; by default it is lower-casing.
    """

    kind = tokenizer_file.KIND
    special = SPECIAL[:4]
    vocabulary = "vocab.txt"

    @classmethod
    def from_vocabulary(
        cls,
        tokens: Sequence[str],
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        split_chinese: bool = True,
        longest_word: int = 100,
        added: Sequence[AddedTokenEntry] | None = None,
    ) -> Tokenizer:
        """A BERT tokenizer with these WordPiece tokens, in the order of their ids.

        strip_accents: None = same as lowercase. split_chinese: each Chinese character is a word.
        longest_word: characters of a word; a longer one is unknown. added: tokens that are found before words are
        split; None = the special tokens.

        Raises ConfigError for a duplicate token, and for a missing special token.
        """
        if len(set(tokens)) < len(tokens):
            raise ConfigError(f"the vocabulary has {next(t for t, n in Counter(tokens).items() if n > 1)!r} twice")
        vocabulary = {token: i for i, token in enumerate(tokens)}
        backend = _backend(vocabulary, lowercase, strip_accents, split_chinese, longest_word)
        ends = [(token, tokens.index(token)) for token in (START, END) if token in tokens]
        if len(ends) == 2:
            backend.post_processor = processors.TemplateProcessing(
                single=f"{START} $A {END}", pair=f"{START} $A {END} $B:1 {END}:1", special_tokens=ends
            )
        if added is None:
            backend.add_special_tokens([token for token in SPECIAL if token in vocabulary])
        else:
            add_tokens(backend, added)
        return cls(backend)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Tokenizer:
        parts = tokenizer_file.parse(content, START, END, UNKNOWN)
        return cls.from_vocabulary(parts.tokens, added=parts.added, **parts.options)

    @classmethod
    def from_file(cls, file: Path) -> Tokenizer:
        tokens = read_text(file).removesuffix("\n").split("\n")
        return cls.from_vocabulary(tokens, **_normalizer_options(file.parent))

    @classmethod
    def train(cls, captions: Iterable[str], vocab_size: int) -> Tokenizer:
        """Train a lower-casing WordPiece tokenizer with at most `vocab_size` tokens. It is a function of the captions.

        Raises ConfigError if the captions have more different characters than `vocab_size`.
        """
        captions = [replace_surrogates(text) for text in captions]
        backend = _backend({}, lowercase=True)
        starts, inner = set[str](), set[str]()
        for text in captions:
            for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text)):
                starts.update(word)
                inner.update(f"##{letter}" for letter in word[1:])
        # The library numbers inner letters in the order of a hash map and breaks ties by these numbers. So all letters
        # are special tokens in training, which fixes their order. In the final tokenizer they are ordinary tokens.
        fixed = [*SPECIAL, *sorted(starts), *sorted(inner)]
        if len(fixed) > vocab_size:
            raise ConfigError(
                f"vocab_size {vocab_size}: the captions need {len(fixed)} tokens for their characters alone; raise it"
            )
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocab_size, min_frequency=MIN_COUNT, special_tokens=fixed, show_progress=False
        )
        backend.train_from_iterator(captions, trainer)
        vocabulary = backend.get_vocab()
        return cls.from_vocabulary(sorted(vocabulary, key=lambda token: vocabulary[token]))


def _backend(
    vocabulary: dict[str, int],
    lowercase: bool,
    strip_accents: bool | None = None,
    split_chinese: bool = True,
    longest_word: int = 100,
) -> tokenizers.Tokenizer:
    model = models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=longest_word)
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=strip_accents, handle_chinese_chars=split_chinese
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def _normalizer_options(directory: Path) -> dict[str, Any]:
    """Normalizer options of tokenizer_config.json, as arguments of `Tokenizer.from_vocabulary`."""
    file = directory / "tokenizer_config.json"
    settings = read_json(file) if file.is_file() else {}
    return {
        "lowercase": settings.get("do_lower_case", True),
        "strip_accents": settings.get("strip_accents"),
        "split_chinese": settings.get("tokenize_chinese_chars", True),
    }
