"""Columns, cells and rows of tables as entries."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recordings import write_wav

from zoo import audio
from zoo.data import rows, sources
from zoo.errors import ConfigError, ManifestError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, name in enumerate(["a.wav", "b.wav"]):
        write_wav(tmp_path / name, 0.5 + i / 4, seed=i)
    return tmp_path


def test_columns_can_be_named(folder: Path) -> None:
    (folder / "t.csv").write_text("clip,caption,begin,end\na.wav,a calm voice,0.1,0.4\n")
    (entry,) = sources.open(folder / "t.csv", {"audio": "clip", "start": "begin"})
    assert (entry.start, entry.end, entry.captions) == (0.1, 0.4, ["a calm voice"])
    assert entry.duration == pytest.approx(0.3)


def test_spans_in_a_table(folder: Path) -> None:
    """An end after the end of the file is an error when the audio is loaded, as for a manifest, not for the table."""
    (folder / "t.csv").write_text("path,start,end,duration\na.wav,0.1,,0.2\nb.wav,0.1,,\nb.wav,0.1,9.1,\n")
    spans = [(e.start, e.end, e.duration) for e in sources.open(folder / "t.csv")]
    assert [pytest.approx(span) for span in spans] == [(0.1, 0.3, 0.2), (0.1, 0.75, 0.65), (0.1, 9.1, 9.0)]
    (folder / "t.csv").write_text("path,start,end,duration\na.wav,0.1,0.3,0.5\n")
    with pytest.raises(ManifestError, match=r"t\.csv:2: field 'duration': 0.5 s, but .* 0.2 s"):
        sources.open(folder / "t.csv")


def test_chosen_columns_have_priority_over_the_usual_ones(folder: Path) -> None:
    (folder / "t.csv").write_text("audio,clip,text,clean,title\nnone.wav,a.wav,RAW,hello,A Song\nno.wav,b.wav,RAW,,B\n")
    first, second = sources.open(folder / "t.csv", {"audio": "clip", "text": "clean"})
    assert (first.audio, first.text, first.labels) == (folder / "a.wav", "hello", {"title": "A Song"})
    assert (second.audio, second.text) == (folder / "b.wav", None), "an empty cell is not filled from the usual column"
    first, _ = sources.open(folder / "t.csv", {"audio": "clip", "captions": "text"})
    assert (first.text, first.captions) == (None, ["RAW"]), "a column chosen for one field is not used for another"
    first, _ = sources.open(folder / "t.csv", {"audio": "clip", "text": "title", "captions": "title"})
    assert (first.text, first.captions) == ("A Song", ["A Song"])


def test_lists_of_words_become_one_label(folder: Path) -> None:
    rows = [{"path": "a.wav", "tags": ["slow", "piano"], "years": [1, 2]}, {"path": "b.wav", "tags": [], "years": None}]
    pq.write_table(pa.Table.from_pylist(rows), folder / "t.parquet")
    assert [entry.labels for entry in sources.open(folder / "t.parquet")] == [{"tags": "slow, piano"}, {}]


def test_phones_in_a_table(folder: Path) -> None:
    """Phones with times are JSON in a cell; symbols without times, as in most tables, are ignored."""
    (folder / "t.csv").write_text('path,phones\na.wav,"[[0, 0.2, ""a""]]"\nb.wav,HH AH\n')
    first, second = sources.open(folder / "t.csv")
    assert (first.phones, second.phones) == ([(0.0, 0.2, "a")], [])
    pq.write_table(pa.table({"path": ["a.wav", "b.wav"], "phones": [["HH", "AH"], []]}), folder / "t.parquet")
    assert [entry.phones for entry in sources.open(folder / "t.parquet")] == [[], []]


def test_captions_of_a_parquet_may_be_empty(folder: Path) -> None:
    pq.write_table(pa.table({"path": ["a.wav", "b.wav"], "captions": [["slow", None], ["", ""]]}), folder / "t.parquet")
    assert [entry.captions for entry in sources.open(folder / "t.parquet")] == [["slow"], []]


def test_a_row_that_starts_after_the_end_of_its_file_is_skipped(folder: Path) -> None:
    (folder / "t.csv").write_text("path,start\na.wav,nan\nb.wav,7\n")
    with pytest.warns(UserWarning, match=r"1 of 2 clips cannot be read \(b\.wav: .* 7 s.* 0\.75 s"):
        assert [(entry.start, entry.duration) for entry in sources.open(folder / "t.csv")] == [(None, 0.5)]


def test_empty_cells_after_the_last_column_are_allowed(folder: Path) -> None:
    (folder / "t.csv").write_text("path,text\na.wav,so,,\n")
    assert [entry.text for entry in sources.open(folder / "t.csv")] == ["so"]


@pytest.mark.parametrize("columns", [None, {"audio": "clip"}])
def test_audio_inside_a_parquet(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: dict[str, str] | None
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(rows, "BATCH", 2)
    clips = [{"bytes": (folder / name).read_bytes(), "path": "x.wav"} for name in ["a.wav", "b.wav"]]
    clips += [{"bytes": None, "path": "a.wav"}, None]
    table = pa.table({"clip" if columns else "audio": clips, "text": ["a", "b", "c", "d"], "image": clips})
    pq.write_table(table, folder / "t.parquet", row_group_size=1)
    with pytest.warns(UserWarning, match="1 of 4 rows have no audio"):
        entries = sources.open(folder / "t.parquet", columns)
    assert [(e.text, e.duration, e.labels) for e in entries] == [("a", 0.5, {}), ("b", 0.75, {}), ("c", 0.5, {})]
    assert audio.load(entries[1].audio, 16000).equal(audio.load(folder / "b.wav", 16000))
    assert len(list((tmp_path / "cache").rglob("*.wav"))) == 2, "images are not extracted"
    pq.write_table(table.slice(1), folder / "t.parquet")
    with pytest.warns(UserWarning):
        assert [e.duration for e in sources.open(folder / "t.parquet", columns)] == [0.75, 0.5], "a changed table"


def test_a_folder_of_parquet(folder: Path) -> None:
    for i, name in enumerate(["a.wav", "b.wav"]):
        (folder / "t.parquet" / f"speaker={i}").mkdir(parents=True)
        cells = {"path": str(folder / name)}
        pq.write_table(pa.Table.from_pylist([cells]), folder / "t.parquet" / f"speaker={i}" / "0.parquet")
    assert [(e.audio.name, e.speaker) for e in sources.open(folder / "t.parquet")] == [("a.wav", "0"), ("b.wav", "1")]


def test_numbers_of_a_parquet(folder: Path) -> None:
    nan = float("nan")
    table = {"path": ["a.wav", "b.wav"], "duration": [Decimal("0.4"), None], "end": [nan, 0.5], "score": [nan, 1.0]}
    table["ratio"] = [float("inf"), None]
    pq.write_table(pa.table({**table, "text": ["x", None]}), folder / "t.parquet")
    first, second = sources.open(folder / "t.parquet")
    assert (first.duration, first.end, first.labels) == (0.4, None, {})
    assert (second.duration, second.end, second.labels) == (0.5, 0.5, {"score": 1.0})


def test_a_column_of_bytes_is_audio(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes without a name, and names that no file can have."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    data = (folder / "a.wav").read_bytes()
    named = [{"bytes": data, "path": "x.fl\0ac"}, {"bytes": data, "path": "x." + "y" * 300}]
    for clips in ([data], named):
        pq.write_table(pa.table({"audio": clips}), folder / "t.parquet")
        assert [entry.duration for entry in sources.open(folder / "t.parquet")] == [0.5] * len(clips)


def test_audio_that_is_not_a_path_is_refused_in_one_short_line(folder: Path) -> None:
    pq.write_table(pa.table({"audio": [[0.1] * 10_000]}), folder / "t.parquet")
    with pytest.raises(ManifestError, match=r"t\.parquet:1: field 'audio': expected a path, not list") as caught:
        sources.open(folder / "t.parquet")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "audio;text\na.wav;one, two\n"),
        ("t.csv", '"audio";"text"\n"a.wav";"one, two"\n'),
        ("t.csv", "audio\ttext\na.wav\tone, two\n"),
        ("T.CSV", 'audio,text\na.wav,"one, two"\n'),
        ("T.TSV", "audio_filepath\ttext\na.wav\tone, two\n"),
    ],
)
def test_separators_and_suffixes_of_other_programs(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (entry,) = sources.open(folder / name)
    assert (entry.audio.name, entry.text) == ("a.wav", "one, two")


def test_long_values_are_cut_in_messages(folder: Path) -> None:
    (folder / "t.csv").write_text(f"path,start\na.wav,{'x' * 100_000}\n")
    with pytest.raises(ManifestError, match=r"t\.csv:2: field 'start'.*x\.\.\.x") as caught:
        sources.open(folder / "t.csv")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "columns", "error", "message"),
    [
        ("clip\na.wav\n", None, ConfigError, r"t\.csv: no audio column among 'clip'"),
        ("a.wav,hello\n", None, ConfigError, r"t\.csv: the first line has 'a\.wav' .* `audio,text`"),
        ("path\na.wav\n", {"text": "words"}, ConfigError, "no column 'words' for text; there are 'path'"),
        ("path,x\na.wav,b\n", {"txt": "x"}, ConfigError, "'txt' is not a field .* audio, text"),
        ("path,start\na.wav,now\n", None, ManifestError, r"t\.csv:2: field 'start'"),
        ("path,split\na.wav,other\n", None, ManifestError, r"t\.csv:2: field 'split': 'other'"),
        ("path,text\na.wav,so, then\n", None, ManifestError, r"t\.csv:2: more cells than the 2 columns"),
        ('path,text\na.wav,so\na.wav,"so\nb.wav,then\n', None, ManifestError, r"t\.csv:3: .*quotation mark"),
    ],
)
def test_errors_name_the_row(folder: Path, text: str, columns: Any, error: type, message: str) -> None:
    (folder / "t.csv").write_text(text)
    with pytest.raises(error, match=message):
        sources.open(folder / "t.csv", columns)


@pytest.mark.parametrize(
    ("suffix", "cells", "texts"),
    [
        ("tsv", ['"Nobody knows, he said.', "second", '"Yes," she said.', "last"], None),
        ("tsv", ['"Nobody knows.', "second", 'Still nobody."', "last"], None),
        ("tsv", ["first", "second", '"never closed'], None),
        ("tsv", ['"one ""two"" three"', "plain", '"with a\ttab"'], ['one "two" three', "plain", "with a\ttab"]),
        ("tsv", ['"two\nlines"', "second"], ["two\nlines", "second"]),
        ("csv", ['"two\nlines, and a comma"', "second"], ["two\nlines, and a comma", "second"]),
        ("csv", [' "one, two"', " second"], ["one, two", "second"]),
    ],
)
def test_quotation_marks(folder: Path, suffix: str, cells: list[str], texts: list[str] | None) -> None:
    comma = "," if suffix == "csv" else "\t"
    rows = [["speaker", "path", "text"], *(["x", "a.wav", cell] for cell in cells)]
    (folder / f"t.{suffix}").write_text("".join(comma.join(row) + "\n" for row in rows))
    assert [entry.text for entry in sources.open(folder / f"t.{suffix}")] == (texts or cells)


def test_with_one_speaker_dev_has_other_files(tmp_path: Path) -> None:
    """For example LJSpeech."""
    rows = "".join(f"{write_wav(tmp_path / f'{i}.wav', 0.1).name},LJ\n" for i in range(40))
    (tmp_path / "t.csv").write_text("path,speaker\n" + rows)
    assert sorted(entry.split for entry in sources.open(tmp_path / "t.csv")) == ["dev"] * 2 + ["train"] * 38


def test_each_speaker_is_in_one_split(tmp_path: Path) -> None:
    rows = "".join(f"{i}.wav,s{i % 5}\n" for i in range(30))
    for i in range(30):
        write_wav(tmp_path / f"{i}.wav", 0.05, seed=i)
    (tmp_path / "t.csv").write_text("path,speaker\n" + rows)
    entries = sources.open(tmp_path / "t.csv")
    speakers = {split: {e.speaker for e in entries if e.split == split} for split in ("train", "dev")}
    assert len(speakers["dev"]) == 1 and len(speakers["train"]) == 4 and not speakers["dev"] & speakers["train"]


def test_the_first_part_of_a_name_decides_the_split(folder: Path) -> None:
    names = ["train-clean", "validation.clean", "Test_other", "unsupervised", "3", ""]
    (folder / "t.csv").write_text("path,split\n" + "".join(f"a.wav,{name}\n" for name in names))
    with pytest.warns(UserWarning, match=r"t\.csv: 2 of 6 clips .*: 'unsupervised', '3'$") as caught:
        assert [entry.split for entry in sources.open(folder / "t.csv")] == ["train", "dev", "test", "train"]
    assert len(caught) == 1
