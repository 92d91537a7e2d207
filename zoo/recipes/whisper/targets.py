"""Decoder targets of a window (Radford et al. 2022, figure 1).

    <|startofprev|> text before <|startoftranscript|> <|en|> <|transcribe|> <|0.00|> text <|2.40|> <|endoftext|>
    |------------------ context --------------------| |---------------------- targets ----------------------|

Without times, <|notimestamps|> replaces them. English-only models have no language and no task. A window without speech
is <|startoftranscript|> <|nospeech|> <|endoftext|>.
"""

from __future__ import annotations

from random import Random

from zoo.errors import ConfigError
from zoo.models.whisper.tokenizer import WhisperTokenizer
from zoo.recipes.whisper.vocabulary import BpeEncoder
from zoo.recipes.whisper.windows import TrainingWindow


class TargetEncoder:
    """Window -> ids of the whole sequence, and how many of the first ids are context.

    text_ctx: positions of the decoder; dropout: BPE dropout.
    """

    def __init__(self, tokenizer: WhisperTokenizer, text_ctx: int, dropout: float = 0.0) -> None:
        self.tokenizer, self.text_ctx = tokenizer, text_ctx
        self.encode, self.encode_plain = BpeEncoder(tokenizer, dropout), BpeEncoder(tokenizer)

    @property
    def max_tokens(self) -> int:
        """Maximum tokens of a window's segments: half the positions, as in decoding, without the special tokens."""
        return self.text_ctx // 2 - 5

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.tokenizer.encode(_spaced(text)))

    def __call__(self, window: TrainingWindow) -> tuple[list[int], int]:
        """Raises ConfigError for a language that has no token."""
        draws = Random(window.seed ^ 1)
        targets = self._targets(window, self.encode, draws)
        if len(targets) > self.text_ctx // 2:
            targets = self._targets(window, self.encode_plain, draws)  # without BPE dropout it always fits
        context = [self.tokenizer.sot]
        if window.previous:
            ids = self.encode_plain(_spaced(window.previous), draws)
            count = min(self.text_ctx // 2 - 1, self.text_ctx - 1 - len(targets))
            context = [self.tokenizer.sot_prev, *ids[-count:], self.tokenizer.sot]
        return context + targets, len(context)

    def _targets(self, window: TrainingWindow, encode: BpeEncoder, draws: Random) -> list[int]:
        """Ids after <|startoftranscript|>."""
        tokenizer = self.tokenizer
        if not window.segments:
            return [tokenizer.no_speech, tokenizer.eot]
        ids = self._task(window.entry.lang) + ([] if window.with_timestamps else [tokenizer.no_timestamps])
        for segment in window.segments:
            if window.with_timestamps:
                ids.append(tokenizer.timestamp(segment.start))
            if segment.end is not None:
                ids += encode(_spaced(segment.text), draws)
                if window.with_timestamps:
                    ids.append(tokenizer.timestamp(segment.end))
        return [*ids, tokenizer.eot]

    def _task(self, language: str | None) -> list[int]:
        languages = self.tokenizer.languages
        if not languages:
            return []
        if language not in languages:
            raise ConfigError(f"language {language!r} has no token; the model has {', '.join(languages)}")
        return [languages[language], self.tokenizer.transcribe]


def _spaced(text: str) -> str:
    return f" {text.strip()}"
