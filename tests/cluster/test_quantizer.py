"""From entries to a quantizer: sources, several codebooks, provenance, and errors."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file
from small import noise, small

from zoo import audio
from zoo.cluster import Quantizer
from zoo.data.manifest import Entry
from zoo.encoder import Encoder
from zoo.errors import CheckpointError, ConfigError
from zoo.units import features, fit_quantizer, layer, mfcc39


def collect(source: features.FeatureSource, entries: list[Entry]) -> dict[int, torch.Tensor]:
    parts_of: dict[int, list[torch.Tensor]] = {}
    for block in source.frames(entries):
        for index, x, error in block:
            assert error is None
            parts_of.setdefault(index, []).append(x)
    return {index: torch.cat(parts) for index, parts in parts_of.items()}


def test_mfcc_frames_fall_on_the_frames_of_the_model(clips: list[Entry]) -> None:
    source, hubert = mfcc39(50), small("hubert-base")
    assert (source.rate, source.dim) == (50, 39)
    assert source.center == hubert.frame_samples / 2 / 16_000
    frames = collect(source, clips)
    wave = audio.load(clips[2].audio, 16_000)
    whole = source.encoder.encode(wave, 16_000).x[0]
    assert torch.equal(frames[2], whole[::2])
    assert len(frames[2]) == hubert.count_frames(len(wave))


def test_frames_of_a_layer_are_those_of_encode(clips: list[Entry]) -> None:
    hubert = small("hubert-base")
    source = layer(hubert, -2)
    assert source.layer == 2 and source.rate == hubert.frame_rate and source.dim == hubert.dim
    frames = collect(source, clips)
    for i, entry in enumerate(clips):
        alone = hubert.encode(entry.audio, layer=2).x[0]
        torch.testing.assert_close(frames[i], alone, atol=1e-5, rtol=0)


def test_centered_frames_have_the_mean_of_the_clip_subtracted(clips: list[Entry]) -> None:
    hubert = small("hubert-base")
    plain, centered = layer(hubert, 2), layer(hubert, 2, centered=True)
    whole, rest = collect(plain, clips), collect(centered, clips)
    for i in range(len(clips)):
        torch.testing.assert_close(rest[i], whole[i] - whole[i].mean(0))
    quantizer = fit_quantizer(clips, centered, 3)
    with pytest.raises(CheckpointError, match="centered differs"):
        plain.check(dict(quantizer.source))
    with pytest.raises(CheckpointError, match="without `centered`"):
        hubert.attach(quantizer)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_long_clips_come_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Every `step`-th frame of the whole clip, for any limits of the windows."""
    monkeypatch.setattr(features, "_LONG_SECONDS", 3.0)
    monkeypatch.setattr(Encoder, "window_seconds", 2.03)
    monkeypatch.setattr(Encoder, "context_seconds", 0.5)
    soundfile.write(tmp_path / "long.wav", noise(5.0).numpy(), 16_000)
    source = mfcc39(100 / step)
    parts = [part for block in source.frames([Entry(tmp_path / "long.wav", 5.0, "train")]) for part in block]
    assert len(parts) > 2
    whole = source.encoder.encode(tmp_path / "long.wav").x[0]
    torch.testing.assert_close(torch.cat([part.x for part in parts]), whole[::step], atol=1e-3, rtol=1e-4)


def test_a_block_does_not_depend_on_where_the_run_begins(clips: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "BLOCK_SECONDS", 1.6)
    source = layer(small("hubert-base"), 1)
    blocks = source.blocks(clips)
    assert len(blocks) > 2 and [b.last for b in blocks[:-1]] == [b.first for b in blocks[1:]]
    late = [part for block in source.frames(clips, blocks[1:]) for part in block]
    every = [part for block in source.frames(clips) for part in block]
    for a, b in zip(every[blocks[1].first :], late, strict=True):
        assert a.entry_index == b.entry_index and torch.equal(a.x, b.x)


def test_fit_assign_save_load(clips: list[Entry], tmp_path: Path) -> None:
    source = mfcc39(50)
    path = tmp_path / "out" / "quantizer.safetensors"
    quantizer = fit_quantizer(clips, source, 12, path=path, seed=4)
    frames = collect(source, clips)[0]
    assert quantizer.assign(frames).shape == (len(frames), 1) and quantizer.sizes == (12,)
    assert quantizer.fit["seed"] == 4 and quantizer.fit["skipped"] == 0
    assert quantizer.fit["rows"] == quantizer.fit["rows_held"] == sum(map(len, collect(source, clips).values()))
    loaded = Quantizer.load(path)
    assert loaded.fingerprint == quantizer.fingerprint and loaded.rate == 50 and loaded.layer == 0
    assert torch.equal(loaded.assign(frames), quantizer.assign(frames))
    assert loaded.source["preprocessing"]["sample_rate"] == 16_000
    assert [p.name for p in path.parent.iterdir()] == [path.name], "the state file is removed"
    before = path.read_bytes()
    assert fit_quantizer(clips, source, 12, path=path, seed=4).fingerprint == quantizer.fingerprint
    assert path.read_bytes() == before


