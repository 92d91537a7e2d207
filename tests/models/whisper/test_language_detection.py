"""The language of a recording: which of its speech is heard, and what happens when it is not certain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from small import noise, small
from small_whisper import small_whisper
from torch import Tensor

from zoo.errors import AudioError, ConfigError
from zoo.models.whisper import language_detection
from zoo.models.whisper.language_detection import cut, language_probabilities, speech_windows, spread
from zoo.text.transcript import Transcript

RATE = 16_000
SECOND = RATE
CODES = list(small_whisper().tokenizer.languages)  # type: ignore[union-attr]


def test_speech_without_long_pauses_fills_windows() -> None:
    spans = [(0, 1 * SECOND), (2 * SECOND, 4 * SECOND), (10 * SECOND, 45 * SECOND)]
    found = speech_windows(spans, 30 * SECOND)
    assert found == [[(0, 4 * SECOND), (10 * SECOND, 36 * SECOND)], [(36 * SECOND, 45 * SECOND)]]
    assert speech_windows([(5, 9)], 30 * SECOND) == [[(5, 9)]]


def test_further_windows_are_spread_over_the_recording() -> None:
    windows = [[(i, i + 1)] for i in range(9)]
    assert spread(windows, 3) == [[(1, 2)], [(4, 5)], [(7, 8)]]
    assert spread(windows[:2], 3) == windows[:2]


class Heard:
    """Replaces the model: the probability of each language depends on the length of a window."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
        self.seconds: list[list[float]] = []

        def of_windows(model: Any, windows: Sequence[tuple[Any, Any]], *_: Any) -> Tensor:
            waves = [cut(clip, window) for clip, window in windows]
            self.seconds.append([round(len(wave) / RATE, 1) for wave in waves])
            return torch.tensor([answer(wave) for wave in waves])

        monkeypatch.setattr(language_detection, "_of_windows", of_windows)


def by_length(wave: Tensor) -> list[float]:
    return [0.1, 0.8, 0.1] if len(wave) > 5 * RATE else [0.4, 0.3, 0.3]


GREETING = torch.cat([noise(0.6), torch.zeros(3 * RATE), noise(8.0, seed=1), torch.zeros(3 * RATE), noise(6.0, seed=2)])


@pytest.mark.parametrize("mode", ["batched", "sequential"])
def test_a_short_first_window_does_not_decide(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    heard = Heard(monkeypatch, by_length)
    found = small_whisper().transcribe(GREETING, RATE, vad="energy", mode=mode, temperature=0.0)
    assert isinstance(found, Transcript)
    assert (found.language, found.language_probability) == (CODES[1], 0.8)
    assert heard.seconds == [[pytest.approx(14.6 + 4 * 0.3, abs=0.2)]]


def test_a_single_window_and_a_given_language_need_no_detection(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(monkeypatch, by_length)
    whisper = small_whisper()
    whisper.transcribe([noise(8.0), noise(30.0)], RATE, vad="none", mode="sequential", temperature=0.0)
    whisper.transcribe(GREETING, RATE, vad="energy", language="de", temperature=0.0)
    assert heard.seconds == []


def test_an_uncertain_beginning_is_weighed_with_more_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(monkeypatch, lambda wave: [0.4, 0.3, 0.3] if float(wave[0]) == 0 else [0.0, 0.9, 0.1])
    clip = torch.ones(310 * RATE)
    clip[: 30 * RATE] = 0
    found = language_probabilities(small_whisper(), [clip], [[(0, len(clip))]], "30s")
    assert heard.seconds == [[30.0], [30.0, 30.0, 30.0]]
    torch.testing.assert_close(found, torch.tensor([[0.1, 0.75, 0.15]]))


def test_a_short_last_window_weighs_less(monkeypatch: pytest.MonkeyPatch) -> None:
    Heard(monkeypatch, lambda wave: [0.0, 1.0, 0.0] if len(wave) < 30 * RATE else [0.45, 0.3, 0.25])
    clip = torch.ones(33 * RATE)
    found = language_probabilities(small_whisper(), [clip], [[(0, len(clip))]], "30s")
    torch.testing.assert_close(found[0, 1], torch.tensor((0.3 * 30 + 1.0 * 3) / 33))


def test_all_probabilities_of_one_recording_and_of_many() -> None:
    whisper, clips = small_whisper(), [noise(s, seed=i) for i, s in enumerate((1.0, 40.0, 8.0))]
    several = whisper.detect_language(clips, RATE, vad="none")
    for clip, found in zip(clips, several, strict=True):
        alone = whisper.detect_language(clip, RATE, vad="none")
        assert set(alone) == set(CODES) and sum(alone.values()) == pytest.approx(1.0)
        assert list(alone.values()) == sorted(alone.values(), reverse=True)
        assert found == pytest.approx(alone, abs=1e-5)
        transcript = whisper.transcribe(clip, RATE, vad="none", temperature=0.0)
        assert transcript.language == next(iter(alone))
        assert transcript.language_probability == pytest.approx(alone[transcript.language], abs=1e-4)


def test_a_recording_without_speech_is_taken_as_a_whole() -> None:
    silence = torch.zeros(RATE)
    assert small_whisper().detect_language(silence, RATE, vad="energy") == pytest.approx(
        small_whisper().detect_language(silence, RATE, vad="none")
    )


def test_models_without_languages_are_refused() -> None:
    with pytest.raises(ConfigError, match="is English-only; use a multilingual model"):
        small_whisper(languages=0).detect_language(noise(1.0), RATE)
    with pytest.raises(ConfigError, match="has no tokenizer"):
        small("whisper-tiny").detect_language(noise(1.0), RATE)
    with pytest.raises(ConfigError, match="vad 'loud' is unknown"):
        small_whisper().detect_language(noise(1.0), RATE, vad="loud")
    with pytest.raises(ConfigError, match="padding '60s' is unknown"):
        small_whisper().detect_language(noise(1.0), RATE, padding="60s")
    with pytest.raises(AudioError, match="sample_rate"):
        small_whisper().detect_language(noise(1.0))
