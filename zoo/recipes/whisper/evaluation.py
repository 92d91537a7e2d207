"""Evaluation of the trained model, and of the model before training, on recordings that are not in training."""

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
    """Recordings with reference texts, and the transcripts of models.

    with_timestamps: whether models write times; transcripts: name of a model -> texts.
    """

    name: str
    entries: Sequence[Entry]
    wer_normalizer: str
    with_timestamps: bool = True
    transcripts: dict[str, list[str]] = field(default_factory=dict)

    def evaluate(self, name: str, model: Whisper) -> None:
        """Transcribe all recordings with a model, each in its language if the model has a token for it.

        Recordings that cannot be read are left out, with a warning. Raises ConfigError if none can be read.
        """
        options: dict[str, Any] = {"vad": "none", "timestamps": self.with_timestamps}
        read: list[Entry] = []
        texts: list[str] = []
        model.eval()
        for group, clips in readable(self.entries, model.sample_rate, GROUP):
            read += group
            languages = languages_of(group, model)
            transcripts = model.transcribe(clips, model.sample_rate, language=languages, **options)
            texts += [transcript.text for transcript in transcripts]
        if not read:
            raise ConfigError(f"test source {self.name}: none of its {len(self.entries)} recordings can be read")
        self._keep(read)
        self.transcripts[name] = texts

    def _keep(self, entries: Sequence[Entry]) -> None:
        """Leave out all other entries and their transcripts."""
        ids = {id(entry) for entry in entries}
        for name, texts in self.transcripts.items():
            pairs = zip(self.entries, texts, strict=True)
            self.transcripts[name] = [text for entry, text in pairs if id(entry) in ids]
        self.entries = entries

    def add_most_frequent_text(self, entries: Sequence[Entry]) -> None:
        """Add the baseline that writes the most frequent text of `entries` for every recording."""
        likeliest = Counter(entry.text for entry in entries if entry.text).most_common(1)[0][0] or ""
        self.transcripts["most frequent text"] = [likeliest] * len(self.entries)

    def rates(self, name: str) -> ErrorRates:
        """Error rates of the transcripts of a model."""
        return error_rates(self.references, self.transcripts[name], self.wer_normalizer, self.speakers)

    @property
    def references(self) -> list[str]:
        return [entry.text or "" for entry in self.entries]

    @property
    def speakers(self) -> np.ndarray:
        """Groups for the bootstrap: speakers if there are several, else clips."""
        names = np.array([entry.speaker or str(entry.audio) for entry in self.entries])
        return names if len(set(names)) > 1 else np.arange(len(names))

    def results(self) -> dict[str, Any]:
        """Error rates of every model with 95 % intervals, and a paired test of "after" against "before"."""
        rates = {name: self.rates(name) for name in self.transcripts}
        results: dict[str, Any] = {"clips": len(self.entries), "normalize": self.wer_normalizer}
        for name, rate in rates.items():
            results[name] = {"wer": rate.wer, "cer": rate.cer, "interval": [rate.interval.low, rate.interval.high]}
        if {"before", "after"} <= rates.keys():
            after, before = rates["after"], rates["before"]
            test = paired_bootstrap(after.errors, before.errors, after.words, self.speakers)
            results["difference"] = {
                "wer": test.difference,
                "interval": [test.interval.low, test.interval.high],
                "p": test.p,
            }
        return results

    def line(self) -> str:
        """The results in one line."""
        results = self.results()
        low, high = results["after"]["interval"]
        line = f"{self.name}: WER {results['after']['wer']:.1%} ({low:.1%} to {high:.1%}, {len(self.entries)} clips)"
        if "difference" in results:
            line += f", before {results['before']['wer']:.1%}, p = {results['difference']['p']:.2g}"
        return line


def write(evaluations: Sequence[WhisperEvaluation], folder: Path) -> None:
    """Write test.json with the error rates, and test.tsv with all transcripts."""
    with replacing_file(folder / TEST) as partial:
        results = {evaluation.name: evaluation.results() for evaluation in evaluations}
        partial.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    with replacing_file(folder / TEXTS) as partial, partial.open("w", encoding="utf-8") as file:
        file.write("source\tmodel\tfile\tspeaker\treference\ttranscript\n")
        for evaluation in evaluations:
            for name, texts in evaluation.transcripts.items():
                for entry, text in zip(evaluation.entries, texts, strict=True):
                    row = (evaluation.name, name, entry.audio.name, entry.speaker, entry.text, text)
                    file.write("\t".join(" ".join((cell or "").split()) for cell in row) + "\n")
