from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recordings import write_wav

from zoo.errors import ManifestError, ZooError
from zoo.jobs import lists
from zoo.jobs.inputs import collect
from zoo.jobs.lists import Item


def names(items: list[Item]) -> list[str]:
    return [Path(item.path).name for item in items]


def test_a_folder_is_searched_for_audio_and_video(tmp_path: Path) -> None:
    for name in ["b.wav", "a.FLAC", "sub/c.mp4", "sub/deep/d.ogg", "notes.txt", ".hidden.wav", ".git/e.wav", "m.jsonl"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    items = collect(tmp_path)
    assert [str(Path(item.path).relative_to(tmp_path)) for item in items] == [
        *("a.FLAC", "b.wav", "sub/c.mp4", "sub/deep/d.ogg")
    ]
    assert all(item.start is None and item.end is None for item in items)


def test_items_keep_the_order_of_the_arguments_and_the_first_of_duplicates(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = corpus / "b" / "9.wav"
    assert names(collect([last, corpus, str(corpus / "a" / ".." / "b" / "9.wav")])) == [
        *("9.wav", *(f"{i}.wav" for i in range(9)))
    ]
    monkeypatch.chdir(corpus)
    assert [item.path for item in collect(["b/9.wav", "a", last])] == ["b/9.wav", *(f"a/{i}.wav" for i in range(6))]


def test_globs_are_expanded_in_order(corpus: Path) -> None:
    assert names(collect(f"{corpus}/**/[1-8].wav")) == [f"{i}.wav" for i in range(1, 9)]
    assert names(collect(f"{corpus}/*")) == [f"{i}.wav" for i in range(10)]  # folders that match are searched


def test_an_existing_file_with_a_name_like_a_glob_is_an_item(tmp_path: Path) -> None:
    odd = write_wav(tmp_path / "take [1].wav", 0.1)
    assert names(collect(odd)) == ["take [1].wav"]


def test_manifest_spans_are_separate_items(tmp_path: Path, corpus: Path) -> None:
    rows = [
        {"audio": "corpus/a/0.wav", "duration": 0.1, "start": 0, "end": 0.1},
        {"audio": "corpus/a/0.wav", "duration": 0.2, "start": 0.1, "end": 0.3},
        {"audio": "corpus/a/0.wav", "duration": 0.1, "start": 0.0, "end": 0.1},
        {"audio": "corpus/b/7.wav", "duration": 1.2},
    ]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps({"split": "dev", **row}) + "\n" for row in rows))
    items = collect(manifest)
    assert [(Path(item.path).name, item.start, item.end) for item in items] == [
        ("0.wav", 0.0, 0.1),
        ("0.wav", 0.1, 0.3),
        ("7.wav", None, None),
    ]
    assert Path(items[0].path).is_file()


def test_lists_of_every_kind(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = str(corpus / "a" / "0.wav"), str(corpus / "b" / "7.wav")
    rows = [{"path": "a/0.wav", "start": 0.5, "end": None}, {"path": two, "start": None, "end": 0.25}]
    pq.write_table(pa.Table.from_pylist(rows), corpus / "list.parquet")
    (corpus / "list.csv").write_text("file_name,start,end,mood\na/0.wav,0.5,,calm\nb/7.wav,,0.25,\n")
    (corpus / "list.tsv").write_text("audio\tstart\tend\na/0.wav\t0.5\t\nb/7.wav\t\t0.25\n")
    (corpus / "list.jsonl").write_text('{"audio": "a/0.wav", "start": 0.5}\n\n{"audio": "b/7.wav", "end": 0.25}\n')
    for name in ("list.parquet", "list.csv", "list.tsv", "list.jsonl"):
        assert collect(corpus / name) == [Item(one, 0.5, None), Item(two, None, 0.25)], name
    (corpus / "list.txt").write_bytes(f"a/0.wav\r\n\n{two}\ngone\udcff.wav\n".encode(errors="surrogateescape"))
    assert collect(corpus / "list.txt") == [Item(one), Item(two), Item(str(corpus / "gone\udcff.wav"))]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a/0.wav\nb/7.wav\n")))
    assert collect("-") == [Item("a/0.wav"), Item("b/7.wav")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("l.jsonl", '{"duration": 1}', r"l\.jsonl:1: no audio column among 'duration'"),
        ("l.jsonl", '{"audio": 1}', r"l\.jsonl:1: field 'audio': expected a path, not int"),
        ("l.jsonl", '{"audio": "a", "start": 1e308, "duration": 1e308}', r"l\.jsonl:1: field 'end'"),
        ("l.jsonl", '{"audio": "a", "start": -1}', r"l\.jsonl:1: field 'start': .*-1"),
        ("l.jsonl", '{"audio": "a", "start": 2, "end": 1}', r"field 'end': 1 s .* 2 s"),
        ("l.jsonl", "[1]", r"l\.jsonl:1: .*list"),
        ("l.csv", "name\na.wav", r"l\.csv: no audio column among 'name'"),
        ("l.csv", "a.wav,hello", r"l\.csv: the first line has 'a\.wav'"),
        ("l.csv", "audio,start\na.wav,soon", r"l\.csv:2: field 'start'"),
        ("l.parquet", "PAR", r"l\.parquet: "),
    ],
)
def test_a_list_with_invalid_values_is_an_error(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ZooError, match=words):
        collect(tmp_path / name)


