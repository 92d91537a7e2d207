"""Word error rates over a corpus, checked with counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.benchmarks.wer import all_error_rates, error_rates
from zoo.errors import ConfigError

REFERENCES = ["The cat, it sat.", "two words"]
HYPOTHESES = ["the cat sat", "two more words"]


def test_a_corpus_rate_is_all_errors_over_all_words() -> None:
    rates = error_rates(REFERENCES, HYPOTHESES, "basic")
    assert (rates.substitutions, rates.deletions, rates.insertions) == (0, 1, 1)
    assert rates.wer == pytest.approx(2 / 6)
    assert rates.errors.tolist() == [1, 1] and rates.words.tolist() == [4, 2]
    assert error_rates(["a b c d e f g h i j", "x"], ["a b c d e f g h i j", "y"]).wer == pytest.approx(1 / 11)


def test_all_normalizers_are_reported() -> None:
    rates = all_error_rates(["I've got 2 colors"], ["i have got two colors"])
    assert rates["raw"].wer > rates["basic"].wer > rates["english"].wer == 0


def test_words_for_empty_references_are_insertions() -> None:
    rates = error_rates(["", "yes"], ["thank you", "yes"])
    assert rates.insertions == 2 and rates.wer == 2 and rates.wordless == 1
    with pytest.raises(ConfigError, match="transcript"):
        error_rates(["", "..."], ["a", "b"])
    with pytest.raises(ConfigError, match="hypotheses"):
        error_rates(["a"], [])


def test_speakers_widen_the_interval() -> None:
    truth = ["one two three four"] * 40
    hypotheses = ["one two three four"] * 20 + ["one five three"] * 20
    alone = error_rates(truth, hypotheses).interval
    grouped = error_rates(truth, hypotheses, groups=np.repeat(np.arange(8), 5)).interval
    assert grouped.high - grouped.low > 1.3 * (alone.high - alone.low)