def test_several_codebooks_and_products(clips: list[Entry]) -> None:
    source = mfcc39(50)
    frames = collect(source, clips)[1]
    ensemble = fit_quantizer(clips, source, (5, 9, 9))
    assert ensemble.sizes == (5, 9, 9)
    units = ensemble.assign(frames)
    assert units.shape == (len(frames), 3) and not torch.equal(units[:, 1], units[:, 2]), "each has its own seed"
    assert torch.equal(ensemble.assign(frames)[:, 0], fit_quantizer(clips, source, 5).assign(frames)[:, 0])
    product = fit_quantizer(clips, source, 6, product=3)
    assert [(book.first, book.last) for book in product.codebooks] == [(0, 13), (13, 26), (26, 39)]
    changed = frames.clone()
    changed[:, 13:26] += 100
    same = (product.assign(changed) == product.assign(frames)).all(0)
    assert same.tolist() == [True, False, True]


def test_hours_use_a_random_part_of_the_entries(clips: list[Entry]) -> None:
    source = mfcc39(50)
    part = fit_quantizer(clips, source, 5, hours=2.0 / 3600)
    whole = fit_quantizer(clips, source, 5)
    assert 0 < part.fit["rows"] < whole.fit["rows"]
    assert part.fit["data"] != fit_quantizer(clips, source, 5, hours=2.0 / 3600, seed=1).fit["data"]


