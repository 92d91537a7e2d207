"""The symbols of a CTC model, and conversion of text to symbol indices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from zoo.errors import ConfigError

BLANK, BOUNDARY = "<blank>", "|"
_SPECIAL = re.compile(r"<.+>|\[.+\]")  # <s>, <unk>, [PAD]: outputs of published heads that are not text


class Alphabet:
    """Symbols in the order of the model's outputs, the blank first. "|" or a space separates words.

    is_text: whether each symbol is text; indices: symbol -> index, of text symbols.
    """

    blank = 0

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self.is_text = [i > 0 and not _SPECIAL.fullmatch(symbol) for i, symbol in enumerate(self.symbols)]
        self.indices = {symbol: i for i, symbol in enumerate(self.symbols) if self.is_text[i]}
        self.boundary: int | None = self.indices.get(BOUNDARY, self.indices.get(" "))

    @classmethod
    def of(cls, texts: Iterable[str]) -> Alphabet:
        """Blank, boundary and all characters of the texts, sorted.

        Raises ConfigError for texts without characters, and for texts that hold the boundary.
        """
        characters = {character for text in texts for character in text if not character.isspace()}
        if BOUNDARY in characters:
            raise ConfigError(
                f'a transcript holds "{BOUNDARY}", which separates words; remove it, or normalize the texts'
            )
        if not characters:
            raise ConfigError("the transcripts hold no characters; give transcripts with text")
        return cls((BLANK, BOUNDARY, *sorted(characters)))

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Indices of the text's characters; characters that are not in the alphabet are left out."""
        ids: list[int] = []
        for word in text.split():
            indices = [self.indices[character] for character in word if character in self.indices]
            if ids and indices and self.boundary is not None:
                ids.append(self.boundary)
            ids += indices
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Words with single spaces between them; blanks and special symbols are left out."""
        text = "".join(" " if i == self.boundary else self.symbols[i] for i in ids if self.is_text[i])
        return " ".join(text.split())
