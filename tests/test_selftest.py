"""Reduced precision that is wrong on a machine is noticed, and the model comes in float32."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from small import noise, small
from torch import Tensor
from typer.testing import CliRunner

import zoo
from zoo import selftest
from zoo.cli import app
from zoo.errors import ConfigError
from zoo.loading import open_encoder
from zoo.nn.precision import dtype_of
from zoo.nn.transformer import Block, Transformer

WAVE = noise(1.0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    small("hubert-base").save(tmp_path / "model")
    return tmp_path / "model"


def break_reduced_precision(monkeypatch: pytest.MonkeyPatch, fault: Any) -> None:
    """Let `fault` change what a transformer gives in bfloat16."""
    whole = Transformer.forward

    def forward(self: Transformer, x: Tensor, *rest: Any, **named: Any) -> list[Tensor]:
        layers = whole(self, x, *rest, **named)
        return [fault(layer) for layer in layers] if x.dtype == torch.bfloat16 else layers

    monkeypatch.setattr(Transformer, "forward", forward)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda x: x.roll(1, -1), "the cosine to float32"),
        (lambda x: x * float("nan"), "the embedding is not finite"),
        (lambda x: x + torch.randn_like(x) * 0.01, "two runs over the same clip differ"),
    ],
    ids=["wrong", "nan", "random"],
)
def test_wrong_numbers_mean_float32_and_a_warning(
    saved: Path, monkeypatch: pytest.MonkeyPatch, fault: Any, message: str
) -> None:
    break_reduced_precision(monkeypatch, fault)
    for _ in range(2):  # the second time from the cache
        with pytest.warns(UserWarning, match=f"bfloat16 is wrong on this machine: {message}"):
            model = zoo.load(saved, dtype="bfloat16")
        assert dtype_of(model) == "float32"
        assert torch.equal(model.embed(WAVE, 16_000), zoo.load(saved).embed(WAVE, 16_000))
    with pytest.warns(UserWarning):
        assert open_encoder(saved, "cpu", "bfloat16")[1:] == ("float32", "bfloat16 is wrong on this machine")


def test_right_numbers_are_tested_once(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    whole = selftest.compare
    monkeypatch.setattr(selftest, "compare", lambda *a: calls.append(a[2]) or whole(*a))  # type: ignore[func-returns-value]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for dtype in ("bfloat16", "int8", "bfloat16", "float32"):
            assert dtype_of(zoo.load(saved, dtype=dtype)) == dtype
    assert calls == ["bfloat16", "int8"]


def test_it_can_be_turned_off(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_reduced_precision(monkeypatch, lambda x: x * float("nan"))
    monkeypatch.setenv("ZOO_SELFTEST", "0")
    assert dtype_of(zoo.load(saved, dtype="bfloat16")) == "bfloat16"


def test_a_damaged_memory_is_no_memory(saved: Path, tmp_path: Path) -> None:
    zoo.load(saved, dtype="bfloat16")
    (kept,) = (tmp_path / "cache" / "selftest").iterdir()
    kept.write_text("{")
    assert dtype_of(zoo.load(saved, dtype="bfloat16")) == "bfloat16"


def test_values_of_a_wrong_type_are_no_memory(saved: Path, tmp_path: Path) -> None:
    zoo.load(saved, dtype="bfloat16")
    (kept,) = (tmp_path / "cache" / "selftest").iterdir()
    whole = json.loads(kept.read_text())
    for damage in ({"cosine": "1"}, {"cosine": None}, {"dtype": "float7"}, {"repeats": 1}):
        kept.write_text(json.dumps(whole | damage))
        assert dtype_of(zoo.load(saved, dtype="bfloat16")) == "bfloat16"
        again = json.loads(kept.read_text())
        assert type(again["cosine"]) is float and again["dtype"] == "bfloat16" and again["repeats"] is True


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_broken_weights_say_nothing_about_the_machine(saved: Path, tmp_path: Path, value: float) -> None:
    broken = zoo.load(saved)
    with torch.no_grad():
        for weight in broken.parameters():
            weight.fill_(value)
    broken.save(tmp_path / "broken")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in (tmp_path / "broken", saved):
            assert dtype_of(zoo.load(source, dtype="bfloat16")) == "bfloat16"
    done = CliRunner().invoke(app, ["selftest", str(tmp_path / "broken"), "--dtype", "bfloat16"])
    assert done.exit_code == 1 and "in float32 is zero or not finite" in str(done.exception)


def test_weights_that_overflow_do_not_condemn_others(saved: Path, tmp_path: Path) -> None:
    """float16 ends at 65504, so large weights are wrong in it on every machine."""
    large = zoo.load(saved)
    with torch.no_grad():
        next(block for block in large.modules() if isinstance(block, Block)).attention.qkv.weight.mul_(1e7)
    large.save(tmp_path / "large")
    for _ in range(2):
        with pytest.warns(UserWarning, match="float16 is wrong on this machine"):
            assert dtype_of(zoo.load(tmp_path / "large", dtype="float16")) == "float32"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dtype_of(zoo.load(saved, dtype="float16")) == "float16"


def test_the_warning_is_at_the_call(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_reduced_precision(monkeypatch, lambda x: x * float("nan"))
    with pytest.warns(UserWarning) as caught:
        zoo.load(saved, dtype="bfloat16")
    assert [warning.filename for warning in caught] == [__file__]


def test_the_clip_is_long_enough_for_the_model(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = zoo.load(saved)
    seen: list[int] = []
    monkeypatch.setattr(model, "min_samples", 5 * model.sample_rate)
    monkeypatch.setattr(model, "embed", lambda clip, rate: seen.append(len(clip)) or torch.ones(3))  # type: ignore[func-returns-value]
    selftest.reference(model)
    assert seen == [5 * model.sample_rate]


@pytest.mark.parametrize("dtype", ["float32", "float7"])
def test_the_command_refuses_what_it_cannot_test(saved: Path, dtype: str) -> None:
    done = CliRunner().invoke(app, ["selftest", str(saved), "--dtype", dtype])
    assert isinstance(done.exception, ConfigError) and dtype in str(done.exception)


def test_the_command_takes_short_names(saved: Path) -> None:
    done = CliRunner().invoke(app, ["selftest", str(saved), "--dtype", "bf16"])
    assert done.exit_code == 0 and "bfloat16" in done.output


def test_the_command_shows_machine_and_cosines(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(app, ["selftest", str(saved), "--dtype", "bfloat16"])
    assert done.exit_code == 0 and "processor:" in done.output and "right" in done.output
    break_reduced_precision(monkeypatch, lambda x: x.roll(1, -1))
    done = CliRunner().invoke(app, ["selftest", str(saved), "--dtype", "bfloat16"])
    assert done.exit_code == 1 and "wrong on this machine" in str(done.exception)
