"""After any change of files, an updated index equals a new index, and only changed files are embedded."""

from __future__ import annotations

import fcntl
import io
import json
import os
from pathlib import Path

import pytest
import torch
from bands import write_tone
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import zoo
from zoo import embed
from zoo.encoder import Encoder
from zoo.errors import CheckpointError, ZooError
from zoo.search import Index, IndexSummary, build, find, store


def run(paths: object, out: Path, model: object = "bands", **options: object) -> IndexSummary:
    return build(paths, model, out, **{"progress": False, "workers": 1, **options})  # type: ignore[arg-type]


def check_same(out: Path, fresh: Path) -> None:
    one, two = Index.open(out), Index.open(fresh)
    assert one.entries == two.entries
    torch.testing.assert_close(one.vectors, two.vectors, atol=1e-6, rtol=0)


def names(out: Path) -> list[str]:
    return [Path(entry.path).name for entry in Index.open(out).entries]


def test_new_changed_and_deleted_files(tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "index"
    first = run(tones, out)
    assert (first.items, first.added, first.embedded, first.failed) == (8, 8, 8, 0)
    assert first.audio_hours == pytest.approx(8 * 0.5 / 3600)
    (tones / "3.wav").unlink()
    write_tone(tones / "5.wav", 0, seconds=0.7)
    write_tone(tones / "35.wav", 2)
    embedded: list[str] = []
    whole = embed.run
    monkeypatch.setattr(
        embed,
        "run",
        lambda items, **options: embedded.extend(Path(i.path).name for i in items) or whole(items, **options),
    )
    second = run(tones, out)
    assert embedded == ["35.wav", "5.wav"]
    assert (second.items, second.added, second.changed, second.removed, second.embedded) == (8, 1, 1, 1, 2)
    assert names(out) == ["0.wav", "1.wav", "2.wav", "35.wav", "4.wav", "5.wav", "6.wav", "7.wav"]
    run(tones, tmp_path / "fresh")
    check_same(out, tmp_path / "fresh")
    assert sorted(path.name for path in out.iterdir()) == [store.NAME]


def test_when_nothing_has_changed_nothing_is_written(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    run(tones, out)
    before = (out / store.NAME).stat()
    again = run(tones, out)
    assert (again.items, again.added, again.changed, again.removed, again.embedded) == (8, 0, 0, 0, 0)
    assert (out / store.NAME).stat().st_ino == before.st_ino


CHANGES = st.lists(st.tuples(st.sampled_from(["write", "delete"]), st.integers(0, 5), st.integers(0, 7)), max_size=4)


@settings(max_examples=8, deadline=None)
@given(rounds=st.lists(CHANGES, min_size=1, max_size=3))
def test_after_any_changes_the_index_equals_a_new_one(
    rounds: list[list[tuple[str, int, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("history")
    write_tone(folder / "audio" / "constant.wav", 0, 0.2)
    for changes in rounds:
        for what, name, band in changes:
            path = folder / "audio" / f"{name}.wav"
            if what == "write":
                write_tone(path, band, 0.2 + band / 100)
            else:
                path.unlink(missing_ok=True)
        run(folder / "audio", folder / "index")
    run(folder / "audio", folder / "fresh")
    check_same(folder / "index", folder / "fresh")


def test_the_log_names_the_index_and_no_folder_inside_it(tones: Path, tmp_path: Path) -> None:
    output = io.StringIO()
    summary = run(tones, tmp_path / "index", progress=Console(file=output, width=300))
    last = output.getvalue().splitlines()[-1]
    assert (
        f"{tmp_path / 'index'}: {summary.items} items in the index; {summary.items} added; 0.00 h of audio in" in last
    )
    assert "increment" not in output.getvalue()


def test_failed_files_are_listed_and_tried_again_but_not_indexed(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    (tones / "4.wav").write_text("no audio")
    first = run(tones, out)
    assert (first.items, first.failed) == (7, 1) and "4.wav" not in names(out)
    reason = json.loads((out / "increment" / "_errors.jsonl").read_text())
    assert reason["path"] == str(tones / "4.wav") and reason["reason"]
    (tones / "2.wav").write_text("no audio any more")
    second = run(tones, out)
    assert (second.items, second.removed, second.embedded, second.failed) == (6, 1, 0, 2)
    write_tone(tones / "4.wav", 4)
    write_tone(tones / "2.wav", 2)
    assert run(tones, out).failed == 0
    assert sorted(path.name for path in out.iterdir()) == [store.NAME]


def test_parts_of_files_keep_their_start(tones: Path, tmp_path: Path) -> None:
    spans = [
        {"audio": "tones/1.wav", "duration": 0.2, "split": "test", "start": s, "end": s + 0.2} for s in (0.0, 0.25)
    ]
    (tmp_path / "parts.jsonl").write_text("".join(json.dumps(span) + "\n" for span in spans))
    run(tmp_path / "parts.jsonl", tmp_path / "index")
    hits = Index.open(tmp_path / "index").query_text(zoo.load("bands"), "low")
    assert sorted((Path(hit.path).name, hit.start) for hit in hits) == [("1.wav", 0.0), ("1.wav", 0.25)]


def test_relative_paths_are_the_same_files_from_anywhere(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("tones", Path("index"))
    monkeypatch.chdir(tones)
    assert run(".", tmp_path / "index").embedded == 0
    assert Index.open(tmp_path / "index").entries[0].path == str(tones / "0.wav")


def test_another_model_or_storage_is_an_error(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    run(tones, out)
    before = (out / store.NAME).read_bytes()
    with pytest.raises(ZooError, match=r"bands .* mfcc .*another folder"):
        run(tones, out, model="mfcc")
    with pytest.raises(ZooError, match="fingerprint"):
        run(tones, out, model=zoo.create("bands", gain=2.0))
    with pytest.raises(ZooError, match="stores float32, not float16"):
        run(tones, out, storage="float16")
    assert (out / store.NAME).read_bytes() == before


def test_an_index_of_other_files_is_not_emptied_by_mistake(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    run(tones, out)
    write_tone(tmp_path / "more" / "8.wav", 1)
    with pytest.raises(ZooError, match="is an index of other files"):
        run(tmp_path / "more", out)
    assert run([tones, tmp_path / "more"], out).added == 1
    with pytest.raises(ZooError, match=r"no audio found in .*/moer/\*\.wav"):
        run([tones, f"{tmp_path}/moer/*.wav"], out)
    assert len(names(out)) == 9
    for path in tones.iterdir():
        path.unlink()
    assert run(tmp_path / "more", out).removed == 8


def test_the_number_format_of_the_index_is_kept(tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `dtype`, an existing index keeps its format."""
    seen: list[str] = []
    whole = zoo.loading.load
    monkeypatch.setattr("zoo.loading.load", lambda *a, dtype, **o: seen.append(dtype) or whole(*a, dtype=dtype, **o))
    run(tones, tmp_path / "index", dtype="float32")
    monkeypatch.setattr("zoo.nn.precision.resolve_dtype", lambda dtype, device: (dtype, "as it is"))
    run(tones, tmp_path / "index")
    assert seen == ["float32", "float32"]


def test_half_precision_halves_the_file(tones: Path, tmp_path: Path, bands: Encoder) -> None:
    run(tones, tmp_path / "index", storage="float16")
    run(tones, tmp_path / "exact")
    index, exact = Index.open(tmp_path / "index"), Index.open(tmp_path / "exact")
    assert index.vectors.dtype == torch.float16
    torch.testing.assert_close(index.vectors.float(), exact.vectors, atol=1e-3, rtol=0)
    assert Path(index.query_text(bands, "high", 1)[0].path).name == "6.wav"
    assert run(tones, tmp_path / "index", storage="float16").embedded == 0


def test_two_builds_do_not_write_to_one_index(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    run(tones, out)
    descriptor = os.open(out, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(ZooError, match="another run is writing"):
        run(tones, out)
    os.close(descriptor)


def test_an_open_index_does_not_change_during_a_build(tones: Path, tmp_path: Path, bands: Encoder) -> None:
    run(tones, tmp_path / "index")
    index = Index.open(tmp_path / "index")
    before = index.query_text(bands, "low", 8)
    (tones / "0.wav").unlink()
    run(tones, tmp_path / "index")
    assert index.query_text(bands, "low", 8) == before
    assert len(Index.open(tmp_path / "index")) == 7


def test_a_build_stores_the_new_path_of_a_moved_model(
    tones: Path, bands: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    bands.save(tmp_path / "old")
    run(tones, tmp_path / "index", tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(CheckpointError, match=r"old: no such file.*--model"):
        find(tmp_path / "index", "low")
    assert find(tmp_path / "index", "low", model="~/new", k=1)
    assert run(tones, tmp_path / "index", "~/new").embedded == 0
    assert find(tmp_path / "index", "low", k=1)[0].path == str(tones / "1.wav")
    assert Index.open(tmp_path / "index").space.model == str(tmp_path / "new")


def test_a_tilde_is_the_home_folder(tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tones)
    run(tones, "~/index")  # type: ignore[arg-type]  # as --out=~/index, which no shell expands
    assert (tmp_path / "index").is_dir() and not Path("~").exists()
    assert len(Index.open("~/index")) == len(find("~/index", "low")) == 8
