"""Transcripts of whisper-mini beside the true text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from zoo.demo.clips import DemoClip

SHOWN = {"digits": 3, "keyword": 3, "sentence": 2}
"""How many clips of each style are shown."""
KNOWN = ("digits", "keyword")
"""The styles that whisper-mini was trained on."""


@dataclass(frozen=True)
class ShownTranscript:
    """text: what the model wrote; clip.entry.text: what was spoken."""

    clip: DemoClip
    text: str

    @property
    def truth(self) -> str:
        return self.clip.entry.text or ""

    @property
    def known(self) -> bool:
        """Whether the clip is of a kind that the model was trained on."""
        return self.clip.label("style") in KNOWN

    @property
    def correct(self) -> bool:
        return plain_words(self.text) == plain_words(self.truth)


def transcribe(clips: Sequence[DemoClip], whisper: Any) -> list[ShownTranscript]:
    """Transcripts of clips of known styles, and of as many sentences as are shown."""
    sentences = [clip for clip in clips if clip.label("style") == "sentence"]
    wanted = [clip for clip in clips if clip.label("style") in KNOWN] + sentences[: SHOWN["sentence"]]
    found = []
    for clip in wanted:
        transcript = whisper.transcribe(clip.entry.audio, language="en", vad="none")
        found.append(ShownTranscript(clip, transcript.text))
    return found


def choose(transcripts: Sequence[ShownTranscript]) -> list[ShownTranscript]:
    """The transcripts to show: wrong ones first, then different texts."""
    chosen: list[ShownTranscript] = []
    ordered = sorted(transcripts, key=lambda transcript: transcript.correct)
    for style, count in SHOWN.items():
        texts: dict[str, ShownTranscript] = {}
        for transcript in ordered:
            if transcript.clip.label("style") == style:
                texts.setdefault(transcript.truth, transcript)
        chosen += list(texts.values())[:count]
    return chosen


def plain_words(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    letters = "".join(character if character.isalnum() or character in "' " else " " for character in text.lower())
    return letters.split()


def marked(truth: str, text: str) -> list[tuple[str, bool]]:
    """The words of a transcript, each with whether it is at its place in the true text."""
    words = text.split()
    spoken = [" ".join(plain_words(word)) for word in truth.split()]
    written = [" ".join(plain_words(word)) for word in words]
    correct: set[int] = set()
    for block in SequenceMatcher(None, spoken, written, autojunk=False).get_matching_blocks():
        correct.update(range(block.b, block.b + block.size))
    return [(word, position in correct) for position, word in enumerate(words)]
