"""Builds that are killed and run again: finished work is kept and not repeated; the old index stays until the end."""

from __future__ import annotations

import shutil
from pathlib import Path

import killed_builds
import pyarrow.parquet as pq
import pytest
import torch
from bands import write_tone
from dying import kill

from zoo.search import Index, increment

# The index is written empty, then with its items: save 2; a shard of two items is embedded at a time.
MOMENTS = [
    *("save:1", "sync:1", "sync:2", "embed:1", "embed:3", "replace:4"),
    *("save:2", "replace:7", "sync:13", "unlink:4", "unlink:5"),
]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(increment, "SHARD_ITEMS", increment.SHARD_ITEMS)  # restores what `run` changes


def check_killed(audio: Path, folder: Path, moments: list[str]) -> None:
    assert kill(killed_builds.__file__, [audio, folder], moments) == [f"{moment} 9" for moment in moments]


def finished(out: Path) -> int:
    """Items in whole shards."""
    return sum(pq.read_metadata(path).num_rows for path in (out / increment.FOLDER).glob("part-*.parquet"))


def indexed(out: Path) -> int:
    """Items in the index."""
    return len(Index.open(out)) if (out / "index.safetensors").exists() else 0


def check_resumed(audio: Path, out: Path, whole: Index) -> int:
    """A build after a killed one embeds only the unfinished items. Returns the number of finished items."""
    before = max(finished(out), indexed(out))
    summary = killed_builds.run(audio, out)
    assert summary.embedded == len(whole) - before, out.name
    index = Index.open(out)
    assert index.entries == whole.entries
    torch.testing.assert_close(index.vectors, whole.vectors, atol=1e-6, rtol=0)
    assert [path.name for path in out.iterdir()] == ["index.safetensors"]
    return before


@pytest.mark.slow
def test_a_first_build_killed_at_any_moment(tones: Path, tmp_path: Path) -> None:
    killed_builds.run(tones, tmp_path / "whole")
    check_killed(tones, tmp_path, MOMENTS)
    whole = Index.open(tmp_path / "whole")
    assert {check_resumed(tones, tmp_path / moment, whole) for moment in MOMENTS} >= {0, 2, 4, 8}


@pytest.mark.slow
def test_an_update_killed_at_any_moment(tones: Path, tmp_path: Path) -> None:
    """The index has the old entries until it has the new ones."""
    killed_builds.run(tones, tmp_path / "old")
    moments = ["embed:2", "sync:6", "save:1", "replace:4", "sync:8", "unlink:4"]
    for moment in moments:
        shutil.copytree(tmp_path / "old", tmp_path / moment)
    (tones / "0.wav").unlink()
    write_tone(tones / "1.wav", 5, 0.7)
    for name in ("20", "40", "60"):
        write_tone(tones / f"{name}.wav", 3)
    killed_builds.run(tones, tmp_path / "whole")
    check_killed(tones, tmp_path, moments)
    old, whole = Index.open(tmp_path / "old"), Index.open(tmp_path / "whole")
    embedded = []
    for moment in moments:
        index = Index.open(tmp_path / moment)
        assert index.entries in (old.entries, whole.entries)
        done = 4 if index.entries == whole.entries else finished(tmp_path / moment)
        summary = killed_builds.run(tones, tmp_path / moment)
        embedded.append(summary.embedded)
        assert summary.embedded == 4 - done, moment
        assert Index.open(tmp_path / moment).entries == whole.entries
        torch.testing.assert_close(Index.open(tmp_path / moment).vectors, whole.vectors, atol=1e-6, rtol=0)
    assert set(embedded) == {0, 2}


@pytest.mark.slow
def test_files_that_change_between_a_kill_and_the_rerun(tones: Path, tmp_path: Path) -> None:
    """Finished items of other files are kept; a shard of an outdated file is not used for the new file."""
    check_killed(tones, tmp_path, ["embed:3"])
    out = tmp_path / "embed:3"
    assert finished(out) == 4
    write_tone(tones / "1.wav", 6, 0.8)
    (tones / "2.wav").unlink()
    write_tone(tones / "00.wav", 2)
    assert killed_builds.run(tones, out).embedded == 6
    killed_builds.run(tones, tmp_path / "whole")
    assert Index.open(out).entries == Index.open(tmp_path / "whole").entries
    torch.testing.assert_close(Index.open(out).vectors, Index.open(tmp_path / "whole").vectors, atol=1e-6, rtol=0)
