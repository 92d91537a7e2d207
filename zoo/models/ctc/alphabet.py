"""The symbols of a CTC model, and text as numbers of symbols."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from zoo.errors import ConfigError

BLANK, BOUNDARY = "<blank>", "|"
_SPECIAL = re.compile(r"<.+>|\[.+\]")  # <s>, <unk>, [PAD]: rows of published heads that are no text


class Alphabet:
    """symbols: in the order of the model's outputs, the blank first. "|" or a space stands between words."""

    blank = 0

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self.written = [i > 0 and not _SPECIAL.fullmatch(symbol) for i, symbol in enumerate(self.symbols)]
        self.numbers = {symbol: i for i, symbol in enumerate(self.symbols) if self.written[i]}
        self.boundary: int | None = self.numbers.get(BOUNDARY, self.numbers.get(" "))

    @classmethod
    def of(cls, texts: Iterable[str]) -> Alphabet:
        """Blank, boundary and all characters of the texts, sorted. Raises ConfigError where there are none."""
        found = {character for text in texts for character in text if not character.isspace()}
        if BOUNDARY in found:
            raise ConfigError(
                f'a transcript holds "{BOUNDARY}", which stands between words; clean or normalize the texts'
            )
        if not found:
            raise ConfigError("the transcripts hold no characters to learn")
        return cls((BLANK, BOUNDARY, *sorted(found)))

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Numbers of the text's characters; those that the alphabet lacks are left out."""
        ids: list[int] = []
        for word in text.split():
            letters = [self.numbers[letter] for letter in word if letter in self.numbers]
            if ids and letters and self.boundary is not None:
                ids.append(self.boundary)
            ids += letters
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Words with single spaces between them; blanks and special symbols are no text."""
        text = "".join(" " if i == self.boundary else self.symbols[i] for i in ids if self.written[i])
        return " ".join(text.split())
