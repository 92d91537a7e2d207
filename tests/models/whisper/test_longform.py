"""Whole recordings: batches against single recordings, windows of long files, and any kind of sound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small import noise, small
from small_whisper import small_whisper

from zoo.audio import silero
from zoo.audio.vad import VoiceActivity
from zoo.errors import AudioError, ConfigError, MissingDependencyError
from zoo.models.whisper import longform, segmenters
from zoo.models.whisper.decoding import Decoded, DecodingOptions
from zoo.models.whisper.longform import transcribe
from zoo.text.transcript import Transcript, Word

RATE = 16_000
Z = small_whisper().tokenizer.timestamp_begin  # type: ignore[union-attr]
VOCABULARY = small_whisper().config.vocab_size
PLAIN: dict[str, Any] = {"vad": "none", "temperature": 0.0}
MODES = ("batched", "sequential")


def text_of(waves: Any, model: Any = None, **options: Any) -> Any:
    found = transcribe(model or small_whisper(), waves, RATE, **{**PLAIN, **options})
    return [t.to_dict() for t in found] if isinstance(found, list) else found.to_dict()


def check(transcript: Transcript, samples: int) -> None:
    """Check a transcript: times in order and inside the audio, and words that add up to the text."""
    times = [t for s in transcript.segments for t in (s.start, s.end)]
    assert times == sorted(times) and all(0 <= t <= samples / RATE for t in times)
    words = [t for w in transcript.words for t in (w.start, w.end)]
    assert words == sorted(words) and all(0 <= t <= samples / RATE for t in words)
    for segment in transcript.segments:
        assert np.isfinite(segment.log_probability) and 0 <= segment.no_speech <= 1
        if segment.words is not None:
            assert "".join(w.text for w in segment.words) == segment.text


CLIPS = [noise(s, seed=i) for i, s in enumerate((1.0, 7.3, 31.0, 0.4, 12.0))]
WAYS: list[dict[str, Any]] = [
    {},
    {"language": ["en", "zh", None, "de", "en"]},
    {"beam_size": 3},
    {"temperature": (0.0, 0.6), "compression_ratio_threshold": 0.1, "best_of": 2},
    {"mode": "sequential", "condition_on_previous_text": True},
    {"timestamps": False, "prompt": "and the", "word_timestamps": True, "suppress_tokens": tuple(range(Z, Z + 1501))},
    {"vad": "energy"},
    {"padding": "none"},
    {"padding": "none", "temperature": (0.0, 0.4), "best_of": 2},
]


@pytest.mark.parametrize("options", WAYS, ids=lambda o: ",".join(o) or "plain")
def test_a_batch_gives_the_same_as_one_by_one(options: dict[str, Any]) -> None:
    together = transcribe(small_whisper(), CLIPS, RATE, **{**PLAIN, **options})
    assert isinstance(together, list)
    for i, clip in enumerate(CLIPS):
        own = options.get("language")
        alone = transcribe(
            small_whisper(), clip, RATE, **{**PLAIN, **options, "batch_size": 1, "language": own and own[i]}
        )
        assert isinstance(alone, Transcript) and alone.text == together[i].text
        assert [s.tokens for s in alone.segments] == [s.tokens for s in together[i].segments]
        assert [s.start for s in alone.segments] == pytest.approx([s.start for s in together[i].segments], abs=0.021)
        check(together[i], len(clip))
    assert any(t.text for t in together) or "vad" in options


clicks = st.integers(0, 99).map(lambda seed: np.random.default_rng(seed).random(RATE) < 3e-4)
NO_TIMES = {"timestamps": False, "word_timestamps": False, "prompt": "the", "beam_size": 1}
SOUNDS = ("silence", "noise", "clicks", "offset", "loud", "ramp")


def sound(kind: str, samples: int, seed: int) -> torch.Tensor:
    t, wave = torch.arange(samples) / RATE, noise(samples / RATE + 0.01, seed)[:samples]
    return {
        "silence": torch.zeros(samples),
        "noise": wave,
        "clicks": torch.tensor(np.random.default_rng(seed).random(samples) < 3e-4).float(),
        "offset": torch.full((samples,), 0.7),
        "loud": (wave * 99).clamp(-1, 1),
        "ramp": t / t[-1:].clamp(min=1e-3) * 2 - 1,
    }[kind]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(SOUNDS), st.floats(0.05, 31)), min_size=1, max_size=3),
    st.integers(0, 99),
    st.fixed_dictionaries(
        {
            "mode": st.sampled_from(MODES),
            "vad": st.sampled_from(["none", "energy"]),
            "padding": st.sampled_from(["30s", "none"]),
            "beam_size": st.sampled_from([1, 2]),
            "temperature": st.sampled_from([0.0, (0.0, 1.0)]),
            "timestamps": st.booleans(),
            "word_timestamps": st.booleans(),
            "prompt": st.sampled_from([None, "the", "and the " * 40]),
            "suppress_tokens": st.sampled_from([(), tuple(range(268)), tuple(range(VOCABULARY))]),
            "suppress_blank": st.booleans(),
        }
    ),
)
@example(  # without timestamps, a sampled one moved the next window back
    [("clicks", 7.0)], 1, {"mode": "sequential", "vad": "none", "padding": "30s", "temperature": (0.0, 1.0)} | NO_TIMES
)
def test_any_sound_gives_times_inside_the_audio(
    sounds: list[tuple[str, float]], seed: int, options: dict[str, Any]
) -> None:
    clips = [sound(kind, int(seconds * RATE), seed) for kind, seconds in sounds]
    found = transcribe(small_whisper(seed=seed % 3), clips, RATE, **options)
    assert isinstance(found, list) and len(found) == len(clips)
    for transcript, clip, (kind, _) in zip(found, clips, sounds, strict=True):
        check(transcript, len(clip))
        assert transcript.duration == len(clip) / RATE
        if options["vad"] == "energy" and kind in ("silence", "offset"):
            assert not transcript.text


class Script:
    """Replaces decoding: each window gets `answer` of its length. The windows are recorded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
        self.seen: list[tuple[int, float, float, tuple[int, ...]]] = []

        def decode(model: Any, batch: Any, settings: Any) -> Any:
            self.batches.append(len(batch))
            for w in batch:
                self.languages.append(w.request.language)
                self.seen.append((len(w.segmenter.clip), w.start / RATE, w.stop / RATE, w.request.prompt))
            return [answer(w.seconds) for w in batch], None

        self.batches: list[int] = []
        self.languages: list[str | None] = []
        monkeypatch.setattr(longform, "_decode", decode)


