"""Units of a corpus: one per frame, and targets for any crop at any rate."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import small

from zoo.data.manifest import Entry
from zoo.errors import CheckpointError, ConfigError, ZooError
from zoo.io.locks import lock_folder
from zoo.units import Labels, features, fit_quantizer, label_corpus, labels, layer, mfcc39
from zoo.units.labels import Labeling


def test_labels_are_the_units_of_each_entry(
    clips: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BLOCK_SECONDS", 1.6)
    monkeypatch.setattr(labels, "PART_SECONDS", 2.0)
    hubert = small("hubert-base")
    source = layer(hubert, 2)
    quantizer = fit_quantizer(clips, source, (7, 5))
    made = label_corpus(quantizer, source, clips, tmp_path / "labels")
    assert len(list((tmp_path / "labels").glob("part-*"))) == 3
    assert len(made) == len(clips) and made.rate == hubert.frame_rate and made.sizes == (7, 5)
    for i, entry in enumerate(clips):
        frames = hubert.encode(entry.audio, layer=2).x[0]
        assert made[i].shape == (len(frames), 2)
        assert (made[i] == quantizer.assign(frames)).float().mean() > 0.97, "but for ties, as the clip alone"
    assert [int(c.sum()) for c in made.counts] == [int(made.lengths.sum())] * 2
    again = Labels.open(tmp_path / "labels")
    assert all(torch.equal(again[i], made[i]) for i in range(len(clips)))
    assert again.quantizer == quantizer.fingerprint


def test_several_processes_write_the_same_files_as_one(
    clips: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BLOCK_SECONDS", 1.0)
    monkeypatch.setattr(labels, "PART_SECONDS", 1.5)
    source = mfcc39(50)
    quantizer = fit_quantizer(clips, source, 7)
    label_corpus(quantizer, source, clips, tmp_path / "one")
    work = [Labeling(quantizer, source, clips, tmp_path / "two") for _ in range(2)]
    work[0].folder.mkdir()
    work[0].claim()
    work[1].write(1, 2)
    assert work[0].missing() == work[0].missing(0, 2) and not work[0].missing(1, 2) and not work[0].finished()
    work[0].write(0, 2)
    assert work[1].finished()
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert len(one) > 3 and one == two


def test_targets_of_a_crop(clips: list[Entry], tmp_path: Path) -> None:
    hubert, fast = small("hubert-base"), small("hubert-fast")
    source = mfcc39(100)
    made = label_corpus(fit_quantizer(clips, source, 9), source, clips, tmp_path / "labels")
    units = made[3][:, 0].long()
    count = hubert.count_frames(round(clips[3].duration * 16_000))
    assert torch.equal(made.at(3, 0, count, hubert)[:, 0], units[::2][:count])
    assert torch.equal(made.at(3, 7 * 320, 20, hubert)[:, 0], units[14:54:2])
    assert torch.equal(made.at(3, 160, 20, hubert)[:, 0], units[1:41:2])
    faster = made.at(3, 0, 20, hubert, speed=1.5)[:, 0]  # middles at 1.5 (200 + 320 t) samples of the recording
    assert torch.equal(faster, units[1:61:3])
    assert fast.frame_rate == 25
    first = round(((fast.frame_samples - 400) / 2) / 160)  # 10 ms frames from their first middle to that of the model
    assert torch.equal(made.at(3, 0, 10, fast)[:, 0], units[first::4][:10])
    assert made.at(3, 0, 500, hubert)[-1, 0] == units[-1], "past the end the last unit stays"


def test_failures_have_no_units(clips: list[Entry], tmp_path: Path) -> None:
    source = mfcc39(50)
    quantizer = fit_quantizer(clips, source, 5)
    entries = [clips[0], Entry(tmp_path / "missing.wav", 1.0, "train"), clips[1]]
    made = label_corpus(quantizer, source, entries, tmp_path / "labels")
    assert list(made.failures) == [1] and len(made[1]) == 0 and len(made[2]) > 0
    with pytest.raises(CheckpointError, match="entry 1 has no units"):
        made.at(1, 0, 5, small("hubert-base"))


def test_entries_that_were_away_get_their_units_at_the_next_call(clips: list[Entry], tmp_path: Path) -> None:
    source, entries = mfcc39(50), clips[:4]
    quantizer = fit_quantizer(clips, source, 5)
    label_corpus(quantizer, source, entries, tmp_path / "clean")
    clean = (tmp_path / "clean" / "part-00000.safetensors").read_bytes()
    away = [entries[0].audio, entries[2].audio]
    for path in away:
        path.rename(path.with_suffix(".away"))
    folder = tmp_path / "labels"
    part = folder / "part-00000.safetensors"
    assert list(label_corpus(quantizer, source, entries, folder).failures) == [0, 2]
    stored = part.read_bytes()
    assert list(label_corpus(quantizer, source, entries, folder).failures) == [0, 2]
    away[0].with_suffix(".away").rename(away[0])
    entries[1].audio.rename(entries[1].audio.with_suffix(".away"))  # it keeps its units
    assert list(label_corpus(quantizer, source, entries, folder).failures) == [0, 2]
    assert part.read_bytes() == stored
    entries[1].audio.with_suffix(".away").rename(entries[1].audio)
    away[1].with_suffix(".away").rename(away[1])
    assert not label_corpus(quantizer, source, entries, folder).failures
    assert part.read_bytes() == clean


def test_finished_labels_can_be_read_while_another_process_locks_the_folder(clips: list[Entry], tmp_path: Path) -> None:
    """All processes of a run read the labels at once, after the first process has made them."""
    source, folder = mfcc39(50), tmp_path / "labels"
    quantizer = fit_quantizer(clips, source, 5)
    made = label_corpus(quantizer, source, clips, folder)
    with lock_folder(folder), ThreadPoolExecutor(3) as pool:
        for read in pool.map(lambda _: label_corpus(quantizer, source, clips, folder), range(3)):
            assert all(torch.equal(read[i], made[i]) for i in range(len(clips)))
        with pytest.raises(CheckpointError, match="data differ"):
            label_corpus(quantizer, source, clips[1:], folder)
        (folder / "part-00000.safetensors").unlink()
        with pytest.raises(ZooError, match="another run is writing"):
            label_corpus(quantizer, source, clips, folder)


def test_errors(clips: list[Entry], tmp_path: Path) -> None:
    source, folder = mfcc39(50), tmp_path / "labels"
    quantizer = fit_quantizer(clips, source, 5)
    label_corpus(quantizer, source, clips, folder)
    with pytest.raises(CheckpointError, match="differs"):
        label_corpus(quantizer, mfcc39(100), clips, folder)
    with pytest.raises(CheckpointError, match="quantizer"):
        label_corpus(fit_quantizer(clips, source, 5, seed=1), source, clips, folder)
    with pytest.raises(CheckpointError, match="data"):
        label_corpus(quantizer, source, [replace(clips[0], start=0.1), *clips[1:]], folder)
    with pytest.raises(ConfigError, match="no entries to label"):
        label_corpus(quantizer, source, [], tmp_path / "none")
    with pytest.raises(CheckpointError, match="has no labels"):
        Labels.open(tmp_path)
    part = folder / "part-00000.safetensors"
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="run label_corpus again"):
        Labels.open(folder)
    assert len(label_corpus(quantizer, source, clips, folder)[0])
