"""Batches of waveforms do not depend on threads, caches or processes; a broken file costs one item."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from tiny_task import RATE, loader, write_corpus

from zoo import audio
from zoo.data.dataset import AudioDataset, Batch
from zoo.data.loader import DataConfig, Loader, Step, loaders
from zoo.data.manifest import Entry, write
from zoo.data.sampler import BatchSampler, Cursor
from zoo.errors import AudioError, ConfigError, ManifestError


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    return write_corpus(tmp_path / "corpus")


def content(steps: list[Step]) -> list[Any]:
    batches = [batch for step in steps for batch in step.batches]
    return [(b.waves.tolist(), b.indices.tolist(), b.starts.tolist(), b.seeds.tolist(), b.seed) for b in batches]


def test_a_batch_has_the_requested_items(entries: list[Entry]) -> None:
    batch = loader(entries).batch(Cursor(), [3, 0, 11])
    assert batch.indices.tolist() == [3, 0, 11] and batch.entries == [entries[i] for i in (3, 0, 11)]
    for wave, length, start, entry in zip(batch.waves, batch.lengths, batch.starts, batch.entries, strict=True):
        whole = audio.load(entry.audio, RATE)
        assert length == min(len(whole), RATE) and not wave[length:].any()
        assert torch.equal(wave[:length], whole[start : start + length])


def test_threads_cache_and_history_do_not_change_a_batch(entries: list[Entry]) -> None:
    first = loader(entries)
    expected = content(list(islice(first.steps(Cursor(), 2), 20)))
    dataset = AudioDataset(entries, RATE, max_seconds=1.0)
    other = Loader(dataset, BatchSampler(dataset.seconds, 4.0), workers=5, prefetch=9)
    assert content(list(islice(other.steps(Cursor(), 2), 20))) == expected
    cursor = list(islice(first.steps(Cursor(), 2), 7))[-1].cursor
    assert content(list(islice(loader(entries).steps(cursor, 2), 13))) == expected[14:]


def test_processes_share_the_batches_of_each_step(entries: list[Entry]) -> None:
    whole = list(islice(loader(entries).steps(Cursor(), 4), 5))
    parts = [list(islice(loader(entries).steps(Cursor(), 4, rank, 2), 5)) for rank in (0, 1)]
    for step, even, odd in zip(whole, *parts, strict=True):
        assert step.cursor == even.cursor == odd.cursor
        assert content([Step(step.batches[0::2], step.cursor, 0)]) == content([even])
        assert content([Step(step.batches[1::2], step.cursor, 0)]) == content([odd])


def test_seeds_depend_only_on_item_and_epoch(entries: list[Entry]) -> None:
    a, b = loader(entries).batch(Cursor(0, 0), [5, 6, 7]), loader(entries).batch(Cursor(0, 9), [7, 1])
    assert a.seeds[2] == b.seeds[0] and a.starts[2] == b.starts[0]
    again = loader(entries).batch(Cursor(1, 0), [5, 6, 7])
    assert not (again.seeds == a.seeds).any()


def test_only_the_crop_of_a_long_recording_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wave = torch.rand(90 * RATE) - 0.5
    soundfile.write(tmp_path / "long.wav", wave.numpy(), RATE, subtype="FLOAT")
    calls = []
    load = audio.load
    monkeypatch.setattr(audio, "load", lambda *a, **k: calls.append(k) or load(*a, **k))
    dataset = AudioDataset([Entry(tmp_path / "long.wav", 90.0, "train")], RATE, max_seconds=2.0, cache_hours=1)
    items = [dataset.item(0, seed) for seed in range(6)]
    assert all(torch.equal(item.wave, wave[item.start : item.start + 2 * RATE]) for item in items)
    assert len({item.start for item in items}) == 6 and all(k["end"] - k["start"] == pytest.approx(2) for k in calls)


def test_crops_of_a_span_are_inside_the_span(tmp_path: Path) -> None:
    wave = torch.rand(4 * RATE) - 0.5
    soundfile.write(tmp_path / "a.wav", wave.numpy(), RATE, subtype="FLOAT")
    dataset = AudioDataset([Entry(tmp_path / "a.wav", 2.0, "train", 1.0, 3.0)], RATE, max_seconds=0.5)
    for seed in range(20):
        item = dataset.item(0, seed)
        assert torch.equal(item.wave, wave[RATE + item.start :][: RATE // 2]) and item.start <= 1.5 * RATE


def break_files(entries: list[Entry], *indices: int) -> None:
    for index in indices:
        entries[index].audio.write_bytes(b"RIFF")


def test_a_corrupt_item_is_replaced_counted_and_listed(entries: list[Entry], tmp_path: Path) -> None:
    break_files(entries, 4)
    runs = []
    for _ in range(2):
        broken = loader(entries)
        broken.skipped.attach(tmp_path / "skipped.jsonl")
        runs.append(content(list(islice(broken.steps(Cursor(), 2), 12))))
        assert len(broken.skipped) == 1
    assert runs[0] == runs[1]
    assert all(4 not in indices for _, indices, *_ in runs[0])
    (line,) = (tmp_path / "skipped.jsonl").read_text().splitlines()
    assert json.loads(line)["audio"] == str(entries[4].audio)
    batch = broken.batch(Cursor(), [4])
    near = sorted(entries, key=lambda e: abs(min(e.duration, 1) - min(entries[4].duration, 1)))[:4]
    assert batch.entries[0] in near


def test_items_repaired_since_an_earlier_run_do_not_count(entries: list[Entry], tmp_path: Path) -> None:
    backup = {i: entries[i].audio.read_bytes() for i in range(12)}
    break_files(entries, *backup)
    first = loader(entries)
    first.skipped.attach(tmp_path / "skipped.jsonl")
    with pytest.raises(ManifestError, match="items cannot be used"):
        list(islice(first.steps(Cursor(), 1), 20))
    for i, data in backup.items():
        if i != 4:
            entries[i].audio.write_bytes(data)
    again = loader(entries)
    again.skipped.attach(tmp_path / "skipped.jsonl")
    assert len(again.skipped) > 10
    list(islice(again.steps(Cursor(), 1), 2 * len(again.sampler.plan(0))))
    assert list(again.skipped.reasons) == [str(entries[4].audio)]


def test_a_list_of_skipped_items_with_a_truncated_line_can_be_read(entries: list[Entry], tmp_path: Path) -> None:
    line = json.dumps({"audio": str(entries[4].audio), "reason": "damaged"})
    (tmp_path / "skipped.jsonl").write_text(f"{line[:9]}{line}\n{line}\n{line[:9]}")
    broken = loader(entries)
    broken.skipped.attach(tmp_path / "skipped.jsonl")
    assert broken.skipped.reasons == {str(entries[4].audio): "damaged"}


def test_a_corrupt_item_is_left_out_of_dev(entries: list[Entry]) -> None:
    break_files(entries, 4)
    seen = [i for batch in loader(entries, shuffle=False) for i in batch.indices.tolist()]
    assert sorted(seen) == [i for i in range(24) if i != 4]


def test_a_corrupt_data_set_is_refused(entries: list[Entry]) -> None:
    break_files(entries, *range(12))
    with pytest.raises(ManifestError, match=r"1[1-4] of 24 items cannot be used"):
        list(islice(loader(entries).steps(Cursor(), 1), 30))


def test_a_too_short_item_is_refused(entries: list[Entry]) -> None:
    with pytest.raises(AudioError, match="too short: 5000 are needed"):
        AudioDataset(entries, RATE, min_samples=5000).item(0, 0)


def test_the_cache_stays_below_its_limit(entries: list[Entry]) -> None:
    dataset = AudioDataset(entries, RATE, cache_hours=3.0 / 3600)
    for index in range(len(entries)):
        dataset.item(index, 0)
    assert 2 * RATE < sum(len(wave) for wave in dataset._cache.values()) <= 3 * RATE


def test_one_item_of_a_batch(entries: list[Entry]) -> None:
    batch = loader(entries).batch(Cursor(), [3, 0, 11])
    one = batch.only(1)
    assert isinstance(one, Batch) and one.indices.tolist() == [0] and one.entries == [entries[0]]
    assert torch.equal(one.waves, batch.waves[1:2]) and one.seed == batch.seed


def test_loaders_of_a_manifest(entries: list[Entry], tmp_path: Path) -> None:
    for entry in entries[::6]:
        entry.split = "dev"
    write(tmp_path / "m.jsonl", entries)
    config = DataConfig(sources=str(tmp_path / "m.jsonl"), min_seconds=0.6, max_seconds=1.0)
    train, dev = loaders(config, sample_rate=RATE)
    usable = [entry.split for entry in entries if entry.duration >= 0.6]
    assert (len(train.dataset), len(dev.dataset)) == (usable.count("train"), usable.count("dev"))
    assert train.sampler.shuffle and not dev.sampler.shuffle
    with pytest.raises(ConfigError, match="none of 0 usable clips"):
        loaders(DataConfig(sources=str(tmp_path / "m.jsonl"), min_seconds=9.0), sample_rate=RATE)
