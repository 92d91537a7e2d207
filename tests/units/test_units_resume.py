"""Fits and dumps that are killed and run again give the same bytes as an uninterrupted run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import killed_fits
import pytest
import torch
from dying import kill

from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.units import features, fit_quantizer, labels, mfcc39, resumable_fit, task

# Blocks: the sample 1-5, two refinements 6-15, labels 16-20, another fit 21-25, units 26-30; a state after each.
MOMENTS = ["encode:3", "sums:9", "solve:2", "save:7", "sync:2", "part:3", "replace:9", "write:3"]


SETTINGS = [
    *((features, "BLOCK_SECONDS"), (labels, "PART_SECONDS"), (resumable_fit, "SAVE_SECONDS")),
    (task.UnitsTask, "limits"),
]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore the settings that `everything` changes."""
    for owner, name in SETTINGS:
        monkeypatch.setattr(owner, name, getattr(owner, name))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def check(clips: list[Entry], out: Path, moments: list[str]) -> None:
    folder = clips[0].audio.parent
    killed_fits.everything(folder, out / "whole")
    whole = files(out / "whole")
    assert sorted(whole) == [
        "labels/labels.json",
        *(f"labels/part-0000{i}.safetensors" for i in range(3)),
        "quantizer.safetensors",
        "units.jsonl",
    ]
    assert kill(killed_fits.__file__, [folder, out], moments, threads=1) == [f"{moment} 9" for moment in moments]
    for moment in moments:
        assert files(out / moment) != whole
        killed_fits.everything(folder, out / moment)
        assert files(out / moment) == whole, moment


@pytest.mark.slow
def test_killed_at_any_moment(clips: list[Entry], tmp_path: Path) -> None:
    check(clips, tmp_path / "out", MOMENTS)


@pytest.mark.slow
def test_killed_at_random_moments(clips: list[Entry], tmp_path: Path) -> None:
    counts = {"encode": 30, "sums": 20, "save": 18, "sync": 46, "replace": 20, "write": 6, "part": 3}
    rng = random.Random(0)
    moments = [f"{name}:{rng.randint(1, counts[name])}" for name in rng.choices(list(counts), k=24)]
    check(clips, tmp_path / "out", sorted(set(moments)))


@pytest.mark.slow
def test_finished_work_is_not_repeated(clips: list[Entry], tmp_path: Path) -> None:
    """After a kill in the 11th of 15 blocks of the fit, the next run encodes five of them and the later steps."""
    assert kill(killed_fits.__file__, [clips[0].audio.parent, tmp_path], ["encode:11"], threads=1) == ["encode:11 9"]
    encoded = 0
    whole = features.FeatureSource._encode

    def count(*args: object) -> object:
        nonlocal encoded
        encoded += 1
        return whole(*args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features.FeatureSource, "_encode", count)
        killed_fits.everything(clips[0].audio.parent, tmp_path / "encode:11")
    assert encoded == 5 + 5 + 5 + 5


def test_the_state_of_another_fit_is_an_error(clips: list[Entry], tmp_path: Path) -> None:
    kill(killed_fits.__file__, [clips[0].audio.parent, tmp_path], ["encode:7"], threads=1)
    path = tmp_path / "encode:7" / "quantizer.safetensors"
    state = path.with_name(f".{path.name}.state")
    before = state.read_bytes()
    with pytest.raises(ConfigError, match="other arguments, data or encoder"):
        fit_quantizer(clips, mfcc39(50), 9, path=path)
    assert state.read_bytes() == before
    state.write_bytes(before[:50])
    with pytest.raises(ConfigError, match="damaged state"):
        fit_quantizer(clips, mfcc39(50), 9, path=path)