def test_a_manifest_of_nemo_and_an_upper_case_suffix(tmp_path: Path) -> None:
    lines = [{"audio_filepath": "a.wav", "duration": 1.5, "text": "one"}]
    lines.append({"audio_filepath": "b.wav", "offset": 0.5, "duration": 2.0})
    (tmp_path / "nemo.JSONL").write_text("".join(json.dumps(line) + "\n" for line in lines))
    items = collect(tmp_path / "nemo.JSONL")
    assert items == [Item(str(tmp_path / "a.wav")), Item(str(tmp_path / "b.wav"), 0.5, 2.5)]


def test_rows_without_audio_are_skipped_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("audio,text\n,hello\na.wav,you\n")
    with pytest.warns(UserWarning, match="1 rows have no audio"):
        assert names(collect(tmp_path / "l.csv")) == ["a.wav"]


def test_the_error_for_a_damaged_manifest_has_the_line(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"audio": "a.wav", "duration": 1.0, "split": "dev"}\n{"audio": \n')
    with pytest.raises(ManifestError, match=r"m\.jsonl:2: "):
        collect(tmp_path / "m.jsonl")


def test_paths_without_audio_are_an_error_with_the_path(tmp_path: Path) -> None:
    for paths in ([tmp_path], [f"{tmp_path}/*.wav"], []):
        with pytest.raises(ZooError, match=r"no audio found in .*(test_paths_without|empty list)"):
            collect(paths)
    with pytest.raises(ZooError, match=r"gone\.wav: no such file or folder"):
        collect(tmp_path / "gone.wav")


def test_the_error_has_each_pattern_and_folder_without_audio(tmp_path: Path, corpus: Path) -> None:
    (tmp_path / "empty").mkdir()
    pattern = f"{tmp_path}/Corpus/*.wav"
    with pytest.raises(ZooError) as caught:
        collect([corpus, pattern, tmp_path / "empty", corpus / "a"])
    assert f"no audio found in {pattern}, {tmp_path}/empty;" in str(caught.value)
    assert len(collect(f"{tmp_path}/*")) == 10  # the pattern matches; a folder among its matches is empty


def test_linked_folders_are_followed_once(tmp_path: Path, corpus: Path) -> None:
    (corpus / "a" / "round").symlink_to(corpus)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "b").symlink_to(corpus / "b")
    assert len(collect(corpus)) == 10
    assert len(collect(tmp_path / "links")) == 4


def test_a_broken_link_is_an_item(tmp_path: Path, corpus: Path) -> None:
    (corpus / "z.wav").symlink_to(tmp_path / "nowhere.wav")
    assert names(collect(corpus))[-1] == "z.wav"
    assert names(collect(corpus / "z.wav")) == ["z.wav"]


def test_kept_columns_of_a_csv_are_numbers_if_all_their_values_are(tmp_path: Path) -> None:
    header = "audio,fold,weight,code,mixed,huge,odd,gaps\n"
    rows = ["a.wav,1,0.5,007,1,99999999999999999999,nan,\n", "b.wav,-2,1e3,012,x,1,1.0,3\n"]
    expected = [(1, 0.5, "007", "1", 1e20, "nan", None), (-2, 1000.0, "012", "x", 1.0, "1.0", 3)]
    names = header.strip().split(",")[1:]
    for suffix, separator in ((".csv", ","), (".csv", ";"), (".tsv", "\t")):
        table = tmp_path / f"table{suffix}"
        table.write_text((header + "".join(rows)).replace(",", separator))
        items = list(lists.read(str(table), names))
        assert [item.labels for item in items] == expected
        assert [[type(value) for value in item.labels] for item in items] == [[*map(type, row)] for row in expected]
    for item, path in zip(items, ("a.wav", "b.wav"), strict=True):
        assert item.path == str(tmp_path / path)