def decoded(tokens: list[int], **values: Any) -> Decoded:
    return Decoded(
        tokens,
        "",
        "en",
        1.0,
        **{"temperature": 0.0, "log_probability": -0.2, "no_speech": 0.0, **values},
        compression_ratio=1.0,
    )


def stamps(*seconds: float) -> list[int]:
    return [Z + round(s * 50) for s in seconds]


def test_the_next_window_begins_at_the_last_pair_of_timestamps(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(seconds: float) -> Decoded:
        if seconds < 30:
            return decoded([*stamps(0), 70, *stamps(1)])
        return decoded([*stamps(0), 65, *stamps(20), *stamps(20), 66])

    script = Script(monkeypatch, answer)
    options = {
        "vad": "none",
        "mode": "sequential",
        "language": "en",
        "condition_on_previous_text": True,
        "prompt": [68],
    }
    done: list[float] = []
    waves = [torch.zeros(70 * RATE), torch.zeros(5 * RATE)]
    found = transcribe(small_whisper(), waves, RATE, progress=done.append, **options)
    assert isinstance(found, list) and sum(done) == pytest.approx(75)
    first = [(a, b) for n, a, b, _ in script.seen if n == 70 * RATE]
    assert first == [(0, 30), (20, 50), (40, 70), (60, 70)]
    assert [(s.start, s.end) for s in found[0].segments] == [(0, 20), (20, 40), (40, 60), (60, 61)]
    prompts = [prompt for n, _, _, prompt in script.seen if n == 70 * RATE]
    segment = (*stamps(0), 65, *stamps(20))
    assert prompts == [(68,), (68, *segment), (68, *segment * 2), (68, *segment * 3)]
    assert script.batches == [2, 1, 1, 1]


def test_a_text_that_failed_at_every_temperature_is_no_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the text of temperature 0 is kept, because it is the likeliest."""
    answers = iter([decoded([*stamps(0), 65, *stamps(30)], log_probability=-1.5)] * 2)
    script = Script(monkeypatch, lambda seconds: next(answers))
    options = {"vad": "none", "mode": "sequential", "language": "en", "condition_on_previous_text": True}
    transcribe(small_whisper(), torch.zeros(60 * RATE), RATE, **options)
    assert [prompt for _, _, _, prompt in script.seen] == [(), ()]


def test_no_segment_is_without_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words may have no duration, but their segment keeps its own times then."""
    segmenter = segmenters.ChunkedSegmenter(noise(6.0), small_whisper(), DecodingOptions(), "en", spans=[(0, 6 * RATE)])
    (window,) = segmenter.windows()
    result = decoded([*stamps(0), 65, *stamps(2, 2), 66, *stamps(6, 6), 67, *stamps(9)])
    cut = segmenter.cut(window, result)
    words = [[Word("a", 2.0, 2.0, 0.5)], [Word("b", 2.0, 6.0, 0.5)], [Word("c", 6.0, 6.0, 0.5)]]
    segmenter.consume(window, result, cut, words)
    segments = segmenter.transcript().segments
    assert [(s.start, s.end, s.tokens[1]) for s in segments] == [(0, 2, 65), (2, 6, 66)]


def test_text_of_a_high_temperature_is_no_prompt_and_silence_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(
        [
            decoded([*stamps(0), 65, *stamps(30)], temperature=0.8),
            decoded([*stamps(0), 65, *stamps(5), *stamps(5)], no_speech=0.9, log_probability=-2.0),
            decoded([*stamps(0), 65, *stamps(0), *stamps(0)]),  # no progress
        ]
    )
    script = Script(monkeypatch, lambda seconds: next(answers))
    options = {"vad": "none", "mode": "sequential", "language": "en", "condition_on_previous_text": True}
    found = transcribe(small_whisper(), torch.zeros(90 * RATE), RATE, **options)
    assert [(a, b, p) for _, a, b, p in script.seen] == [(0, 30, ()), (30, 60, ()), (60, 90, ())]
    assert isinstance(found, Transcript) and len(found.segments) == 1


def test_times_after_a_window_do_not_skip_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch, lambda seconds: decoded([*stamps(0), 65, *stamps(25, 25), 66]))
    wave = torch.cat([noise(5.0, seed=1), torch.zeros(3 * RATE), noise(4.0, seed=2), torch.zeros(RATE)])
    transcribe(small_whisper(), wave, RATE, vad="energy", mode="sequential", language="en")
    assert [round(a) for _, a, _, _ in script.seen] == [0, 8]


