"""Inputs that are gone, and columns of their lists."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from quiet_runs import digests
from quiet_runs import run as run_any
from recordings import write_wav

from zoo import embed
from zoo.encoder import Encoder
from zoo.errors import ConfigError, ZooError


def run(paths: object, model: object, out: Path, **options: object) -> embed.EmbedSummary:
    return run_any(paths, model, out, **{"shard_items": 3, **options})


def test_prune_removes_the_rows_of_items_that_are_gone(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    run(corpus, hubert, tmp_path / "out")
    before = digests(tmp_path / "out")
    content = (corpus / "a" / "4.wav").read_bytes()
    (corpus / "a" / "4.wav").unlink()
    with pytest.raises(ZooError, match=r"1 items that are not among the inputs now \(.*4\.wav\).* --prune"):
        run(corpus, hubert, tmp_path / "out")
    assert digests(tmp_path / "out") == before
    summary = run(corpus, hubert, tmp_path / "out", prune=True)
    assert (summary.embedded, summary.skipped, summary.failed) == (2, 7, 0)
    assert [Path(path).stem for path in embed.load(tmp_path / "out").paths] == list("012356789")
    after = digests(tmp_path / "out")
    assert {name for name in before if after[name] != before[name]} == {"_plan.jsonl", "part-00001.parquet"}
    assert run(corpus, hubert, tmp_path / "out").skipped == 9, "pruned once, no flag is needed"
    (corpus / "a" / "4.wav").write_bytes(content)
    assert run(corpus, hubert, tmp_path / "out").failed == 0
    assert [Path(path).stem for path in embed.load(tmp_path / "out").paths] == list("0123456789")
    with pytest.raises(ZooError, match="none of the inputs"):
        run(write_wav(tmp_path / "other.wav", 0.5), hubert, tmp_path / "out", prune=True)


def test_columns_of_a_list_are_kept(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    lines = [
        {
            "audio": f"corpus/a/{i}.wav",
            "label": f"class {i % 2}",
            "fold": i,
            "weight": i or 0.5,
            "mixed": [True, "x", 1][i % 3],
        }
        for i in range(6)
    ]
    del lines[5]["label"]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    inputs = [manifest, corpus / "b" / "9.wav"]
    options = {"keep_columns": "label, fold,weight,mixed", "layer": 0}
    assert run(inputs, mfcc, tmp_path / "out", **options).failed == 0
    table = pq.read_table(tmp_path / "out")
    types = [str(table.schema.field(name).type) for name in ("label", "fold", "weight", "mixed")]
    assert types == ["string", "int64", "double", "string"]
    assert table["label"].to_pylist() == [*(f"class {i % 2}" for i in range(5)), None, None]
    assert table["fold"].to_pylist() == [*range(6), None]
    assert table["mixed"].to_pylist() == ["True", "x", "1"] * 2 + [None]
    before = digests(tmp_path / "out")
    assert run(inputs, mfcc, tmp_path / "out", **options).skipped == 7
    assert digests(tmp_path / "out") == before
    assert embed.load(tmp_path / "out").columns["label"][1] == "class 1"
    lines[4]["label"] = "another"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run(inputs, mfcc, tmp_path / "out", **options).embedded == 3, "the shard of the changed label"
    assert embed.load(tmp_path / "out").columns["label"][4] == "another"
    with pytest.raises(ConfigError, match="'lable': no list"):
        run(inputs, mfcc, tmp_path / "new", keep_columns="lable")
    with pytest.raises(ConfigError, match="'duration'"):
        run(inputs, mfcc, tmp_path / "new", keep_columns="duration")
    with pytest.raises(ZooError, match="other settings: columns"):
        run(inputs, mfcc, tmp_path / "out", layer=0)
