"""Every kind of source gives the same entries as the manifest of the same clips."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recordings import write_wav

from zoo import audio, config
from zoo.config_help import describe
from zoo.data import manifest, sources, tables
from zoo.data.loader import DataConfig
from zoo.data.manifest import Entry
from zoo.data.sources import Source
from zoo.errors import ConfigError, ManifestError

ROWS: list[dict[str, Any]] = [
    {"path": "a.wav", "sentence": "hello", "speaker": "anna", "mood": "calm", "split": "train"},
    {"path": "b.wav", "sentence": "bye", "speaker": "ben", "mood": "angry", "split": "validation"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, row in enumerate(ROWS):
        write_wav(tmp_path / row["path"], 0.5 + i / 4, seed=i)
    return tmp_path


def expected_entries(folder: Path) -> list[Entry]:
    return [
        Entry(folder / "a.wav", 0.5, "train", text="hello", speaker="anna", labels={"mood": "calm"}),
        Entry(folder / "b.wav", 0.75, "dev", text="bye", speaker="ben", labels={"mood": "angry"}),
    ]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl"])
def test_tables_and_manifests(folder: Path, suffix: str) -> None:
    path = folder / f"table.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif suffix == "jsonl":
        manifest.write(path, expected_entries(folder))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ROWS[0], delimiter="\t" if suffix == "tsv" else ",")
            writer.writeheader()
            writer.writerows(ROWS)
    assert sources.open(path) == expected_entries(folder)


def test_a_folder(tmp_path: Path) -> None:
    for i in range(40):
        write_wav(tmp_path / ("rock" if i % 2 else "jazz") / f"{i}.wav", 0.1, seed=i)
    entries = sources.open(tmp_path)
    assert len(entries) == 40 and sum(entry.split == "dev" for entry in entries) == 2
    assert {(entry.audio.parent.name, entry.labels["folder"]) for entry in entries} == {
        (s, s) for s in ("rock", "jazz")
    }
    assert sources.open(str(tmp_path)) == entries


def test_a_folder_with_splits_or_a_manifest(folder: Path) -> None:
    write_wav(folder / "set" / "train" / "x" / "a.wav", 0.1)
    write_wav(folder / "set" / "test" / "b.wav", 0.1)
    assert {(e.audio.name, e.split, e.labels.get("folder")) for e in sources.open(folder / "set")} == {
        ("a.wav", "train", "x"),
        ("b.wav", "test", None),
    }
    manifest.write(folder / "manifest.jsonl", expected_entries(folder))
    assert sources.open(folder) == expected_entries(folder)


def test_unreadable_audio_is_skipped_with_a_warning(folder: Path) -> None:
    (folder / "c.wav").write_bytes(b"RIFF")
    with pytest.warns(UserWarning, match=r"1 of 3 clips cannot be read .*c\.wav"):
        assert [entry.audio.name for entry in sources.open(folder)] == ["a.wav", "b.wav"]
    (folder / "t.csv").write_text("path\nc.wav\n")
    with pytest.warns(UserWarning), pytest.raises(ManifestError, match="no audio that can be read"):
        sources.open(folder / "t.csv")


def test_unreadable_audio_is_not_chosen_for_dev(folder: Path) -> None:
    (dev,) = (entry.audio for entry in sources.open(folder) if entry.split == "dev")
    write_wav(folder / "c.wav", 0.1)
    dev.write_bytes(b"RIFF")
    with pytest.warns(UserWarning, match="1 of 3 clips cannot be read"):
        assert sorted(entry.split for entry in sources.open(folder)) == ["dev", "train"]


def test_a_recording_without_samples_is_skipped_with_a_warning(folder: Path) -> None:
    write_wav(folder / "c.wav", 0.0)
    with pytest.warns(UserWarning, match=r"1 of 3 clips cannot be read .*c\.wav.* has no samples"):
        assert [entry.audio.name for entry in sources.open(folder)] == ["a.wav", "b.wav"]


def test_a_name_that_is_not_utf8(folder: Path) -> None:
    (folder / "a.wav").rename(folder / "a\udcff.wav")
    assert {entry.audio.name for entry in sources.open(folder)} == {"a\udcff.wav", "b.wav"}


def test_unknown_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.*no such folder or file"):
        sources.open(tmp_path / "absent")
    (tmp_path / "t.parquet").write_bytes(b"no")
    with pytest.raises(ManifestError, match="cannot be read as a table"):
        sources.open(tmp_path / "t.parquet")


@pytest.mark.parametrize("embedded", [True, False])
def test_hugging_face(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: bool) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    moods = datasets.ClassLabel(names=["calm", "angry"])
    splits = {}
    for i, (name, row) in enumerate(zip(("train", "validation"), ROWS, strict=True)):
        path = folder / row["path"]
        clip = {"bytes": path.read_bytes() if embedded else None, "path": row["path"] if embedded else str(path)}
        data = datasets.Dataset.from_dict({"clip": [clip], "sentence": [row["sentence"]], "mood": [i]})
        splits[name] = data.cast_column("clip", datasets.Audio()).cast_column("mood", moods)
    data_set = datasets.DatasetDict(splits)
    data_set.save_to_disk(str(tmp_path / "saved"))  # this embeds every file
    if not embedded:
        monkeypatch.setattr(datasets, "load_from_disk", lambda path: data_set)
    entries = sources.open(f"hf:{tmp_path / 'saved'}")
    for entry, expected in zip(entries, expected_entries(folder), strict=True):
        assert (entry.text, entry.split, entry.labels) == (expected.text, expected.split, expected.labels)
        assert audio.load(entry.audio, 16000).equal(audio.load(expected.audio, 16000))
        assert entry.audio.resolve().is_relative_to(tmp_path / "cache") == embedded
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [entry.text for entry in sources.open("hf:~/saved")] == [entry.text for entry in entries]
    monkeypatch.setattr(tables, "from_records", None)  # the second time only the manifest is read
    assert sources.open(f"hf:{tmp_path / 'saved'}") == entries


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that saves splits (name -> columns, "audio" as paths) and returns the name of the source."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))

    def save(splits: dict[str, dict[str, list[Any]]], audio: str = "audio") -> str:
        data_sets = {}
        for name, columns in splits.items():
            clips = [path and {"bytes": (folder / path).read_bytes(), "path": path} for path in columns[audio]]
            data = datasets.Dataset.from_dict({**columns, audio: clips})
            data_sets[name] = data.cast_column(audio, datasets.Audio())
        datasets.DatasetDict(data_sets).save_to_disk(str(tmp_path / "saved"))
        return f"hf:{tmp_path / 'saved'}"

    return save


def test_hugging_face_columns(hub: Callable[..., str]) -> None:
    rows = {"path": ["none.wav"], "text": ["RAW"], "clean": ["hello"], "file": ["a.wav"]}
    (entry,) = sources.open(hub({"train": rows}, audio="file"), {"text": "clean"})
    assert (entry.text, entry.duration, entry.labels) == ("hello", 0.5, {"path": "none.wav"})


@pytest.mark.parametrize(
    ("splits", "expected", "warning"),
    [
        (["train.clean.100", "validation.clean", "test.clean"], ["train", "dev", "test"], None),
        (["train", "unsupervised", "other", "test"], ["train", "test"], "skipped.*: 'unsupervised', 'other'"),
        (["en", "de"], ["dev", "train"], "no split is train, dev or test; 'en', 'de' "),
    ],
)
def test_hugging_face_splits(
    hub: Callable[..., str], splits: list[str], expected: list[str], warning: str | None
) -> None:
    source = hub({name: {"audio": ["b.wav" if i % 2 else "a.wav"]} for i, name in enumerate(splits)})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        entries = sources.open(source)
    messages = [str(w.message) for w in caught if "split" in str(w.message)]
    assert len(messages) == (warning is not None) and (warning is None or re.search(warning, messages[0]))
    assert sorted(entry.split for entry in entries) == sorted(expected)


@pytest.mark.parametrize(("name", "splits"), [("test", {"test"}), ("validation", {"dev"}), ("train", {"train", "dev"})])
def test_a_single_split_of_hugging_face(hub: Callable[..., str], name: str, splits: set[str]) -> None:
    rows = {"audio": ["a.wav", "b.wav", "a.wav"], "speaker": ["x", "y", "z"]}
    assert {entry.split for entry in sources.open(hub({name: rows}))} == splits


def test_a_column_can_replace_the_splits_of_hugging_face(hub: Callable[..., str]) -> None:
    source = hub({"en": {"audio": ["a.wav"], "fold": ["train"]}, "test": {"audio": ["b.wav"], "fold": ["dev"]}})
    assert [entry.split for entry in sources.open(source, {"split": "fold"})] == ["train", "dev"]


def test_rows_without_audio_are_counted_and_skipped(hub: Callable[..., str], folder: Path) -> None:
    source = hub({"train": {"audio": ["a.wav", None, None], "text": ["a", "b", "c"]}})
    with pytest.warns(UserWarning, match="hf:.*: 2 of 3 rows have no audio"):
        assert [entry.text for entry in sources.open(source)] == ["a"]
    (folder / "t.csv").write_text("path,text\na.wav,a\n,b\n")
    with pytest.warns(UserWarning, match=r"t\.csv: 1 of 2 rows have no audio"):
        assert [entry.text for entry in sources.open(folder / "t.csv")] == ["a"]


def test_hugging_face_errors(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(str(tmp_path / "text"))
    with pytest.raises(ConfigError, match=r"audio columns are none of \['text'\]"):
        sources.open(f"hf:{tmp_path / 'text'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="cannot open it"):
        sources.open(f"hf:{tmp_path / 'empty'}")


def test_the_short_form_stands_for_a_list_of_sources(tmp_path: Path) -> None:
    assert sources.parse("a.jsonl + b c.jsonl [x=1|2 y=3] + d [4]") == [
        Source("a.jsonl"),
        Source("b c.jsonl", {"x": ["1", "2"], "y": "3"}),
        Source("d [4]"),
    ]
    assert sources.text_of(sources.parse("a + b c [x=1|2 y=3]")) == "a + b c [x=1|2 y=3]"
    assert str(Source("a", {"x": 1}, repeat=2, split="dev", limit=3)) == "a [x=1 split=dev limit=3 repeat=2]"
    assert sources.whole("a [lang=en] + a [lang=de] + b") == [Source("a"), Source("b")]
    (tmp_path / "calls [lang=en]").mkdir()
    assert sources.parse(tmp_path / "calls [lang=en]") == [Source(str(tmp_path / "calls [lang=en]"))]
    with pytest.raises(ConfigError, match="column=value"):
        sources.parse("a [digits x=1]")
    for wrong in ({"repeat": 0}, {"limit": -1}, {"split": "valid"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Source("a", **wrong)


def test_a_source_chooses_repeats_and_limits_clips(folder: Path) -> None:
    entries = []
    for i in range(8):
        split = ("train", "train", "dev", "test")[i % 4]
        span = {"start": float(i), "end": i + 0.5, "duration": 0.5}
        entries.append(replace(expected_entries(folder)[0], split=split, speaker=f"s{i}", **span))
    path = str(folder / "all.jsonl")
    manifest.write(path, entries)
    assert [e.split for e in sources.open(Source(path, repeat=3))] == [e.split for e in entries] + ["train"] * 8
    assert {e.speaker for e in sources.open(Source(path, {"speaker": ["s0", "s3"]}))} == {"s0", "s3"}
    assert len(sources.open(Source(path, limit=1))) == 3 and len(sources.open([Source(path, split="train")])) == 4
    assert len(sources.open([Source(path, {"speaker": "s0"}), Source(path, {"speaker": "s1"})])) == 2
    with pytest.raises(ConfigError, match=r"8 clips are chosen by two sources; .* use repeat"):
        sources.open([Source(path), Source(path)])
    with pytest.raises(ConfigError, match=r"no clip has split=dev"):
        sources.open(Source(path, {"speaker": "s0"}, split="dev"))


def test_columns_belong_to_a_source(folder: Path) -> None:
    (folder / "t.csv").write_text("audio,clean\na.wav,so\n")
    assert [entry.text for entry in sources.open(Source(str(folder / "t.csv"), columns={"text": "clean"}))] == ["so"]


@pytest.mark.parametrize("form", ["yaml", "short", "items", "command"])
def test_configurations_read_sources_in_both_forms(form: str, tmp_path: Path) -> None:
    texts = {
        "yaml": "sources: [{path: a.jsonl, repeat: 2}, {path: '${oc.env:HERE}/b.jsonl', where: {lang: [en, de]}}]",
        "short": "sources: 'a.jsonl + ${oc.env:HERE}/b.jsonl [lang=en|de]'",
        "items": "sources: ['a.jsonl + ${oc.env:HERE}/b.jsonl [lang=en|de]']",
        "command": "{}",
    }
    (tmp_path / "c.yaml").write_text(texts[form])
    overrides = ["sources=a.jsonl + here/b.jsonl [lang=en|de]"] if form == "command" else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERE", "here")
        read = config.load(DataConfig, [tmp_path / "c.yaml"], overrides)
    a, b = read.sources
    assert a == Source("a.jsonl", repeat=2 if form == "yaml" else 1)
    assert b == Source("here/b.jsonl", {"lang": ["en", "de"]})
    (tmp_path / "again.yaml").write_text(config.to_yaml(read))
    assert config.load(DataConfig, [tmp_path / "again.yaml"]) == read
    (line,) = [line for line in describe(read) if line.startswith("  sources=")]
    assert "here/b.jsonl [lang=en|de]" in line and "path" not in line.partition("#")[0]


def test_clips_are_selected_by_their_columns() -> None:
    entries = [
        Entry(Path("a.wav"), 1.0, "train", lang="en", labels={"style": "digits", "take": 1}),
        Entry(Path("b.wav"), 1.0, "train", lang="de", labels={"style": "digits"}),
        Entry(Path("c.wav"), 1.0, "train", lang="en", labels={"style": "sentence"}),
    ]
    assert sources.select(entries, {"style": ["digits", "keyword"], "lang": "en"}, "x") == entries[:1]
    assert sources.select(entries, {"take": 1}, "x") == entries[:1]
    assert sources.select(entries, {}, "x") == entries
    with pytest.raises(ConfigError, match=r"x: no clip has style=song"):
        sources.select(entries, {"style": "song"}, "x")


def test_values_in_filters_may_have_spaces_and_be_true(tmp_path: Path) -> None:
    labels = [{"instrument": "acoustic guitar", "solo": True}, {"instrument": "piano", "solo": False}]
    entries = [Entry(tmp_path / f"{i}.wav", 1.0, "train", speaker="Ann B", labels=row) for i, row in enumerate(labels)]
    for only, count in (("instrument=acoustic guitar|oboe", 1), ("solo=true", 1), ("solo=False", 1), ("solo=1 ", 0)):
        for more in (f"{only}, speaker=Ann B", f" speaker=Ann B|Cy {only}"):
            with nullcontext() if count else pytest.raises(ConfigError, match="no clip has solo=1"):
                (source,) = sources.parse(f"x [{more}]")
                assert len(sources.select(entries, source.where, "x")) == count


def test_several_sources_each_with_a_filter(folder: Path) -> None:
    path = folder / "all.jsonl"
    manifest.write(path, expected_entries(folder))
    anna, ben = expected_entries(folder)
    assert sources.open(f"{path} [mood=angry|sad] + {path} [mood=calm]") == [ben, anna]
    with pytest.raises(ConfigError, match="no clip has mood=sad"):
        sources.open(f"{path} [mood=calm] + {path} [mood=sad]")
    with pytest.raises(ConfigError, match="no such folder"):
        sources.open(f"{path} + {folder / 'none'}")
    unusual = folder / "calm + angry [mood=sad].jsonl"
    path.rename(unusual)
    assert sources.open(unusual) == [anna, ben], "an existing file has priority"
