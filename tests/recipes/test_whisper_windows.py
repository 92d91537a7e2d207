"""Training windows of Whisper: clips, packed clips, stretches of recordings, noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from spoken_tones import RATE, WORDS, say, write_clips, write_recording

from zoo import config as configuration
from zoo.data import manifest
from zoo.data.manifest import Entry
from zoo.errors import AudioError, ConfigError
from zoo.recipes.whisper.config import WhisperAugmentConfig, WhisperTrainConfig, WindowConfig
from zoo.recipes.whisper.run import opened
from zoo.recipes.whisper.windows import TimedText, WindowDataset, _following


def dataset(
    entries: list[Entry],
    training: bool = True,
    tokens: int = 40,
    augment: WhisperAugmentConfig = WhisperAugmentConfig(),  # noqa: B008
    window: float = 3.0,
    **config: Any,
) -> WindowDataset:
    shares: dict[str, Any] = {"packed": 1.0, "timestamps": 1.0, "previous": 1.0, "no_speech": 0.0}
    windows = WindowConfig(**shares | config)
    return WindowDataset(entries, RATE, windows, augment, seconds=window, count=len, tokens=tokens, training=training)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    found = manifest.read(write_clips(tmp_path_factory.mktemp("clips")))
    return [entry for entry in found if entry.split == "train"]


@pytest.fixture(scope="module")
def spans(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    return write_recording(tmp_path_factory.mktemp("recording"))


def test_clips_are_packed_whole_and_in_time(clips: list[Entry]) -> None:
    windows = [dataset(clips).item(index, seed) for index in range(len(clips)) for seed in range(5)]
    assert max(len(made.segments) for made in windows) >= 3
    for made in windows:
        assert made.segments[0].text == made.entry.text and made.with_timestamps
        assert len(made.wave) <= 3.0 * RATE
        for segment in made.segments:
            assert segment.end is not None
            cut = made.wave[round(segment.start * RATE) : round(segment.end * RATE)]
            whole = say(segment.text.lower())
            assert len(cut) == len(whole)
            assert torch.nn.functional.cosine_similarity(cut, whole, dim=0) > 0.9
    assert sum(len(segment.text) + 2 for segment in dataset(clips, tokens=12).item(0, 3).segments) <= 12


def test_windows_depend_on_their_seed_alone(clips: list[Entry]) -> None:
    first, again, other = (dataset(clips, no_speech=0.3, timestamps=0.5, previous=0.5) for _ in range(3))
    other.item(3, 1)
    for index in range(4):
        for seed in range(4):
            a, b = first.item(index, seed), again.item(index, seed)
            assert torch.equal(a.wave, b.wave) and a.segments == b.segments
            assert (a.previous, a.with_timestamps) == (b.previous, b.with_timestamps)
    assert len({first.item(0, seed).wave.numpy().tobytes() for seed in range(8)}) > 4


def test_shares_are_kept(clips: list[Entry]) -> None:
    made = [dataset(clips, no_speech=0.25, timestamps=0.5, previous=0.5).item(i % 10, i) for i in range(400)]
    silent = [item for item in made if not item.segments]
    assert 70 < len(silent) < 130 and not any(item.previous for item in silent)
    spoken = [item for item in made if item.segments]
    assert 0.4 < sum(item.with_timestamps for item in spoken) / len(spoken) < 0.6
    assert 0.4 < sum(bool(item.previous) for item in spoken) / len(spoken) < 0.6
    packed = dataset(clips * 20, packed=0.3)
    share = sum(s == 3.0 for s in packed.seconds) / len(packed)
    assert 0.2 < share < 0.4
    assert all(len(packed.item(i, 1).segments) == 1 for i, s in enumerate(packed.seconds) if s < 3.0)


def test_noise_has_the_length_that_was_planned(clips: list[Entry]) -> None:
    for packed in (0.0, 1.0):
        silent = dataset(clips, no_speech=1.0, packed=packed)
        for index, seconds in enumerate(silent.seconds):
            wave = silent.item(index, index).wave
            assert len(wave) == round(seconds * RATE) and 0 < wave.abs().max() < 1


def test_validation_clips_are_alone_in_their_window(clips: list[Entry]) -> None:
    made = dataset(clips, training=False, no_speech=1.0, timestamps=0.9).item(3, 7)
    assert (
        [segment.text for segment in made.segments] == [clips[3].text]
        and not made.with_timestamps
        and not made.previous
    )
    assert dataset(clips, training=False, timestamps=1.0).item(3, 7).with_timestamps, (
        "all texts of this model have times"
    )


def test_recordings_are_cut_at_their_entries(spans: list[Entry]) -> None:
    windows = dataset(spans, tokens=1000)
    assert windows.seconds == [3.0] * len(spans)
    made = windows.item(1, 0)
    start = spans[1].start or 0.0
    assert [segment.text for segment in made.segments] == ["abba", "cab", "ab cab"]
    assert made.segments[0].start == 0.0 and made.segments[2].end is None and len(made.wave) == 3 * RATE
    assert made.segments[1].start == pytest.approx((spans[2].start or 0.0) - start)
    assert made.previous == "ba"
    plain = dataset(spans, tokens=1000, timestamps=0.0).item(1, 0)
    assert plain.segments == made.segments[:2]
    assert len(plain.wave) == pytest.approx(((spans[2].end or 0.0) - start) * RATE, abs=2)
    last = windows.item(len(spans) - 1, 0)
    assert len(last.segments) == 1 and last.segments[0].end == pytest.approx(spans[-1].duration)


def test_times_of_overlapping_speakers_do_not_decrease(spans: list[Entry]) -> None:
    turn, word, answer = (
        replace(spans[0], text=text, start=start, end=end, duration=end - start)
        for text, start, end in (("turn", 0.0, 2.0), ("word", 0.5, 1.0), ("answer", 1.5, 2.5))
    )
    made = dataset([turn, word, answer]).item(0, 1)
    assert made.segments == [TimedText("turn word", 0.0, 2.0), TimedText("answer", 2.0, 2.5)]
    assert len(made.wave) == round(2.5 * RATE), "the word does not cut the turn short"


def test_no_window_includes_speech_without_its_text(spans: list[Entry]) -> None:
    """Speech of another split, or left out: the model would learn to ignore it."""
    own = [entry for i, entry in enumerate(spans) if i not in (2, 5)]

    def windows(all_entries: list[Entry]) -> WindowDataset:
        config = WindowConfig(packed=0.0, timestamps=0.0, no_speech=0.0, previous=1.0)
        return WindowDataset(
            own,
            RATE,
            config,
            WhisperAugmentConfig(),
            seconds=30.0,
            count=len,
            tokens=1000,
            training=True,
            all_entries=all_entries,
        )

    made = [windows(spans).item(index, 0) for index in (0, 2, 4)]
    assert [[segment.text for segment in window.segments] for window in made] == [
        [entry.text for entry in spans[:2]],
        [entry.text for entry in spans[3:5]],
        [entry.text for entry in spans[6:]],
    ]
    assert len(made[0].wave) == pytest.approx((spans[1].end or 0.0) * RATE, abs=2)
    assert not made[1].previous, "the text before is not in the entries"
    assert len(windows(own).item(0, 0).segments) == len(own)


def test_no_window_includes_speech_that_a_choice_leaves_out(spans: list[Entry], tmp_path: Path) -> None:
    mixed = [replace(entry, lang="de" if i == 1 else "en") for i, entry in enumerate(spans)]
    manifest.write(tmp_path / "mixed.jsonl", mixed)
    chosen, everything = opened(f"{tmp_path / 'mixed.jsonl'} [lang=en]")
    assert len(chosen) == len(spans) - 1 and len(everything) == len(spans)
    assert _following(chosen, chosen)[0] == 1 and 0 not in _following(chosen, everything)
    assert opened(str(tmp_path / "mixed.jsonl"))[0] == everything


def test_a_change_of_text_is_another_data_set(clips: list[Entry]) -> None:
    changed = [replace(clips[0], text="another"), *clips[1:]]
    assert dataset(clips).fingerprint() == dataset(list(clips)).fingerprint() != dataset(changed).fingerprint()


def test_configuration_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"windows.timestamps 2: a share"):
        WindowConfig(timestamps=2)
    with pytest.raises(ConfigError, match=r"windows.padding 'half'"):
        WindowConfig(padding="half")
    for wrong, words in (
        (["windows.seconds=0"], r"windows\.seconds 0: must be more than 0"),
        (["windows.pad_positions=-1"], r"windows\.pad_positions -1"),
        (["windows.text_normalizer=none"], r"windows\.text_normalizer 'none': choose one of raw, basic, english"),
        (["wer_normalizer=wer"], r"wer_normalizer 'wer': choose one of raw, basic, english"),
        (["dev_clips=0"], r"dev_clips 0: must be at least 1"),
        (["samples=-1"], r"samples -1"),
        (["tune.lora.rank=-1"], r"tune\.lora\.rank -1"),
        (["augment.mel_width=-1"], r"augment\.mel_width -1"),
        (["distil.temperature=0"], r"distil\.temperature 0"),
        (["init=whisper", "vocabulary.file=some.json"], r"vocabulary\.file: goes with a new model"),
    ):
        with pytest.raises(ConfigError, match=words):
            configuration.load(WhisperTrainConfig, overrides=wrong)
    assert len(WORDS) == len(set(WORDS))


def test_a_clip_that_lasts_longer_than_stated(clips: list[Entry]) -> None:
    """Audio and text of a window agree, and no time lies after its end."""
    long = replace(clips[0], duration=0.5)
    seconds = clips[0].duration
    for window, expected in ((seconds / 2, None), (seconds - 0.05, seconds - 0.05), (seconds, seconds)):
        made = dataset([long, *clips[1:]], window=window, packed=0.0)
        if expected is None:
            with pytest.raises(AudioError, match=r"lasts .* s, not the stated 0\.5 s: longer than a window"):
                made.item(0, 1)
        else:
            found = made.item(0, 1)
            assert found.segments[0].end == pytest.approx(expected) == pytest.approx(len(found.wave) / RATE, abs=1e-3)
    packed = dataset([replace(clip, duration=0.3) for clip in clips], packed=1.0)
    for i in range(len(clips)):
        window = packed.item(i, i)
        assert window.segments[-1].end == pytest.approx(len(window.wave) / RATE, abs=1e-3)


def test_times_move_with_the_speed(clips: list[Entry]) -> None:
    made = [
        dataset(clips, augment=WhisperAugmentConfig(speed=0.2)).item(i, seed)
        for i in range(len(clips))
        for seed in range(5)
    ]
    ratios = set()
    for window in made:
        assert len(window.wave) <= 3.0 * RATE
        for segment in window.segments:
            assert segment.end is not None
            cut = window.wave[round(segment.start * RATE) : round(segment.end * RATE)]
            ratios.add(round(len(say(segment.text.lower())) / len(cut), 2))
            assert cut[-RATE // 100 :].abs().max() > 0, "all of the clip is there"
    assert {0.8, 1.2} <= ratios <= {n / 20 for n in range(16, 25)}


def test_noise_microphones_and_narrow_bands_are_for_training_alone(clips: list[Entry]) -> None:
    plain = dataset(clips, packed=0.0).item(0, 1).wave
    for augment in (
        WhisperAugmentConfig(noise=1.0),
        WhisperAugmentConfig(microphone=1.0),
        WhisperAugmentConfig(band=1.0),
    ):
        changed = dataset(clips, packed=0.0, augment=augment).item(0, 1).wave
        assert len(changed) == len(plain) and not torch.equal(changed, plain)
        assert torch.equal(dataset(clips, training=False, augment=augment).item(0, 1).wave, plain)


def test_impossible_changes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"augment\.speed"):
        WhisperAugmentConfig(speed=0.9)
    with pytest.raises(ConfigError, match=r"augment\.band"):
        WhisperAugmentConfig(band=-0.1)
