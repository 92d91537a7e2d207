"""Word and character error rates over a corpus, by jiwer, with one or all normalizers.

A corpus rate is the number of all errors over the number of all words, never a mean of rates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jiwer
import numpy as np

from zoo.benchmarks.significance import Interval, ratio_interval
from zoo.errors import ConfigError
from zoo.text.normalizers import NORMALIZERS, normalizer


@dataclass(frozen=True)
class ErrorRates:
    """wer, cer: errors over reference words or characters. substitutions, deletions, insertions: words in the corpus.

    errors, words (N,): of each utterance, for paired tests. wordless: number of utterances without a reference word
    after normalization; the words of their hypotheses count as insertions.
    """

    wer: float
    cer: float
    substitutions: int
    deletions: int
    insertions: int
    errors: np.ndarray
    words: np.ndarray
    interval: Interval
    wordless: int = 0


def error_rates(
    references: Sequence[str], hypotheses: Sequence[str], normalize: str = "basic", groups: np.ndarray | None = None
) -> ErrorRates:
    """Corpus WER and CER of N hypotheses against N references.

    normalize: name of a normalizer in zoo.text.normalizers, used on both sides.
    groups (N,): speakers, for the interval. Without them, every utterance is a group.
    If a reference is empty after normalization, the words of its hypothesis count as insertions.

    Raises ConfigError for lists of different lengths, an unknown normalizer, and if no reference has a word.
    """
    if len(references) != len(hypotheses):
        raise ConfigError(f"{len(references)} references, but {len(hypotheses)} hypotheses")
    clean = normalizer(normalize)
    pairs = [
        (clean(reference), clean(hypothesis)) for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]
    words = np.array([len(reference.split()) for reference, _ in pairs])
    if not words.sum():
        raise ConfigError("no reference has a word: a word error rate needs a transcript")
    counts = np.array([_counts(jiwer.process_words, *pair) for pair in pairs])  # (N, 3)
    character_errors = np.array([_counts(jiwer.process_characters, *pair).sum() for pair in pairs])
    characters = sum(len(reference) for reference, _ in pairs)
    errors = counts.sum(1)
    units = np.arange(len(pairs)) if groups is None else groups
    return ErrorRates(
        wer=float(errors.sum() / words.sum()),
        cer=float(character_errors.sum() / characters),
        substitutions=int(counts[:, 0].sum()),
        deletions=int(counts[:, 1].sum()),
        insertions=int(counts[:, 2].sum()),
        errors=errors,
        words=words,
        interval=ratio_interval(errors, words, units),
        wordless=int((words == 0).sum()),
    )


def all_error_rates(
    references: Sequence[str], hypotheses: Sequence[str], groups: np.ndarray | None = None
) -> dict[str, ErrorRates]:
    """`error_rates` with every normalizer, by its name."""
    return {name: error_rates(references, hypotheses, name, groups) for name in NORMALIZERS}


def _counts(
    process: Callable[..., jiwer.WordOutput | jiwer.CharacterOutput], reference: str, hypothesis: str
) -> np.ndarray:
    """Substitutions, deletions, insertions."""
    if not reference:  # jiwer raises an error
        return np.array([0, 0, len(hypothesis.split()) if process is jiwer.process_words else len(hypothesis)])
    alignment = process(reference, hypothesis)
    return np.array([alignment.substitutions, alignment.deletions, alignment.insertions])
