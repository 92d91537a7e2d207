"""What the decoder is to write about a window (Radford et al. 2022, figure 1).

    <|startofprev|> said before <|startoftranscript|> <|en|> <|transcribe|> <|0.00|> text <|2.40|> <|endoftext|>
    |------------------ context --------------------| |---------------------- learned ----------------------|

Without times, <|notimestamps|> stands for them. English-only models have neither language nor task. A window without
speech is <|startoftranscript|> <|nospeech|> <|endoftext|>.
"""

from __future__ import annotations

from random import Random

from zoo.errors import ConfigError
from zoo.models.whisper.tokenizer import WhisperTokenizer
from zoo.recipes.whisper.vocabulary import Speller
from zoo.recipes.whisper.windows import TrainingWindow


class Writer:
    """Windows -> ids of the whole text, and how many of the first are context. text_ctx: positions of the decoder."""

    def __init__(self, tokenizer: WhisperTokenizer, text_ctx: int, dropout: float = 0.0) -> None:
        self.tokenizer, self.text_ctx = tokenizer, text_ctx
        self.spell, self.plain = Speller(tokenizer, dropout), Speller(tokenizer)

    @property
    def room(self) -> int:
        """Tokens of a window's segments: half the positions, as in decoding, without those at start and end."""
        return self.text_ctx // 2 - 5

    def count(self, text: str) -> int:
        return len(self.tokenizer.encode(_spaced(text)))

    def __call__(self, window: TrainingWindow) -> tuple[list[int], int]:
        """Raises ConfigError for a language that has no token."""
        draws = Random(window.seed ^ 1)
        written = self._written(window, self.spell, draws)
        if len(written) > self.text_ctx // 2:
            written = self._written(window, self.plain, draws)  # without BPE dropout it is known to fit
        before = [self.tokenizer.sot]
        if window.previous:
            ids = self.plain(_spaced(window.previous), draws)
            most = min(self.text_ctx // 2 - 1, self.text_ctx - 1 - len(written))
            before = [self.tokenizer.sot_prev, *ids[-most:], self.tokenizer.sot]
        return before + written, len(before)

    def _written(self, window: TrainingWindow, spell: Speller, draws: Random) -> list[int]:
        """What follows <|startoftranscript|>."""
        tokenizer = self.tokenizer
        if not window.segments:
            return [tokenizer.no_speech, tokenizer.eot]
        ids = self._task(window.entry.lang) + ([] if window.stamped else [tokenizer.no_timestamps])
        for segment in window.segments:
            if window.stamped:
                ids.append(tokenizer.timestamp(segment.start))
            if segment.end is not None:
                ids += spell(_spaced(segment.text), draws)
                if window.stamped:
                    ids.append(tokenizer.timestamp(segment.end))
        return [*ids, tokenizer.eot]

    def _task(self, language: str | None) -> list[int]:
        known = self.tokenizer.languages
        if not known:
            return []
        if language not in known:
            raise ConfigError(f"language {language!r} has no token; the model has {', '.join(known)}")
        return [known[language], self.tokenizer.transcribe]


def _spaced(text: str) -> str:
    return f" {text.strip()}"
