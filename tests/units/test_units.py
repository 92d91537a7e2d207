"""Hidden units of a HuBERT with a quantizer, in Python and from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import soundfile
import torch
from small import noise, small

import zoo
from zoo.data.manifest import Entry
from zoo.encoder import Encoder
from zoo.errors import CheckpointError, ConfigError, ZooError
from zoo.jobs import decode
from zoo.jobs.plan import Limits
from zoo.models.hubert.model import HuBERT
from zoo.units import fit_quantizer, layer, mfcc39, task
from zoo.units.writing import write_units


def with_units(clips: list[Entry], k: int | tuple[int, ...] = 9) -> HuBERT:
    model = small("hubert-base")
    assert isinstance(model, HuBERT)
    model.attach(fit_quantizer(clips, layer(model, 2), k))
    return model


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_units_of_one_of_many_and_without_repeats(clips: list[Entry]) -> None:
    model = with_units(clips)
    waves = [noise(1.0, 1), noise(0.4, 2)]
    one, two = model.units(waves, 16_000)
    assert one.shape == (49,) and one.dtype == torch.int64 and two.shape == (19,)
    assert torch.equal(model.units(waves[0], 16_000), one)
    assert model.units([clips[0].audio])[0].shape == (model.count_frames(9600),)
    assert model.quantizer is not None
    expected = model.quantizer.assign(model.encode(waves[0], 16_000, layer=2).x[0])[:, 0]
    assert torch.equal(one, expected)
    short = model.units(waves[0], 16_000, dedup=True)
    assert (short[1:] != short[:-1]).all() and torch.equal(short, one.unique_consecutive())
    assert with_units(clips, (9, 4)).units(waves, 16_000)[1].shape == (19, 2)


def test_long_input_is_encoded_in_windows(clips: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Encoder, "window_seconds", 2.0)
    monkeypatch.setattr(Encoder, "context_seconds", 0.5)
    model = with_units(clips)
    assert model.units(noise(7.0), 16_000).shape == (model.count_frames(7 * 16_000),)


def test_the_quantizer_is_saved_with_its_model_and_rejected_by_others(clips: list[Entry], tmp_path: Path) -> None:
    model = with_units(clips)
    model.save(tmp_path / "model")
    assert "model.units(" in (tmp_path / "model" / "README.md").read_text()
    loaded = zoo.load(tmp_path / "model", device="cpu")
    assert isinstance(loaded, HuBERT)
    assert torch.equal(loaded.units(noise(1), 16_000), model.units(noise(1), 16_000))
    small("hubert-base", seed=1).save(tmp_path / "other")
    quantizer = tmp_path / "model" / "quantizer.safetensors"
    (tmp_path / "other" / "quantizer.safetensors").write_bytes(quantizer.read_bytes())
    with pytest.raises(CheckpointError, match="quantizer belongs to hubert-base"):
        zoo.load(tmp_path / "other")
    with pytest.raises(CheckpointError, match="belongs to mfcc"):
        model.attach(fit_quantizer(clips, mfcc39(50), 5))
    with pytest.raises(ConfigError, match="25 units a second"):
        model.attach(fit_quantizer(clips, layer(model, 2, 25.0), 5))


def test_a_changed_model_is_saved_without_its_quantizer(clips: list[Entry], tmp_path: Path) -> None:
    model = with_units(clips)
    with torch.no_grad():
        model.mask_embedding.add_(1)
    with pytest.warns(UserWarning, match=r"/model: saved without the quantizer") as caught:
        model.save(tmp_path / "model")
    assert ".tmp" not in str(caught[0].message) and caught[0].filename == __file__
    assert "model.units(" not in (tmp_path / "model" / "README.md").read_text()
    with pytest.raises(ConfigError, match="no quantizer"):
        zoo.load(tmp_path / "model", device="cpu").units(noise(1), 16_000)  # type: ignore[operator]


def test_command(clips: list[Entry], tmp_path: Path) -> None:
    model, out = with_units(clips), tmp_path / "out" / "units.jsonl"
    model.save(tmp_path / "model")
    (tmp_path / "clips" / "z.wav").write_text("not audio")
    command = [sys.executable, "-m", "zoo", "units", tmp_path / "clips", "-m", tmp_path / "model", "-o", out]
    done = subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = read(out)
    assert [Path(line["path"]).name for line in lines] == [*(f"{i}.wav" for i in range(6)), "z.wav"]
    assert lines[1]["units"] == model.units(clips[1].audio).tolist() and lines[1]["rate"] == 50
    assert "units" not in lines[-1] and lines[-1]["error"] and "units of 6 items; 1 failed" in done.stderr
    assert [path.name for path in out.parent.iterdir()] == ["units.jsonl"]
    done = subprocess.run([*command, "--device", "cpu", "--fail-on-error"], capture_output=True, text=True)
    assert done.returncode == 1 and "error: 1 of 7 items failed" in done.stderr
    command[4], command[-1] = tmp_path / "clips" / "z.wav", tmp_path / "none.jsonl"
    done = subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True)
    assert done.returncode == 1 and "error: 1 of 1 items failed" in done.stderr


def test_a_link_stays_and_the_file_that_it_points_to_is_written(clips: list[Entry], tmp_path: Path) -> None:
    model, link, out = with_units(clips), tmp_path / "link.jsonl", tmp_path / "disk" / "units.jsonl"
    out.parent.mkdir()
    link.symlink_to(out)
    for count in (1, 2):  # the file is missing, then replaced
        assert write_units([entry.audio for entry in clips[:count]], model, link, progress=False) == (count, 0)
        assert link.is_symlink() and len(read(out)) == count
    assert [path.name for path in out.parent.iterdir()] == ["units.jsonl"]


def test_bad_lines_of_a_list_fail_by_name(clips: list[Entry], tmp_path: Path) -> None:
    model, name = with_units(clips), str(clips[0].audio)
    lines = [{"audio": "a\0b.wav"}, {"audio": "\ud800.wav"}, {"audio": name, "end": 1e308}, {"audio": name}]
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for _ in range(2):
        assert write_units(tmp_path / "list.jsonl", model, tmp_path / "units.jsonl", progress=False) == (1, 3)
    assert ["error" in line for line in read(tmp_path / "units.jsonl")] == [True, True, True, False]


def test_run_lengths_and_reruns(clips: list[Entry], tmp_path: Path) -> None:
    model, out = with_units(clips), tmp_path / "units.jsonl"
    paths = [entry.audio for entry in clips]
    assert write_units(paths, model, out, dedup=True, progress=False).failed == 0
    line = read(out)[0]
    whole = model.units(paths[0])
    assert torch.tensor(line["units"]).repeat_interleave(torch.tensor(line["counts"])).tolist() == whole.tolist()
    before = out.stat().st_mtime_ns
    assert write_units(paths, model, out, dedup=True, progress=False).failed == 0
    assert out.stat().st_mtime_ns == before
    with pytest.raises(ZooError, match=r"units\.jsonl, line 1: .*0\.wav' is not among the inputs.* --prune"):
        write_units(paths[1:], model, out, dedup=True, progress=False)
    lines = read(out)
    assert write_units(paths[1:], model, out, dedup=True, prune=True, progress=False) == (5, 0)
    assert read(out) == lines[1:]
    assert write_units(paths, model, out, dedup=True, progress=False) == (6, 0)
    with pytest.raises(ZooError, match=r"units\.jsonl, line 1: .*dedup True \(now False\)"):
        write_units([*paths, paths[0].parent], model, out, dedup=False, progress=False)
    with pytest.raises(ConfigError, match="no quantizer"):
        write_units(paths, "mfcc", tmp_path / "no.jsonl", progress=False)


def test_new_files_are_added_at_the_end_and_nothing_is_encoded_again(
    clips: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out, paths = with_units(clips), tmp_path / "units.jsonl", [entry.audio for entry in clips]
    write_units(paths[1:], model, out, progress=False)
    before = read(out)
    encoded: list[str] = []
    whole = decode.read
    monkeypatch.setattr(decode, "read", lambda item, **k: encoded.append(Path(item.path).name) or whole(item, **k))
    for _ in range(2):
        assert write_units(paths, model, out, progress=False) == (6, 0)
        assert encoded == ["0.wav"] and read(out)[:-1] == before
        assert read(out)[-1]["units"] == model.units(paths[0]).tolist()
    out.write_text(out.read_text() * 2)
    with pytest.raises(ZooError, match="line 7: a second line"):
        write_units(paths, model, out, progress=False)


def test_changed_files_and_failures_are_computed_again(
    clips: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out, paths = with_units(clips), tmp_path / "units.jsonl", [entry.audio for entry in clips]
    good = paths[4].read_bytes()
    stamp = paths[4].stat()
    paths[4].write_bytes(b"x" * len(good))
    os.utime(paths[4], ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    monkeypatch.setattr(task.UnitsTask, "limits", Limits(2048, 1.6, 1.6))
    assert write_units(paths, model, out, progress=False).failed == 1
    before = read(out)
    soundfile.write(paths[1], noise(0.9, seed=77).numpy(), 16_000)
    paths[4].write_bytes(good)
    os.utime(
        paths[4], ns=(stamp.st_atime_ns, stamp.st_mtime_ns)
    )  # the same size and time; it is only tried again because it failed
    encoded: list[str] = []
    whole = decode.read
    monkeypatch.setattr(decode, "read", lambda item, **k: encoded.append(Path(item.path).name) or whole(item, **k))
    assert write_units(paths, model, out, progress=False).failed == 0
    assert encoded == ["1.wav", "4.wav"]
    after = read(out)
    assert [one == two for one, two in zip(before, after, strict=True)] == [True, False, True, True, False, True]
    assert after[1]["units"] == model.units(paths[1]).tolist()
    assert after[4]["units"] == model.units(paths[4]).tolist()
    paths[0].unlink()
    paths[0].symlink_to(tmp_path / "gone.wav")  # units of a deleted file are kept
    assert write_units(paths, model, out, progress=False).failed == 0
    assert read(out) == after and len(encoded) == 2


def test_another_dtype_is_an_error_for_a_finished_and_an_unfinished_file(
    clips: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = with_units(clips), tmp_path / "units.jsonl"
    for unfinished in (False, True):
        with monkeypatch.context() as patch:
            if unfinished:
                out.unlink()
                patch.setattr(task, "replacing_file", killed)
            with pytest.raises(KeyboardInterrupt) if unfinished else nullcontext():
                write_units(tmp_path / "clips", model, out, progress=False)
        other = with_units(clips)
        with monkeypatch.context() as patch:
            patch.setattr(task, "open_encoder", lambda *_, other=other: (other, "bfloat16", "as requested"))
            with pytest.raises(
                ZooError, match=r"(made|started) with other settings: dtype 'float32' \(now 'bfloat16'\)"
            ):
                write_units(tmp_path / "clips", model, out, progress=False)
    assert write_units(tmp_path / "clips", model, out, progress=False).failed == 0


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_file_that_changes_between_two_attempts_is_encoded_again(
    clips: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out, paths = with_units(clips), tmp_path / "units.jsonl", [entry.audio for entry in clips]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(task, "replacing_file", killed)
        write_units(paths, model, out, progress=False)
    soundfile.write(paths[2], noise(0.5, seed=78).numpy(), 16_000)
    assert write_units(paths, model, out, progress=False).failed == 0
    assert read(out)[2]["units"] == model.units(paths[2]).tolist()


def test_lines_without_dtype_and_file_are_made_again(clips: list[Entry], tmp_path: Path) -> None:
    """Older versions did not write them."""
    model, out = with_units(clips), tmp_path / "units.jsonl"
    write_units(tmp_path / "clips", model, out, progress=False)
    whole = out.read_bytes()
    bare = [{k: v for k, v in line.items() if k not in ("dtype", "file")} | {"units": [0]} for line in read(out)]
    out.write_text("".join(json.dumps(line) + "\n" for line in bare))
    write_units(tmp_path / "clips", model, out, progress=False)
    assert out.read_bytes() == whole
