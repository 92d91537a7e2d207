"""What a finished model, and the one that it began as, write about recordings that training never saw."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zoo.benchmarks.significance import paired_bootstrap
from zoo.benchmarks.wer import ErrorRates, error_rates
from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.io.atomic import replacing_file
from zoo.models.whisper.model import Whisper
from zoo.recipes.readable import readable
from zoo.recipes.whisper.model import languages_of

GROUP = 256  # clips that are transcribed at once
TEST, TEXTS = "test.json", "test.tsv"


@dataclass
class WhisperEvaluation:
    """Recordings with their transcripts, and what models wrote: model -> texts. stamped: whether models write times."""

    name: str
    entries: Sequence[Entry]
    normalize: str
    stamped: bool = True
    written: dict[str, list[str]] = field(default_factory=dict)

    def sit(self, candidate: str, model: Whisper) -> None:
        """Let a model write, about each recording whole, and in its language where it has a token for that; recordings
        that cannot be read leave the exam, with a warning.

        Raises ConfigError where none can be read.
        """
        options: dict[str, Any] = {"vad": "none", "timestamps": self.stamped}
        heard: list[Entry] = []
        texts: list[str] = []
        model.eval()
        for group, clips in readable(self.entries, model.sample_rate, GROUP):
            heard += group
            spoken = languages_of(group, model)
            found = model.transcribe(clips, model.sample_rate, language=spoken, **options)
            texts += [transcript.text for transcript in found]
        if not heard:
            raise ConfigError(f"exam {self.name}: none of its {len(self.entries)} recordings can be read")
        self._keep(heard)
        self.written[candidate] = texts

    def _keep(self, heard: Sequence[Entry]) -> None:
        """Leave out all other entries, and what was written about them."""
        kept = {id(entry) for entry in heard}
        for candidate, texts in self.written.items():
            pairs = zip(self.entries, texts, strict=True)
            self.written[candidate] = [text for entry, text in pairs if id(entry) in kept]
        self.entries = heard

    def guess(self, entries: Sequence[Entry]) -> None:
        """The baseline that writes the text most frequent in `entries`, whatever is said."""
        likeliest = Counter(entry.text for entry in entries if entry.text).most_common(1)[0][0] or ""
        self.written["most frequent text"] = [likeliest] * len(self.entries)

    def rates(self, candidate: str) -> ErrorRates:
        return error_rates(self.references, self.written[candidate], self.normalize, self.speakers)

    @property
    def references(self) -> list[str]:
        return [entry.text or "" for entry in self.entries]

    @property
    def speakers(self) -> np.ndarray:
        """Whom the interval is over: speakers where there are several, else clips."""
        names = np.array([entry.speaker or str(entry.audio) for entry in self.entries])
        return names if len(set(names)) > 1 else np.arange(len(names))

    def results(self) -> dict[str, Any]:
        """Error rates of every candidate with 95 % intervals; of two models, a paired test."""
        rates = {candidate: self.rates(candidate) for candidate in self.written}
        found: dict[str, Any] = {"clips": len(self.entries), "normalize": self.normalize}
        for candidate, rate in rates.items():
            found[candidate] = {"wer": rate.wer, "cer": rate.cer, "interval": [rate.interval.low, rate.interval.high]}
        if {"before", "after"} <= rates.keys():
            after, before = rates["after"], rates["before"]
            test = paired_bootstrap(after.errors, before.errors, after.words, self.speakers)
            found["difference"] = {
                "wer": test.difference,
                "interval": [test.interval.low, test.interval.high],
                "p": test.p,
            }
        return found

    def line(self) -> str:
        """The results in words."""
        found = self.results()
        low, high = found["after"]["interval"]
        line = f"{self.name}: WER {found['after']['wer']:.1%} ({low:.1%} to {high:.1%}, {len(self.entries)} clips)"
        if "difference" in found:
            line += f", before {found['before']['wer']:.1%}, p = {found['difference']['p']:.2g}"
        return line


def write(exams: Sequence[WhisperEvaluation], folder: Path) -> None:
    """test.json with the rates, test.tsv with all texts."""
    with replacing_file(folder / TEST) as partial:
        partial.write_text(json.dumps({exam.name: exam.results() for exam in exams}, indent=2) + "\n", encoding="utf-8")
    with replacing_file(folder / TEXTS) as partial, partial.open("w", encoding="utf-8") as file:
        file.write("exam\tcandidate\tfile\tspeaker\treference\ttranscript\n")
        for exam in exams:
            for candidate, texts in exam.written.items():
                for entry, text in zip(exam.entries, texts, strict=True):
                    row = (exam.name, candidate, entry.audio.name, entry.speaker, entry.text, text)
                    file.write("\t".join(" ".join((cell or "").split()) for cell in row) + "\n")
