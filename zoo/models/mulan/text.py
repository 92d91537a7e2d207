"""The text tower of MuLan: BERT (Devlin et al. 2018, arXiv 1810.04805) and its WordPiece tokenizer.

Legend: B batch, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from zoo.errors import CheckpointError, ConfigError
from zoo.io.atomic import replacing_file
from zoo.io.small_files import read_json, read_text
from zoo.io.text import shorten
from zoo.models.mulan import tokenizer_file
from zoo.models.mulan.tokenizer_file import AddedTokenEntry
from zoo.nn.masking import padding_mask
from zoo.nn.transformer import Transformer

PAD, UNKNOWN, START, END, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
FILES = ("tokenizer.json", "vocab.txt")
BERT_WIDTH, BERT_STD = 768, 0.02
"""Narrower towers start with larger weights, so that words change [CLS] as much as they do at BERT's width. With BERT's
own weights the effect is too small, and contrastive training from scratch learns very slowly at first."""
MIN_COUNT = 2  # pairs of word pieces that occur less often are not joined


class TextTower(nn.Module):
    """Post-norm transformer over words + positions + segment; its output is the last state of the first token, [CLS].

    A text is one segment, so a single vector replaces BERT's table of two segment embeddings.
    """

    def __init__(
        self,
        vocab: int,
        dim: int = 768,
        layers: int = 12,
        heads: int = 12,
        ffn_dim: int = 3072,
        positions: int = 512,
        *,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError(f"dim {dim} is not a multiple of heads {heads}")
        self.dim = dim
        self.words = nn.Embedding(vocab, dim)
        self.positions = nn.Embedding(positions, dim)
        self.segment = nn.Parameter(torch.empty(dim).normal_(std=0.02))
        self.transformer = Transformer(
            layers,
            dim,
            heads,
            ffn_dim,
            norm_first=False,
            dropout=dropout,
            attention_dropout=attention_dropout,
            eps=1e-12,
        )
        self.apply(partial(_init_weights, std=BERT_STD * max(1.0, BERT_WIDTH / dim) ** 0.5))

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """ids (B, T), lengths (B,) >= 1 real tokens -> (B, D). Values in padding have no effect.

        Raises ConfigError for texts with more tokens than there are positions.
        """
        size = ids.shape[1]
        if size > self.positions.num_embeddings:
            raise ConfigError(
                f"texts of {size} tokens, but the tower has {self.positions.num_embeddings} positions; "
                f"cut them with Tokenizer.encode(texts, {self.positions.num_embeddings})"
            )
        mask = padding_mask(lengths, ids)  # (B, T)
        if mask is not None:
            ids = torch.where(mask, ids, 0)
        x = self.words(ids) + self.positions.weight[:size] + self.segment  # (B, T, D)
        (x,) = self.transformer(x, mask, [len(self.transformer.blocks)], first=1)
        return x[:, 0]  # (B, D)


class Tokenizer:
    """Text to the token ids of a BERT: [CLS], WordPiece tokens, [SEP]."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        """backend: with the template [CLS] text [SEP]. Its padding and truncation are switched off.

        Raises ConfigError if it has no such template, or if a special token is missing.
        """
        missing = [token for token in SPECIAL[:4] if backend.token_to_id(token) is None]
        if missing:
            raise ConfigError(f"not a BERT tokenizer: its vocabulary lacks {', '.join(missing)}")
        backend.no_padding()
        backend.no_truncation()
        if backend.encode("").tokens != [START, END]:
            raise ConfigError(f"not a BERT tokenizer: its output must be {START} ... {END}")
        self._backend = backend
        self._pad = backend.token_to_id(PAD)

    def __len__(self) -> int:
        """The number of embeddings that a tower needs: the highest id plus one."""
        return max(self._backend.get_vocab().values()) + 1

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
            _add_tokens(backend, added)
        return cls(backend)

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Load tokenizer.json or BERT's vocab.txt, from a file or its directory.

        For vocab.txt, tokenizer_config.json in the same directory sets lower-casing, accents and Chinese characters; by
        default it is lower-casing. Raises CheckpointError for a file that is missing, damaged, or not a BERT tokenizer.
        """
        path = Path(path)
        file = next((path / name for name in FILES if (path / name).is_file()), path) if path.is_dir() else path
        if not file.is_file():
            raise CheckpointError(f"{path}: no tokenizer there; expected {' or '.join(FILES)}")
        try:
            if file.suffix == ".json":
                parts = tokenizer_file.parse(read_json(file), START, END, UNKNOWN)
                return cls.from_vocabulary(parts.tokens, added=parts.added, **parts.options)
            tokens = read_text(file).removesuffix("\n").split("\n")
            return cls.from_vocabulary(tokens, **_normalizer_options(file.parent))
        except CheckpointError:
            raise
        except ConfigError as error:
            raise CheckpointError(f"{file}: {error}") from error
        except Exception as error:  # the tokenizers library raises bare Exception
            raise CheckpointError(f"{file}: cannot be read as a tokenizer ({error})") from error

    @classmethod
    def train(cls, captions: Iterable[str], vocab_size: int) -> Tokenizer:
        """Train a lower-casing WordPiece tokenizer with at most `vocab_size` tokens. It is a function of the captions.

        Raises ConfigError if the captions have more different characters than `vocab_size`.
        """
        captions = [_replace_surrogates(text) for text in captions]
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

    def save(self, path: str | Path) -> None:
        """Write tokenizer.json, for `load` and the Hugging Face libraries."""
        with replacing_file(Path(path), shared=True) as temporary:
            temporary.write_text(self._backend.to_str(pretty=True), encoding="utf-8")

    def fingerprint(self) -> str:
        """16 hexadecimal digits of a SHA-256 over vocabulary and rules."""
        return hashlib.sha256(self._backend.to_str().encode()).hexdigest()[:16]

    def encode(self, texts: Sequence[str], size: int) -> tuple[Tensor, Tensor]:
        """Token ids (B, T) int64, padded, and lengths (B,) int64. Texts are cut to `size` tokens, [SEP] included.

        Raises ConfigError if `texts` is not a list of strings, or is empty, and for a size below 2.
        """
        if isinstance(texts, str) or not texts or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f"texts: give a list of strings, not {texts!r:.60}")
        if size < 2:
            raise ConfigError(f"size {size}: give at least 2, for {START} and {END}")
        encoded = [
            encoding.ids for encoding in self._backend.encode_batch([_replace_surrogates(text) for text in texts])
        ]
        rows = [ids if len(ids) <= size else [*ids[: size - 1], ids[-1]] for ids in encoded]
        lengths = torch.tensor([len(row) for row in rows])
        width = int(lengths.max())
        return torch.tensor([row + [self._pad] * (width - len(row)) for row in rows]), lengths  # (B, T), (B,)


def _replace_surrogates(text: str) -> str:
    """Replace lone surrogates, which JSON and a command line can contain but the tokenizer cannot read, by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


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


def _add_tokens(backend: tokenizers.Tokenizer, added: Sequence[AddedTokenEntry]) -> None:
    """Add tokens in the order of their ids. Raises ConfigError for one that gets another id."""
    for entry in added:
        token = tokenizers.AddedToken(entry.content, **entry.flags)
        if entry.flags["special"]:
            backend.add_special_tokens([token])
        else:
            backend.add_tokens([token])
        if backend.token_to_id(entry.content) != entry.id:
            raise ConfigError(f"the added token {shorten(entry.content)} cannot have the id {entry.id}")


def _normalizer_options(directory: Path) -> dict[str, Any]:
    """Normalizer options of tokenizer_config.json, as arguments of `Tokenizer.from_vocabulary`."""
    file = directory / "tokenizer_config.json"
    settings = read_json(file) if file.is_file() else {}
    return {
        "lowercase": settings.get("do_lower_case", True),
        "strip_accents": settings.get("strip_accents"),
        "split_chinese": settings.get("tokenize_chinese_chars", True),
    }


def _init_weights(module: nn.Module, std: float) -> None:
    """BERT's initial values: normal, biases 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