def test_unreadable_entries_are_skipped_and_counted(clips: list[Entry], tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("not audio")
    soundfile.write(tmp_path / "short.wav", noise(0.01).numpy(), 16_000)
    bad = [Entry(tmp_path / name, 1.0, "train") for name in ("bad.wav", "short.wav", "missing.wav")]
    assert fit_quantizer([*bad, *clips], mfcc39(50), 5).fit["skipped"] == 3
    with pytest.raises(ConfigError, match="none of 3 entries gave a frame"):
        fit_quantizer(bad, mfcc39(50), 5)


def test_another_encoder_layer_or_rate_is_an_error(clips: list[Entry]) -> None:
    hubert, other = small("hubert-base"), small("hubert-base", seed=1)
    quantizer = fit_quantizer(clips, layer(hubert, 1), 5)
    quantizer.check(hubert)
    with pytest.raises(CheckpointError, match=r"belongs to hubert-base .* layer 1"):
        quantizer.check(other)
    for source in (layer(hubert, 2), layer(other, 1), layer(hubert, 1, 25.0)):
        with pytest.raises(CheckpointError, match="differs"):
            source.check(dict(quantizer.source))


def test_errors(clips: list[Entry], tmp_path: Path) -> None:
    source, path = mfcc39(50), tmp_path / "q.safetensors"
    with pytest.raises(ConfigError, match="rate 30"):
        mfcc39(30)
    with pytest.raises(ConfigError, match="cannot make 5000 clusters"):
        fit_quantizer(clips, source, 5000)
    for options in ({"k": 0}, {"k": ()}, {"k": (3, 4), "product": 2}, {"product": 40}, {"passes": -1}):
        with pytest.raises(ConfigError):
            fit_quantizer(clips, source, **{"k": 5, **options})
    fit_quantizer(clips, source, 5, path=path)
    with pytest.raises(ConfigError, match=r"other arguments .*seed 0, now 1"):
        fit_quantizer(clips, source, 5, path=path, seed=1)
    with pytest.raises(ConfigError, match="data"):
        fit_quantizer([replace(entry, duration=9.0) for entry in clips], source, 5, path=path)
    with pytest.raises(CheckpointError, match="differs"):
        fit_quantizer(clips, mfcc39(100), 5, path=path)
    (tmp_path / "no").write_bytes(b"no")
    for name in ("no", "missing"):
        with pytest.raises(CheckpointError, match=name):
            Quantizer.load(tmp_path / name)


def test_numpy_integers_are_integers(clips: list[Entry], tmp_path: Path) -> None:
    path = tmp_path / "q.safetensors"
    quantizer = fit_quantizer(clips, mfcc39(50), np.int64(5), product=np.int64(3), seed=np.int64(1), path=path)
    assert quantizer.sizes == (5, 5, 5) and Quantizer.load(path).fit["seed"] == 1
    others = {"sample_bytes": np.int64(10**6), "passes": np.int64(1), "hours": np.float32(1)}
    fit_quantizer(clips, mfcc39(50), 5, path=tmp_path / "p.safetensors", **others)  # type: ignore[arg-type]
    for options in ({"sample_bytes": 1e6}, {"passes": 1.5}, {"seed": 0.5}, {"seed": -1}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            fit_quantizer(clips, mfcc39(50), 5, **options)  # type: ignore[arg-type]


def test_frames_of_another_width_are_an_error(clips: list[Entry]) -> None:
    quantizer = fit_quantizer(clips, mfcc39(50), 5)
    for width in (1, 38, 40):  # width 1 would broadcast, extra columns would be ignored
        with pytest.raises(ConfigError, match=r"takes \(T, 39\)"):
            quantizer.assign(torch.zeros(4, width))


@pytest.mark.parametrize("hours", [0, -1.0, math.nan])
def test_invalid_hours(clips: list[Entry], hours: float) -> None:
    with pytest.raises(ConfigError, match="hours"):
        fit_quantizer(clips, mfcc39(50), 5, hours=hours)


def test_a_sample_with_too_few_rows_is_an_error(clips: list[Entry]) -> None:
    with pytest.raises(ConfigError, match=r"sample_bytes 1560: only 10 rows fit, .*50.* give 7800"):
        fit_quantizer(clips, mfcc39(50), 50, sample_bytes=10 * 39 * 4)


@pytest.mark.parametrize("header", ["[]", "{}", '{"format": 1, "codebooks": 3}', '{"format": 1, "codebooks": [[1]]}'])
def test_an_invalid_header_is_an_error(tmp_path: Path, header: str) -> None:
    save_file({"centroids.0": torch.zeros(2, 3)}, tmp_path / "q.safetensors", metadata={"zoo.quantizer": header})
    with pytest.raises(CheckpointError, match=r"q\.safetensors"):
        Quantizer.load(tmp_path / "q.safetensors")


SOURCE = {"model": "m", "fingerprint": "f", "layer": 4, "rate": 50.0}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source": SOURCE | {"layer": "x"}}, "layer is 'x'"),
        ({"source": SOURCE | {"layer": -1}}, "layer is -1"),
        ({"source": SOURCE | {"rate": 0}}, "rate is 0"),
        ({"source": SOURCE | {"rate": "fast"}}, "rate is 'fast'"),
        ({"source": SOURCE | {"fingerprint": ["f"]}}, "fingerprint must be"),
        ({"source": {}}, "'layer' is missing"),
        ({"source": "x"}, "source and fit must be tables"),
        ({"fit": 3}, "source and fit must be tables"),
        ({"codebooks": []}, "codebooks: there is none"),
        ({"codebooks": [[0, 3]]}, r"centroids\.0: shape \(2, 4\) for columns 0 to 3"),
        ({"codebooks": [[4, 0]]}, r"columns of number 0 are \[4, 0\]"),
        ({"codebooks": [["a", "b"]]}, "columns of number 0"),
        ({"codebooks": [[0, 4], [4, 8]]}, r"centroids\.1"),
        ({"format": "9" * 10**5}, "quantizer format '9"),
        ({"source": "["}, "cannot be read as a quantizer|nested"),
    ],
)
def test_a_header_with_wrong_values_is_an_error(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    header = {"format": 1, "source": SOURCE, "fit": {}, "codebooks": [[0, 4]]}
    text = json.dumps(header | changes)
    if changes == {"source": "["}:
        text = "[" * 200_000
    save_file({"centroids.0": torch.zeros(2, 4)}, tmp_path / "q.safetensors", metadata={"zoo.quantizer": text})
    with pytest.raises(CheckpointError, match=rf"q\.safetensors: .*({reason})") as caught:
        Quantizer.load(tmp_path / "q.safetensors")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_centroids_that_are_no_numbers_are_an_error(tmp_path: Path, value: float) -> None:
    text = json.dumps({"format": 1, "source": SOURCE, "fit": {}, "codebooks": [[0, 4]]})
    metadata = {"zoo.quantizer": text}
    save_file({"centroids.0": torch.zeros(2, 4)}, tmp_path / "good.safetensors", metadata=metadata)
    assert Quantizer.load(tmp_path / "good.safetensors").sizes == (2,)
    save_file({"centroids.0": torch.full((2, 4), value)}, tmp_path / "q.safetensors", metadata=metadata)
    with pytest.raises(CheckpointError, match="not all are finite"):
        Quantizer.load(tmp_path / "q.safetensors")
