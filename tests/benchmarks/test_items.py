"""Sources: leaks between splits are caught, splits and limits are functions of the data alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import tones

from zoo.benchmarks.items import LeakError, open_source
from zoo.benchmarks.suite import Source, Task
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
        open_source(Source(str(corpus)))


def test_a_speaker_in_two_splits_is_a_leak_unless_it_is_declared(corpus: Path) -> None:
    entries = manifest.read(corpus)
    entries[-1].speaker = entries[0].speaker
    manifest.write(corpus, entries)
    with pytest.raises(LeakError, match=r"'speaker'.*split_by: speaker"):
        open_source(Source(str(corpus)))
    found = open_source(Source(str(corpus), shared="official split"))
    assert "official split" in found.notes[0]


def test_random_folds_where_groups_exist_are_a_leak_and_split_by_mends_it(corpus: Path) -> None:
    entries = manifest.read(corpus)
    for i, entry in enumerate(entries):
        entry.split = ("train", "dev", "test")[i % 3]
    manifest.write(corpus, entries)
    with pytest.raises(LeakError, match="speaker"):
        open_source(Source(str(corpus)))
    found = open_source(Source(str(corpus), split_by="speaker", dev=["s1", "s2"], test=["s3"]))
    splits = {split: {i.entry.speaker for i in found.items if i.entry.split == split} for split in manifest.SPLITS}
    assert splits["test"] == {"s3"} and splits["dev"] == {"s1", "s2"} and "s0" in splits["train"]
    with pytest.raises(ConfigError, match="nobody"):
        open_source(Source(str(corpus), split_by="speaker", test=["nobody"]))


def test_another_column_can_be_the_group(corpus: Path) -> None:
    with pytest.raises(LeakError, match="'one'"):
        open_source(Source(str(corpus), group="one"))


def test_fingerprint_follows_audio_and_labels_and_nothing_else(corpus: Path, tmp_path: Path) -> None:
    first = open_source(Source(str(corpus))).fingerprint
    moved = tmp_path / "elsewhere"
    shutil.copytree(corpus.parent, moved)
    assert open_source(Source(str(moved / "manifest.jsonl"))).fingerprint == first
    entries = manifest.read(corpus)
    entries[3].labels["pitch"] = "other"
    manifest.write(corpus, entries)
    assert open_source(Source(str(corpus))).fingerprint != first


def test_limits_choose_by_name(corpus: Path) -> None:
    few = open_source(Source(str(corpus), limit={"train": 5}))
    train = [item.key for item in few.items if item.entry.split == "train"]
    assert len(train) == 5
    assert set(train) < {i.key for i in open_source(Source(str(corpus), limit={"train": 9})).items}
    with pytest.raises(ConfigError, match="training"):
        open_source(Source(str(corpus), limit={"training": 5}))


def test_a_column_that_no_clip_has_is_an_error(corpus: Path) -> None:
    with pytest.raises(ConfigError, match=r"no clip has a column 'mood'; .*pitch"):
        open_source(Source(str(corpus))).chosen(Task("a", "b", "class", target="mood"))
