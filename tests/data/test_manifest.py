from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import write_wav

from zoo.data import manifest
from zoo.data.dataset import AudioDataset
from zoo.data.manifest import Entry
from zoo.errors import ManifestError

GOOD = {"audio": "a.flac", "duration": 1.5, "split": "train"}

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
times = st.floats(0, 1e4, allow_nan=False).map(lambda value: round(value, 3))
entries = st.builds(
    Entry,
    audio=st.sampled_from(["/data/a.flac", "/data/set/b c.wav", "/elsewhere/ü.ogg"]).map(Path),
    duration=st.floats(0.01, 1e4),
    split=st.sampled_from(manifest.SPLITS),
    text=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    captions=st.lists(words, max_size=3),
    speaker=st.none() | words,
    lang=st.none() | words,
    phones=st.lists(st.tuples(times, words), max_size=4).map(
        lambda items: [(start, start + 0.01, symbol) for start, symbol in sorted(items)]
    ),
    labels=st.dictionaries(
        words.map(lambda word: "x" + word), words | st.integers() | st.booleans() | st.none() | st.floats(-9, 9)
    ),
)


@given(st.lists(entries, min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, items: list[Entry]) -> None:
    path = tmp_path_factory.mktemp("manifest") / "sub" / "manifest.jsonl"
    for item in items:  # the order of neighbors within the rounding is not defined
        item.phones = [phone for i, phone in enumerate(item.phones) if i == 0 or phone[0] >= item.phones[i - 1][1]]
    manifest.write(path, items)
    back = manifest.read(path)
    for item in back:
        item.audio = item.audio.resolve()
    assert back == items
    assert [file.name for file in path.parent.iterdir()] == ["manifest.jsonl"]  # no temporary left


def test_paths_are_relative_in_the_file_and_absolute_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    manifest.write(path, [Entry(tmp_path / "clips" / "a.flac", 1.0, "dev", labels={"bpm": 90, "drums": None})])
    assert json.loads(path.read_text()) == {
        "audio": "clips/a.flac",
        "duration": 1.0,
        "split": "dev",
        "bpm": 90,
        "drums": None,
    }
    (entry,) = manifest.read(path)
    assert entry.audio == tmp_path / "clips" / "a.flac"
    assert entry.labels == {"bpm": 90, "drums": None}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"audio": None}, "audio"),
        ({"audio": ""}, "audio"),
        ({"duration": 0}, "duration"),
        ({"duration": True}, "duration"),
        ({"duration": "1.5"}, "duration"),
        ({"duration": float("nan")}, "duration"),
        ({"duration": 10**400}, "duration"),
        ({"split": "validation"}, "split"),
        ({"start": -1.0}, "start"),
        ({"start": 2.0, "end": 1.0}, "end"),
        ({"start": 2.0, "end": 3.0}, "duration"),
        ({"start": 2.0, "end": 4.0}, "duration"),
        ({"end": 9.0}, "duration"),
        ({"text": 5}, "text"),
        ({"captions": "one"}, "captions"),
        ({"captions": ["one", 2]}, "captions"),
        ({"speaker": 7}, "speaker"),
        ({"phones": [[0, 1]]}, "phones"),
        ({"phones": [[1, 0, "a"]]}, "phones"),
        ({"phones": [[0, 0.5, "a"], [0.3, 0.6, "b"]]}, "phones"),
        ({"emotion": ["calm"]}, "emotion"),
        ({"bpm": float("inf")}, "bpm"),
    ],
)
def test_bad_field_is_named_with_file_and_line(tmp_path: Path, change: dict[str, object], field: str) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + json.dumps(GOOD | change) + "\n")
    with pytest.raises(ManifestError, match=rf"manifest\.jsonl:3: field '{field}'"):
        manifest.read(path)


def test_a_span_without_an_end_has_the_length_of_duration(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    lines = [{"start": 2.0}, {"start": 0}, {}, {"start": 2.0, "end": 3.51}, {"end": 1.6}]
    path.write_text("".join(json.dumps(GOOD | line) + "\n" for line in lines))
    spans = [(entry.start, entry.end) for entry in manifest.read(path)]
    assert spans == [(2.0, 3.5), (0.0, 1.5), (None, None), (2.0, 3.51), (None, 1.6)], "small differences are allowed"
    write_wav(tmp_path / "a.wav", 4.0)
    manifest.write(path, [Entry(tmp_path / "a.wav", 1.5, "train", start=2.0)])
    assert len(AudioDataset(manifest.read(path), 16_000).item(0, seed=0).wave) == 24_000


@pytest.mark.parametrize("field", ["audio", "duration", "split"])
def test_missing_field(tmp_path: Path, field: str) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(json.dumps({key: value for key, value in GOOD.items() if key != field}))
    with pytest.raises(ManifestError, match=rf":1: field '{field}': missing"):
        manifest.read(path)


@pytest.mark.parametrize(
    "line", ["{", "[]", "[" * 100_000, '"a"', '{"audio": "a", "audio": "b", "duration": 1, "split": "dev"}']
)
def test_bad_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(line)
    with pytest.raises(ManifestError, match=r"manifest\.jsonl:1"):
        manifest.read(path)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="nowhere"):
        manifest.read(tmp_path / "nowhere.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ManifestError, match="no entries"):
        manifest.read(tmp_path / "empty.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="UTF-8"):
        manifest.read(tmp_path / "binary.jsonl")


def test_nothing_is_written_if_an_entry_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    manifest.write(path, [Entry(tmp_path / "a.flac", 1.0, "train")])
    before = path.read_bytes()
    with pytest.raises(ManifestError, match=r":2: field 'split'"):
        manifest.write(path, [Entry(tmp_path / "a.flac", 1.0, "train"), Entry(tmp_path / "b.flac", 1.0, "eval")])
    with pytest.raises(ManifestError, match="cannot be label columns"):
        manifest.write(path, [Entry(tmp_path / "a.flac", 1.0, "train", labels={"text": "x"})])
    assert path.read_bytes() == before


@pytest.mark.realdata
def test_every_real_manifest_reads(data_root: Path) -> None:
    paths = sorted(data_root.glob("*/manifest.jsonl"))
    assert paths
    for path in paths:
        items = manifest.read(path)
        assert {item.split for item in items} <= set(manifest.SPLITS)
        assert all(item.audio.is_file() for item in items[:20])