def test_windows_of_all_recordings_share_batches_longest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch, lambda seconds: decoded([*stamps(0), 65, *stamps(1)]))
    clips = [torch.zeros(int(s * RATE)) for s in (2, 65, 9, 4)]
    found = transcribe(small_whisper(), clips, RATE, vad="none", language="en", batch_size=4)
    assert script.batches == [3, 3]
    lengths = [b - a for _, a, b, _ in script.seen]
    assert lengths == sorted(lengths, reverse=True) and isinstance(found, list)
    assert [len(t.segments) for t in found] == [1, 3, 1, 1]


def test_all_windows_have_the_language_of_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch, lambda seconds: decoded([*stamps(0), 65, *stamps(1)]))
    monkeypatch.setattr(longform, "language_probabilities", lambda *_: torch.tensor([[0.1, 0.7, 0.2]]))
    found = transcribe(small_whisper(), torch.zeros(100 * RATE), RATE, vad="none")
    assert script.batches == [4] and isinstance(found, Transcript)
    code = list(small_whisper().tokenizer.languages)[1]  # type: ignore[union-attr]
    assert found.language == code and found.language_probability == pytest.approx(0.7)
    assert script.languages == [code] * 4


def test_text_behind_its_window_is_dropped_whichever_window_ends_first() -> None:
    segmenter = segmenters.ChunkedSegmenter(
        noise(20.0), small_whisper(), DecodingOptions(), "en", spans=[(0, 8 * RATE), (8 * RATE, 20 * RATE)]
    )
    first, second = segmenter.windows()
    early = decoded([*stamps(0), 65, *stamps(8, 8), 67, *stamps(9)])  # the window ends at 8
    late = decoded([*stamps(0), 66, *stamps(1)])
    for window, result in ((second, late), (first, early)):
        segmenter.consume(window, result, segmenter.cut(window, result), None)
    found = [(s.start, s.end, s.tokens[1]) for s in segmenter.transcript().segments]
    assert found == [(0, 8, 65), (8, 9, 66)]


