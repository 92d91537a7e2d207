"""Sources: leaks between splits are found; splits and limits depend on the data only."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic import tones

from zoo.benchmarks.items import LeakError, open_source
from zoo.benchmarks.suite import SuiteSource, SuiteTask
from zoo.data import manifest
from zoo.errors import ConfigError


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return tones(tmp_path / "tones", count=30)


def test_the_same_recording_under_another_name_is_a_leak(corpus: Path) -> None:
    entries = manifest.read(corpus)
    copy = corpus.parent / "innocent.wav"
    shutil.copy(entries[0].audio, copy)
    manifest.write(corpus, [*entries, replace(entries[-1], audio=copy)])
    with pytest.raises(LeakError, match=r"innocent\.wav"):
        open_source(SuiteSource(str(corpus)))


def test_a_speaker_in_two_splits_is_a_leak_unless_it_is_declared(corpus: Path) -> None:
    entries = manifest.read(corpus)
    entries[-1].speaker = entries[0].speaker
    manifest.write(corpus, entries)
    with pytest.raises(LeakError, match=r"'speaker'.*split_by: speaker"):
        open_source(SuiteSource(str(corpus)))
    items = open_source(SuiteSource(str(corpus), shared="official split"))
    assert "official split" in items.notes[0]


def test_random_splits_of_grouped_clips_are_a_leak_and_split_by_fixes_it(corpus: Path) -> None:
    entries = manifest.read(corpus)
    for i, entry in enumerate(entries):
        entry.split = ("train", "dev", "test")[i % 3]
    manifest.write(corpus, entries)
    with pytest.raises(LeakError, match="speaker"):
        open_source(SuiteSource(str(corpus)))
    items = open_source(SuiteSource(str(corpus), split_by="speaker", dev=["s1", "s2"], test=["s3"]))
    splits = {split: {i.entry.speaker for i in items.items if i.entry.split == split} for split in manifest.SPLITS}
    assert splits["test"] == {"s3"} and splits["dev"] == {"s1", "s2"} and "s0" in splits["train"]
    with pytest.raises(ConfigError, match="unknown"):
        open_source(SuiteSource(str(corpus), split_by="speaker", test=["unknown"]))


def spans(corpus: Path, *bounds: tuple[float, float, str]) -> list[manifest.Entry]:
    """Replace the corpus by these spans (start, end, split) of one recording without a speaker."""
    entry = replace(manifest.read(corpus)[0], speaker=None, phones=[])
    entries = [replace(entry, start=start, end=end, duration=end - start, split=split) for start, end, split in bounds]
    manifest.write(corpus, entries)
    return entries


def test_spans_of_one_file_in_two_splits_are_a_leak_unless_it_is_declared(corpus: Path) -> None:
    spans(corpus, (0.0, 0.1, "train"), (0.05, 0.15, "test"))
    with pytest.raises(LeakError, match=r"1 audio files have spans .*tones/000\.wav; .*shared"):
        open_source(SuiteSource(str(corpus)))
    items = open_source(SuiteSource(str(corpus), shared="official split"))
    assert "official split" in items.notes[0]


def test_a_span_of_a_file_that_is_whole_in_another_split_is_a_leak(corpus: Path) -> None:
    whole, *_ = manifest.read(corpus)
    copy = Path(shutil.copy(whole.audio, corpus.parent / "innocent.wav"))
    manifest.write(corpus, [whole, replace(whole, audio=copy, speaker="other", start=0.1, split="test", phones=[])])
    with pytest.raises(LeakError, match="spans in more than one split"):
        open_source(SuiteSource(str(corpus)))


def test_one_span_in_two_splits_is_a_leak_even_if_declared(corpus: Path) -> None:
    spans(corpus, (0.0, 0.1, "train"), (0.0, 0.1, "test"))
    with pytest.raises(LeakError, match="recordings are in more than one split"):
        open_source(SuiteSource(str(corpus), shared="official split"))


def test_spans_of_one_file_are_one_group_without_a_group_column(corpus: Path) -> None:
    others = [replace(entry, speaker=None) for entry in manifest.read(corpus)[1:]]
    manifest.write(corpus, [*spans(corpus, (0.0, 0.1, "train"), (0.05, 0.15, "train")), *others])
    first, second, *rest = open_source(SuiteSource(str(corpus))).items
    assert first.group == second.group and first.digest != second.digest
    assert len({item.group for item in rest}) == len(rest) and all(item.group == item.digest for item in rest)


def test_digests_of_files_and_spans_match_cached_features(corpus: Path) -> None:
    first, *others = manifest.read(corpus)
    half = replace(first, start=0.0, end=0.1, duration=0.1, phones=[])
    manifest.write(corpus, [first, half, *others])
    data = first.audio.read_bytes()
    digests = [item.digest for item in open_source(SuiteSource(str(corpus))).items[:2]]
    assert digests == [hashlib.sha256(data + span).hexdigest()[:24] for span in (b"", b"0.0 0.1")]


def test_a_file_is_read_once_for_all_its_spans(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spans(corpus, *((0.01 * number, 0.1, "train") for number in range(5)))
    opened: list[str] = []
    plain = Path.open

    def noting(path: Path, *args: Any, **options: Any) -> Any:
        opened.append(path.name)
        return plain(path, *args, **options)

    monkeypatch.setattr(Path, "open", noting)
    open_source(SuiteSource(str(corpus)))
    assert opened.count("000.wav") == 1


def test_another_column_can_be_the_group(corpus: Path) -> None:
    with pytest.raises(LeakError, match="'one'"):
        open_source(SuiteSource(str(corpus), group="one"))
    entries = manifest.read(corpus)
    for index, entry in enumerate(entries):
        entry.labels["day"] = f"{entry.split} {index}"
    manifest.write(corpus, [*entries[:-1], replace(entries[-1], speaker=entries[0].speaker)])
    with pytest.raises(LeakError, match="1 of the column 'speaker'"):  # the other columns are still checked
        open_source(SuiteSource(str(corpus), group="day"))
    manifest.write(corpus, entries)
    assert open_source(SuiteSource(str(corpus), group="day")).items[0].group == "train 0"
    with pytest.raises(ConfigError, match=r"group 'speeker': no clip has such a column; .*pitch"):
        open_source(SuiteSource(str(corpus), group="speeker"))
    named = [
        open_source(SuiteSource(str(corpus), group=group, shared="tones")).fingerprint for group in ("speaker", "pitch")
    ]
    assert len(set(named)) == 2, "other groups give other intervals, so another fingerprint"


def test_fingerprint_depends_on_audio_and_labels_only(corpus: Path, tmp_path: Path) -> None:
    first = open_source(SuiteSource(str(corpus))).fingerprint
    moved = tmp_path / "elsewhere"
    shutil.copytree(corpus.parent, moved)
    assert open_source(SuiteSource(str(moved / "manifest.jsonl"))).fingerprint == first
    entries = manifest.read(corpus)
    entries[3].labels["pitch"] = "other"
    manifest.write(corpus, entries)
    assert open_source(SuiteSource(str(corpus))).fingerprint != first


def test_limits_choose_by_name(corpus: Path) -> None:
    few = open_source(SuiteSource(str(corpus), limit={"train": 5}))
    train = [item.key for item in few.items if item.entry.split == "train"]
    assert len(train) == 5
    assert set(train) < {i.key for i in open_source(SuiteSource(str(corpus), limit={"train": 9})).items}
    for limit, message in (({"training": 5}, "training"), ({"test": -3}, "test: -3 clips")):
        with pytest.raises(ConfigError, match=message):
            open_source(SuiteSource(str(corpus), limit=limit))


def test_dev_and_test_are_values_of_a_column_and_have_none_in_common(corpus: Path) -> None:
    with pytest.raises(ConfigError, match="split_by"):
        open_source(SuiteSource(str(corpus), dev=["s1"], test=["s2"]))
    with pytest.raises(ConfigError, match="s1 cannot be in dev and in test"):
        open_source(SuiteSource(str(corpus), split_by="speaker", dev=["s1"], test=["s2", "s1"]))
    entries = manifest.read(corpus)
    manifest.write(corpus, [replace(entries[0], speaker=None), *entries[1:]])
    items = open_source(SuiteSource(str(corpus), split_by="speaker", dev=["s1"], test=["s2"]))
    assert items.notes == ("1 clips without speaker are in train",)


def test_missing_files_are_no_leak_if_their_folders_differ(corpus: Path) -> None:
    entries = manifest.read(corpus)
    for entry, folder in ((entries[0], "train"), (entries[-1], "test")):
        entry.audio = corpus.parent / folder / "0001.wav"
    manifest.write(corpus, entries)
    assert len(open_source(SuiteSource(str(corpus))).items) == len(entries)


def test_names_that_are_not_utf8_have_a_key_that_is(corpus: Path) -> None:
    for number, split in enumerate(("train", "dev", "test")):
        folder = _folder(corpus.parent / "folders" / split / "low")
        (corpus.parent / f"00{number}.wav").rename(os.fsdecode(bytes(folder) + b"/m\xfcller.wav"))
    keys = [item.key for item in open_source(SuiteSource(str(corpus.parent / "folders"))).items]
    assert all(key.startswith("low/m\ufffdller.wav") for key in keys) and len({*keys}) == 3


def test_a_column_that_no_clip_has_is_an_error(corpus: Path) -> None:
    with pytest.raises(ConfigError, match=r"no clip has a column 'mood'; .*pitch"):
        open_source(SuiteSource(str(corpus))).select(SuiteTask("a", "b", "class", target="mood"))


# Names of clips


def test_clips_with_equal_names_get_distinct_keys_and_other_keys_stay(corpus: Path) -> None:
    entries = manifest.read(corpus)
    for entry in entries[:4]:
        entry.audio = entry.audio.rename(
            _folder(corpus.parent / str(entry.speaker) / entry.audio.stem / "wav") / "a.wav"
        )
    manifest.write(corpus, entries)
    items = open_source(SuiteSource(str(corpus))).items
    assert [item.key for item in items[:4]] == [f"wav/a.wav#{item.digest[:8]}" for item in items[:4]]
    assert [item.key for item in items[4:]] == [f"tones/{number:03d}.wav" for number in range(4, 30)]


def test_the_same_audio_under_one_name_twice_in_a_split_has_two_names(corpus: Path) -> None:
    entries = manifest.read(corpus)
    manifest.write(corpus, [*entries, entries[0]])
    keys = [item.key for item in open_source(SuiteSource(str(corpus))).items]
    assert len(set(keys)) == len(keys) and keys[-1] == f"{keys[0]}.2"


def test_spans_are_named_by_their_exact_start(corpus: Path) -> None:
    entries = manifest.read(corpus)
    starts = [0.0, 2.5, 1234.56, 1234.5601, 12345678.0, 5.0, 5.0]
    spans = [
        replace(entries[0], start=start, end=start + 1 + index, duration=1.0 + index)
        for index, start in enumerate(starts)
    ]
    manifest.write(corpus, [*spans, *entries[1:]])
    items = open_source(SuiteSource(str(corpus))).items
    names = ["0", "2.5", "1234.56", "1234.5601", "12345678.0", *(f"5#{item.digest[:8]}" for item in items[5:7])]
    assert [item.key for item in items[:7]] == [f"tones/000.wav@{name}" for name in names]


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def with_folds(corpus: Path, count: int = 3) -> Path:
    """Assign the speakers to folds, in a column `fold`."""
    entries = manifest.read(corpus)
    for entry in entries:
        entry.labels["fold"] = f"f{int(str(entry.speaker)[1:]) % count}"
    manifest.write(corpus, entries)
    return corpus


def test_each_fold_is_test_once_and_the_next_one_dev(corpus: Path) -> None:
    items = open_source(SuiteSource(str(with_folds(corpus)), folds="fold"))
    assert {item.entry.split for item in items.items} == {"test"}
    for (fold, part), dev in zip(items.folds(), ["f1", "f2", "f0"], strict=True):
        assert all(a.key == b.key for a, b in zip(items.items, part.items, strict=True))
        for item in part.items:
            assert item.entry.split == {fold: "test", dev: "dev"}.get(item.fold, "train")
    assert [fold for fold, _ in items.folds()] == ["f0", "f1", "f2"]
    assert items.fingerprint != open_source(SuiteSource(str(corpus), folds="speaker")).fingerprint
    plain = open_source(SuiteSource(str(corpus)))
    assert plain.folds() == [("", plain)]


def test_a_speaker_in_two_folds_is_a_leak(corpus: Path) -> None:
    entries = manifest.read(with_folds(corpus))
    entries[0].labels["fold"] = "f2"
    manifest.write(corpus, entries)
    with pytest.raises(
        LeakError, match=r"'speaker' are in more than one fold, e\.g\. s0; split by it \(folds: speaker\)"
    ):
        open_source(SuiteSource(str(corpus), folds="fold"))
    copy = Path(shutil.copy(entries[1].audio, corpus.parent / "innocent.wav"))
    manifest.write(corpus, [*entries[1:], replace(entries[-1], audio=copy)])
    with pytest.raises(LeakError, match=r"1 recordings are in more than one fold"):
        open_source(SuiteSource(str(corpus), folds="fold"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"folds": "sex"}, r"folds 'sex': 30 of 30 clips have no value in this column; label columns: fold, height"),
        ({"folds": "pitch"}, r"folds 'pitch': .* 3 values or more, .*\['high', 'low'\]"),
        ({"folds": "fold", "split_by": "speaker"}, "folds: each fold is test once"),
        ({"folds": "fold", "limit": {"train": 3}}, "folds: each fold is test once"),
    ],
)
def test_folds_that_cannot_be_made_are_named(corpus: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_source(SuiteSource(str(with_folds(corpus)), **fields))
