from __future__ import annotations

# ruff: noqa: RUF001
from itertools import pairwise
from random import Random

import numpy as np
import pytest

pytest.importorskip("espeakng_loader")

from zoo.corpora import alignment, espeak, speakers, speech
from zoo.corpora.espeak import Delivery, Utterance, Voice
from zoo.errors import ZooError

PLAIN = Voice("en-us", "plain", "language variant\nname plain\ngender male\npitch 80 120\n")
NOISY = Voice(
    "en-us", "noisy", "language variant\nname noisy\npitch 90 160\nflutter 20\nbreath 0 20 20 20 20\nklatt 4\n"
)


@pytest.fixture(scope="module")
def clips() -> list[tuple[str, speech.CorpusClip]]:
    splits = ["train"] * 6 + ["dev", "test"]
    return [(splits[i % 8], speech.make("small", 0, splits[i % 8], i)[0]) for i in range(160)]


def test_speech_does_not_depend_on_what_was_said_before() -> None:
    first = [espeak.speak("A quiet morning by the sea.", voice, Delivery()) for voice in (PLAIN, NOISY)]
    for text, voice in (("Guten Tag!", speakers.speaker("de", 3).voice), ("one", NOISY), ("", PLAIN), ("two", PLAIN)):
        espeak.speak(text, voice, Delivery(rate=120, pitch=70, pitch_range=90, word_gap=3))
    again = [espeak.speak("A quiet morning by the sea.", voice, Delivery()) for voice in (PLAIN, NOISY)]
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.wave, other.wave)
        assert one.phones == other.phones


def test_delivery_is_heard() -> None:
    text = "The river bends twice before it reaches the sea."
    slow, fast = (espeak.speak(text, PLAIN, Delivery(rate=rate)) for rate in (110, 220))
    assert len(slow.wave) > 1.4 * len(fast.wave)
    assert np.abs(slow.wave.astype(int)).max() < 32000


def test_unknown_voice_is_refused() -> None:
    with pytest.raises(ZooError, match="atlantean"):
        espeak.speak("hello", Voice("atlantean", "plain", PLAIN.timbre), Delivery())


def test_there_may_be_more_voices_than_the_engine_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "_VARIANTS", 2)
    voices = [speakers.speaker("en", number).voice for number in range(200, 204)]  # that no other test has spoken with
    first = [espeak.speak("Yes.", voice, Delivery()).wave for voice in voices]
    kept = {path.name for path in (espeak._home() / "voices" / "!v").iterdir()}
    assert [voice.name in kept for voice in voices] == [False, False, True, True]
    for voice, wave in zip(voices, first, strict=True):
        assert np.array_equal(espeak.speak("Yes.", voice, Delivery()).wave, wave)


def test_phones_of_a_known_sentence() -> None:
    utterance = espeak.speak("Six black shells fell.", PLAIN, Delivery())
    symbols = [symbol for *_, symbol in alignment.segments(utterance) if symbol != alignment.SILENCE]
    assert symbols == ["s", "ɪ", "k", "s", "b", "l", "æ", "k", "ʃ", "ɛ", "l", "z", "f", "ɛ", "l"]


def test_closures_belong_to_their_stops() -> None:
    wave = np.full(22050, 1000, np.int16)
    wave[2000:4000] = 0  # closure of the p, announced at its release
    wave[8000:14000] = 0  # a pause inside what eSpeak calls the last phone
    marks = [(0, "ˈa"), (4000, "p"), (5000, "i"), (9000, "_:"), (9000, ""), (14000, "s")]
    found = alignment.segments(Utterance(wave, [(s, "" if p == "_:" else p) for s, p in marks]))
    assert found == [
        (0, 2000, "a"),
        (2000, 5000, "p"),
        (5000, 8000, "i"),
        (8000, 14000, "sil"),
        (14000, 22050, "s"),
    ]


def test_phones_cover_the_clip(clips: list[tuple[str, speech.CorpusClip]]) -> None:
    for _, clip in clips:
        assert clip.phones[0][0] == 0.0
        assert clip.phones[-1][1] == pytest.approx(len(clip.wave) / 16000, abs=1e-9)
        assert all(start < end for start, end, _ in clip.phones)
        assert all(one[1] == other[0] for one, other in pairwise(clip.phones))
        assert clip.phones[0][2] == clip.phones[-1][2] == "sil"
        assert sum(symbol == "sil" for *_, symbol in clip.phones) <= len(clip.phones) / 2
        assert len(clip.wave) % 160 == 0


def test_phones_match_the_energy(clips: list[tuple[str, speech.CorpusClip]]) -> None:
    """Silences are silent, vowels loud, stops quiet at first; levels in dB below the clip's own."""
    levels: dict[str, list[float]] = {"sil": [], "vowel": [], "closure": []}
    for _, clip in clips:
        wave = clip.wave / 32768
        for start, end, symbol in clip.phones:
            edges = (start + 0.004, end - 0.004) if symbol not in "ptk" else (start + 0.004, start + 0.012)
            span = wave[int(edges[0] * 16000) : int(edges[1] * 16000)]
            kind = "sil" if symbol == "sil" else "vowel" if symbol[0] in "aeiouæɑɔɛɪʊʌ" else "closure"
            if len(span) > 64 and (kind != "closure" or (symbol in "ptk" and end - start > 0.06)):
                levels[kind].append(10 * np.log10(np.mean(span**2) / np.mean(wave**2)))
    assert max(levels["sil"]) < -20
    assert np.median(levels["vowel"]) > 0 and np.percentile(levels["vowel"], 5) > -8
    assert np.median(levels["closure"]) < -25


def test_voices_never_cross_splits() -> None:
    for language in speakers.LANGUAGES:
        pools = {
            split: {voice.name for voice in speakers.pool(language, split, 40)} for split in ("train", "dev", "test")
        }
        assert all(len(pool) == 40 for pool in pools.values())
        assert (
            not pools["train"] & pools["dev"]
            and not pools["train"] & pools["test"]
            and not pools["dev"] & pools["test"]
        )
        small = {voice.name for voice in speakers.pool(language, "test", 3)}
        assert small < pools["test"]  # a larger corpus only adds voices


def test_sentences_never_cross_splits() -> None:
    shares = dict.fromkeys(("train", "dev", "test"), 0)
    rng = Random(0)
    for _ in range(3000):
        shares[speech.split_of(speech.grammar.load("en").expand("sentence", rng))] += 1
    assert 0.07 < shares["dev"] / 3000 < 0.13 and 0.07 < shares["test"] / 3000 < 0.13
    assert speech.split_of("Come here, please.") == speech.split_of("come here please")
    for split in shares:
        for style in ("sentence", "digits"):
            text = speech._fresh_text(style, "fr", split, Random(split))
            if "." not in text[:-1]:
                assert speech.split_of(text) == split


def test_what_the_clips_offer(clips: list[tuple[str, speech.CorpusClip]]) -> None:
    styles = [clip.labels["style"] for _, clip in clips]
    assert all(styles.count(style) > 5 for style in ("sentence", "keyword", "digits"))
    for split, clip in clips:
        assert clip.text and clip.lang and clip.speaker
        assert clip.speaker in {voice.name for voice in speakers.pool(clip.lang, split, 48)}
        assert ("label" in clip.labels) == (clip.labels["style"] == "keyword")
        assert clip.labels["gender"] in ("female", "male")
    english = sum(clip.lang == "en" for _, clip in clips)
    assert 0.5 < english / len(clips) < 0.95
    assert {clip.lang for _, clip in clips} == set(speakers.LANGUAGES)