BURSTS = torch.cat([noise(10.0, seed=1), torch.zeros(2 * RATE), noise(6.0, seed=2), torch.zeros(RATE)])


@pytest.mark.parametrize(
    ("ends", "vad", "seen"),
    [
        ([10.2, 7.6], "energy", [(0, 18.3), (10.2, 18.3)]),  # speech follows the first text, not the second
        ([10.2, 3.0, 4.0], "energy", [(0, 18.3), (10.2, 18.3), (13.2, 18.3)]),
        ([17.5], "energy", [(0, 18.3)]),  # the remaining speech is too short
        ([10.2], "none", [(0, 19)]),  # without VAD it is unknown whether it is speech
        ([0.0], "energy", [(0, 18.3)]),  # no text
    ],
)
def test_speech_after_the_end_of_a_text_is_decoded_again(
    monkeypatch: pytest.MonkeyPatch, ends: list[float], vad: str, seen: list[tuple[float, float]]
) -> None:
    answers = iter(decoded([*stamps(0), 65, *stamps(end)]) for end in ends)
    script = Script(monkeypatch, lambda seconds: next(answers))
    found = transcribe(small_whisper(), BURSTS, RATE, vad=vad, language="en", prefix=[66])
    assert isinstance(found, Transcript)
    assert [(a, pytest.approx(b, abs=0.05)) for _, a, b, _ in script.seen] == seen
    times = [t for segment in found.segments for t in (segment.start, segment.end)]
    assert times == sorted(times) and [s.tokens.count(66) for s in found.segments][1:] == [0] * (len(seen) - 1)


def test_a_text_without_an_end_time_is_not_decoded_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch, lambda seconds: decoded([*stamps(0.5), 65]))
    found = transcribe(small_whisper(), noise(10.0), RATE, vad=VoiceActivity("energy"), language="en")
    assert isinstance(found, Transcript) and len(script.seen) == 1
    assert [(s.start, s.end) for s in found.segments] == [(0, 10)]


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ({"text": "Dial again."}, ["none"]),
        ({"text": "Dial again. Dial again."}, ["none", "30s"]),
        ({"text": "Dial again.", "log_probability": -3.0}, ["none", "30s"]),
    ],
)
def test_windows_that_fail_without_padding_are_decoded_again_with_it(
    monkeypatch: pytest.MonkeyPatch, first: dict[str, Any], expected: list[str]
) -> None:
    paddings: list[str] = []
    answers = iter([replace(decoded([*stamps(0), 65, *stamps(1)]), **first), decoded([*stamps(0), 66, *stamps(1)])])
    monkeypatch.setattr(longform, "encode_batch", lambda model, batch, padding: paddings.append(padding))
    monkeypatch.setattr(longform, "decode", lambda model, states, requests, options, *_: [next(answers)])
    found = transcribe(small_whisper(), torch.zeros(2 * RATE), RATE, vad="none", language="en", padding="none")
    assert isinstance(found, Transcript) and paddings == expected
    assert found.segments[0].tokens == [*stamps(0), 64 + len(expected), *stamps(1)]


def test_a_model_that_was_trained_unpadded_is_never_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    paddings: list[str] = []
    twice = replace(decoded([*stamps(0), 65, *stamps(1)]), text="Ba ba.")
    monkeypatch.setattr(longform, "encode_batch", lambda model, batch, padding: paddings.append(padding))
    monkeypatch.setattr(longform, "decode", lambda *_: [twice])
    model = small_whisper()
    monkeypatch.setattr(model, "config", replace(model.config, padding="none", pad_positions=10))
    transcribe(model, torch.zeros(2 * RATE), RATE, vad="none", language="en")
    assert paddings == ["none"]


