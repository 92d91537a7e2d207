"""Tokenizers of text encoders, on top of the tokenizers library.

Legend: B batch, T tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import tokenizers
import torch
from torch import Tensor

from zoo.errors import CheckpointError, ConfigError
from zoo.io.atomic import replacing_file
from zoo.io.small_files import read_json

JSON = "tokenizer.json"
Kind = TypeVar("Kind", bound="TextTokenizer")


class TextTokenizer:
    """Text to token ids: the start token, the tokens of the text, the end token.

    kind: "BERT" or "RoBERTa", for messages. special: the tokens for padding, unknown text, start and end.
    vocabulary: the file of older tokenizers, which `load` reads too.
    """

    kind: ClassVar[str]
    special: ClassVar[tuple[str, str, str, str]]
    vocabulary: ClassVar[str]

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        """backend: with the template start, text, end. Its padding and truncation are switched off.

        Raises ConfigError if it has no such template, or if a special token is missing.
        """
        pad, _, start, end = self.special
        missing = [token for token in self.special if backend.token_to_id(token) is None]
        if missing:
            raise ConfigError(f"not a {self.kind} tokenizer: its vocabulary lacks {', '.join(missing)}")
        backend.no_padding()
        backend.no_truncation()
        if backend.encode("").tokens != [start, end]:
            raise ConfigError(f"not a {self.kind} tokenizer: its output must be {start} ... {end}")
        self._backend = backend
        self.pad_id = backend.get_vocab()[pad]

    def __len__(self) -> int:
        """The number of embeddings that a tower needs: the highest id plus one."""
        return max(self._backend.get_vocab().values()) + 1

    @classmethod
    def find(cls, directory: Path) -> Path | None:
        """The file of a tokenizer in a directory, or None."""
        files = [directory / JSON, directory / cls.vocabulary]
        return next((file for file in files if file.is_file()), None)

    @classmethod
    def load(cls: type[Kind], path: str | Path) -> Kind:
        """Load tokenizer.json or the older vocabulary file, from a file or its directory.

        Raises CheckpointError for a file that is missing, damaged, or of another kind.
        """
        path = Path(path)
        file = cls.find(path) if path.is_dir() else path
        if file is None or not file.is_file():
            raise CheckpointError(f"{path}: no tokenizer there; expected {JSON} or {cls.vocabulary}")
        try:
            if file.suffix == ".json" and file.name != cls.vocabulary:
                return cls.from_json(read_json(file))
            return cls.from_file(file)
        except CheckpointError:
            raise
        except ConfigError as error:
            raise CheckpointError(f"{file}: {error}") from error
        except Exception as error:  # the tokenizers library raises bare Exception
            raise CheckpointError(f"{file}: cannot be read as a tokenizer ({error})") from error

    @classmethod
    def from_json(cls: type[Kind], content: Mapping[str, Any]) -> Kind:
        """Make the tokenizer of the content of a tokenizer.json. Raises ConfigError for one of another kind."""
        raise NotImplementedError

    @classmethod
    def from_file(cls: type[Kind], file: Path) -> Kind:
        """Make the tokenizer of an older vocabulary file."""
        raise NotImplementedError

    def save(self, path: str | Path) -> None:
        """Write tokenizer.json, for `load` and the Hugging Face libraries."""
        with replacing_file(Path(path), shared=True) as temporary:
            temporary.write_text(self._backend.to_str(pretty=True), encoding="utf-8")

    def fingerprint(self) -> str:
        """16 hexadecimal digits of a SHA-256 over vocabulary and rules."""
        return hashlib.sha256(self._backend.to_str().encode()).hexdigest()[:16]

    def encode(self, texts: Sequence[str], size: int) -> tuple[Tensor, Tensor]:
        """Token ids (B, T) int64, padded, and lengths (B,) int64. Texts are cut to `size` tokens, the end included.

        Raises ConfigError if `texts` is not a list of strings, or is empty, and for a size below 2.
        """
        if isinstance(texts, str) or not texts or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f"texts: give a list of strings, not {texts!r:.60}")
        if size < 2:
            raise ConfigError(f"size {size}: give at least 2, for {self.special[2]} and {self.special[3]}")
        encoded = [
            encoding.ids for encoding in self._backend.encode_batch([replace_surrogates(text) for text in texts])
        ]
        rows = [ids if len(ids) <= size else [*ids[: size - 1], ids[-1]] for ids in encoded]
        lengths = torch.tensor([len(row) for row in rows])
        width = int(lengths.max())
        return torch.tensor([row + [self.pad_id] * (width - len(row)) for row in rows]), lengths  # (B, T), (B,)


def replace_surrogates(text: str) -> str:
    """Replace lone surrogates, which JSON and a command line can contain but the tokenizer cannot read, by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