def test_windows_are_cut_from_the_mel_of_the_whole_recording() -> None:
    model, clip = small_whisper(), noise(65.0)
    clip[40 * RATE :] *= 5
    segmenter = segmenters.ChunkedSegmenter(clip, model, DecodingOptions(), "en")
    peak, whole = model.norm_stats(clip), model.mel_of(clip)
    for start, stop in ((0, 30), (30, 60), (60, 65)):
        found = longform._mel(model, clip, start * RATE, stop * RATE, peak)
        torch.testing.assert_close(found, whole[start * 100 : stop * 100], atol=1e-5, rtol=0)
    assert segmenter.transcript().text == ""


REFUSED = [
    ({"mode": "fast"}, "mode 'fast' is unknown"),
    ({"condition_on_previous_text": True}, 'needs mode="sequential"'),
    ({"batch_size": 0}, "batch_size 0"),
    ({"padding": "60s"}, "padding '60s' is unknown; choose one of 30s, none"),
    ({"volume": 3}, "unknown option 'volume'; options are .*language.*temperature.*vad"),
    ({"beam_sizes": 3}, "unknown option 'beam_sizes'; did you mean beam_size?"),
    ({"initial_prompt": "Zoo"}, "unknown option 'initial_prompt': it is called prompt here"),
    ({"hotwords": "Zoo"}, "'hotwords': not supported; put the words into prompt"),
    ({"vad_filter": True}, "'vad_filter': it is called vad here"),
    ({"return_timestamps": "word"}, "'return_timestamps': .* word_timestamps=True"),
    ({"vad": True}, "vad True is unknown"),
    ({"suppress_tokens": "-1"}, "suppress_tokens '-1': give ids of tokens"),
    ({"suppress_tokens": (-1,)}, r"suppress_tokens \(-1,\): .*suppress_non_speech=True"),
    ({"suppress_tokens": [10**6]}, "suppress_tokens: 1000000 is not an id of this model"),
    ({"suppress_tokens": 5}, "suppress_tokens 5: give ids"),
    ({"beam_size": 5.0}, "beam_size 5.0: give a whole number"),
    ({"beam_size": True}, "beam_size True: give a whole number"),
    ({"beam_size": 10**5}, "beam_size 100000: the vocabulary has"),
    ({"word_timestamps": "yes"}, "word_timestamps 'yes': give True or False"),
    ({"batch_size": "4"}, "batch_size '4': give a whole number or None"),
    ({"logprob_threshold": float("nan")}, "logprob_threshold nan: give a number or None"),
    ({"prompt": ["a", "b"]}, "prompt .*: give one text for all recordings, or the ids"),
    ({"prompt": [10**6]}, "prompt: 1000000 is not an id"),
    ({"prompt": [-1]}, "prompt: -1 is not an id"),
    ({"prompt": [Z - 1]}, "prompt: .* is not an id of a text token"),
    ({"prompt": 5}, "prompt 5: give ids"),
    ({"prefix": [1.5]}, "prefix .*: give ids"),
    ({"progress": True}, "progress True: give a function"),
    ({"language": 5}, "language 5: give a code"),
    ({"language": [["en"]]}, "language .*'en'.*: give a code"),
    ({"language": "frensh"}, "language 'frensh' is unknown; did you mean French?"),
    ({"temperature": "warm"}, "temperature 'warm': give a number"),
    ({"temperature": (0, None)}, "temperature .* give a number"),
    ({"vad": "loud"}, "vad 'loud' is unknown"),
    ({"language": "tlh"}, "'tlh' is unknown"),
    ({"language": ["en", "de"]}, "2 codes for 1 recordings"),
    ({"prefix": "the", "wave": 61.0}, "prefix: .* recordings of one window"),
    ({"prefix": "the " * 30}, "at most 12 leave room"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED)
def test_options_that_are_not_supported_are_refused(options: dict[str, Any], words: str) -> None:
    options = dict(options)
    wave = noise(options.pop("wave", 1.0))
    with pytest.raises(ConfigError, match=words):
        transcribe(small_whisper(), [wave], RATE, **{**PLAIN, **options})


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": (0.0, 0.4), "length_penalty": 0.5},
        {"temperature": (0.4, 0.0), "beam_size": 2, "patience": 2.0},
    ],
)
def test_options_of_later_temperatures_work_without_padding(options: dict[str, Any]) -> None:
    """Without padding the first temperature is tried alone."""
    found = text_of([noise(1.0)], padding="none", logprob_threshold=0.0, best_of=2, **options)
    assert len(found) == 1


def test_options_are_checked_before_recordings() -> None:
    for options, words in (
        ({"language": "tlh"}, "'tlh'"),
        ({"language": ["en", "tlh"]}, "'tlh'"),
        *[case for case in REFUSED if "wave" not in case[0] and case[0].get("language") != ["en", "de"]],
    ):
        with pytest.raises(ConfigError, match=words):
            transcribe(small_whisper(), ["nowhere.wav"], **options)
    with pytest.raises(AudioError, match="empty"):
        transcribe(small_whisper(), [], language="en", **PLAIN)


def test_languages_have_names() -> None:
    for language in ("English", "EN", " english "):
        found = transcribe(small_whisper(), noise(1.0), RATE, **PLAIN, language=language)
        assert isinstance(found, Transcript) and found.language == "en"
    with pytest.raises(ConfigError, match="task 'translate': this model is English-only; use a multilingual model"):
        transcribe(small_whisper(languages=0), noise(1.0), RATE, task="translate")


def test_a_missing_detector_is_an_error_before_recordings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    silero.silero.cache_clear()
    monkeypatch.setattr(silero, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="silero-vad"):
        transcribe(small_whisper(), ["nowhere.wav"], vad="silero")


def test_models_that_cannot_transcribe_are_refused() -> None:
    with pytest.raises(ConfigError, match="has no tokenizer"):
        small("whisper-tiny").transcribe(noise(1.0), RATE)
    with pytest.raises(ConfigError, match="English-only"):
        transcribe(small_whisper(languages=0), noise(1.0), RATE, language="de")
    with pytest.raises(AudioError, match="sample_rate"):
        transcribe(small_whisper(), noise(1.0))


@pytest.mark.parametrize(
    "options",
    [{"max_tokens": 31}, {"max_tokens": 31, "timestamps": False}, {"prefix": "the " * 12, "timestamps": False}],
)
def test_words_of_the_longest_texts_fit_into_the_context(options: dict[str, Any]) -> None:
    (found,) = text_of([noise(3.0)], word_timestamps=True, repetition_stop=False, **options)
    assert found["segments"][-1]["words"]


PREFIX_WAYS: list[dict[str, Any]] = [
    {"timestamps": False},
    {},
    {"mode": "sequential"},
    {"beam_size": 3},
    {"temperature": (0.4,), "best_of": 2},
    {"word_timestamps": True},
]


@pytest.mark.parametrize("options", PREFIX_WAYS, ids=lambda o: ",".join(o) or "plain")
def test_a_prefix_begins_the_text_and_the_text_goes_on(options: dict[str, Any]) -> None:
    found = transcribe(small_whisper(), noise(2.0), RATE, **{**PLAIN, **options}, prefix="and the")
    assert isinstance(found, Transcript) and found.text.startswith("and the")
    text = [token for segment in found.segments for token in segment.tokens if token < Z]
    prefix = small_whisper().tokenizer.encode(" and the")  # type: ignore[union-attr]
    assert text[: len(prefix)] == prefix and len(text) > len(prefix)
    assert found.segments[0].end > found.segments[0].start


def test_a_prefix_is_the_same_beside_windows_without_one() -> None:
    clips = [noise(40.0, seed=1), noise(2.0, seed=2)]
    options = {**PLAIN, "mode": "sequential", "prefix": "and the", "language": "en"}
    together = transcribe(small_whisper(), clips, RATE, **options)
    assert isinstance(together, list)
    for clip, found in zip(clips, together, strict=True):
        alone = transcribe(small_whisper(), clip, RATE, **options)
        assert isinstance(alone, Transcript) and alone.text == found.text and found.text.startswith("and the")


def test_progress_and_single_results() -> None:
    seen: list[float] = []
    found = transcribe(small_whisper(), noise(40.0), RATE, **PLAIN, progress=seen.append)
    assert isinstance(found, Transcript) and sum(seen) == pytest.approx(40.0, abs=0.05) and len(seen) == 2
    assert Transcript.from_dict(found.to_dict()) == found
    assert isinstance(transcribe(small_whisper(), [noise(1.0)], RATE, vad=VoiceActivity("energy")), list)
