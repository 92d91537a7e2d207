"""Configurations: the order of precedence, and error messages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest

from zoo.config import load, parse, to_yaml
from zoo.errors import ConfigError
from zoo.models.hubert.model import HubertConfig
from zoo.recipes.hubert.config import HubertTrainConfig
from zoo.recipes.mulan.config import MulanTrainConfig


class Shape(Enum):
    linear = "linear"
    cosine = "cosine"


@dataclass
class Inner:
    """Sizes."""

    steps: int = 10  # optimizer steps
    rate: float = 0.1  # peak # not the last value
    shape: Shape = Shape.linear


@dataclass
class Outer:
    data: str = "corpus:speech/small"  # where the audio is
    seconds: float | None = None
    codebooks: list[int] = field(default_factory=lambda: [100])
    train: Inner = field(default_factory=Inner)
    model: HubertConfig = field(default_factory=lambda: HubertConfig(layers=2))


def test_later_wins(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("train: {steps: 20, rate: 1}\nseconds: 3\n")
    (tmp_path / "b.yaml").write_text("train: {steps: 30}\n")
    argv = [
        "train.shape=cosine",
        "--config",
        str(tmp_path / "a.yaml"),
        f"--config={tmp_path / 'b.yaml'}",
        "seconds=4.5",
    ]
    config = parse(Outer, argv)
    assert (config.train, config.seconds) == (Inner(30, 1.0, Shape.cosine), 4.5)
    assert config.model == HubertConfig(layers=2)


def test_frozen_and_tuple_fields_can_be_overridden() -> None:
    assert load(Outer, overrides=["model.dim=96", "model.units=[5,6]"]).model == HubertConfig(
        layers=2, dim=96, units=(5, 6)
    )


def test_yaml_can_be_read_back(tmp_path: Path) -> None:
    config = load(Outer, overrides=["codebooks=[1,2]", "data=hf:owner/name", "model.units=[7]", "train.shape=cosine"])
    (tmp_path / "c.yaml").write_text(to_yaml(config))
    assert load(Outer, [tmp_path / "c.yaml"]) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepz=1", r"train\.stepz=1: there is no field 'train\.stepz'.*train\.steps"),
        ("steps=1", r"no field 'steps'.*train\.steps"),
        ("train.steps=many", r"train\.steps=many: field 'train\.steps': .*many.*Integer"),
        ("train.steps=1.5", "train.steps"),
        ("train.shape=round", "train.shape.*linear, cosine"),
        ("model.frontend=mfcc", "frontend 'mfcc'"),
        ("train=3", r"train=3: a mapping of fields is needed.* as in train\."),
        ("zzzzqqq=1", "--help lists"),
    ],
)
def test_errors_name_the_field(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(Outer, overrides=[override])


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [1")
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "wrong.yaml").write_text("train: {stepz: 1}")
    for name, message in [("broken", "YAML"), ("list", "mapping"), ("wrong", r"train\.steps"), ("absent", "read")]:
        with pytest.raises(ConfigError, match=rf"{name}\.yaml: .*{message}"):
            load(Outer, [tmp_path / f"{name}.yaml"])


def test_unknown_arguments_are_refused() -> None:
    for argument in ("steps", "--steps=3", "--config"):
        with pytest.raises(ConfigError, match="expected key=value"):
            parse(Outer, [argument])


def test_help_lists_every_field_with_default_and_comment(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(Outer, ["--help"], "python -m recipe")
    output = capsys.readouterr().out
    assert stop.value.code == 0 and output.startswith("usage: python -m recipe")
    for line in ("data=corpus:speech/small +where the audio is", "train.steps=10 +optimizer steps", "train: Sizes."):
        assert re.search(line, output)
    assert "model.layers=2" in output and "train.shape=linear" in output


def test_values_in_help_can_be_used_as_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """This includes lists of rounds."""
    with pytest.raises(SystemExit):
        parse(HubertTrainConfig, ["--help"])
    values = re.findall(r"^  (rounds|init|final_units)=(.*?)(?:  .*)?$", capsys.readouterr().out, re.MULTILINE)
    rounds = "{features: mfcc, units: [100], centered: false}, {features: layer, units: [100], centered: true}"
    assert dict(values) == {"init": "null", "rounds": f"[{rounds}]", "final_units": "100"}
    assert load(HubertTrainConfig, overrides=[f"{key}={value}" for key, value in values]) == HubertTrainConfig()


def test_print_config_output_can_be_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(Outer, ["--print-config", "train.steps=7"])
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    assert load(Outer, [tmp_path / "printed.yaml"]) == load(Outer, overrides=["train.steps=7"])


def test_the_default_model_name_comes_from_the_run_folder() -> None:
    assert load(HubertTrainConfig, overrides=["out=runs/night/"]).name == "hubert-night"
    assert load(HubertTrainConfig, overrides=["out=runs/night", "name=mine"]).name == "mine"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rounds=[{features: mel, units: [20]}]", r"in rounds\[0\]: field 'features': Invalid value 'mel'"),
        ("rounds=[{features: mfcc, units: 20}]", r"in rounds\[0\]: field 'units': .*a list is needed"),
        (
            "rounds=[{features: mfcc, units: [9]}, {featurs: mfcc}]",
            r"in rounds\[1\]: there is no field 'featurs'; similar names: features",
        ),
        ("rounds={features: mfcc}", r"in rounds: a mapping stands where a list is needed"),
        ("model=hubert-large", r"model=hubert-large: a mapping of fields .* as in model\.\w+=\.\.\.,.*--config"),
        ("train=5", r"train=5: a mapping of fields .* as in train\.steps=\.\.\."),
        ("rounds=[3]", r"rounds=\[3\]: field 'rounds\[0\]': a mapping of fields is needed, value: 3"),
        ("rounds[7].units=[20]", r"rounds\[7\]"),
        ("rounds[0].unitz=[20]", r"there is no field"),
    ],
)
def test_mistakes_inside_lists_name_the_field(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(HubertTrainConfig, [], [override])


@pytest.mark.parametrize("key", ["rounds[0].units", "rounds.0.units"])
def test_one_item_of_a_list_can_be_overridden(key: str) -> None:
    assert load(HubertTrainConfig, [], [f"{key}=[20]"]).rounds[0].units == [20]


def test_a_mapping_replaces_the_default_and_a_dotted_key_changes_one_item(tmp_path: Path) -> None:
    default = dict(MulanTrainConfig().data.text)
    assert load(MulanTrainConfig, [], ["data.text={instrument+family: 1}"]).data.text == {"instrument+family": 1.0}
    assert load(MulanTrainConfig, [], ["data.text.title=2"]).data.text == default | {"title": 2.0}
    assert load(MulanTrainConfig, [], ["data.max_items=4"]).data.text == default
    (tmp_path / "a.yaml").write_text("data: {text: {title: 1}}")
    (tmp_path / "b.yaml").write_text("data: {text: {tags: 3}}")
    assert load(MulanTrainConfig, [tmp_path / "a.yaml"]).data.text == {"title": 1.0}
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    assert load(MulanTrainConfig, files, ["data.text.genre=1"]).data.text == {"tags": 3.0, "genre": 1.0}
    example = re.escape("a mapping is needed, such as 'data.text={captions: 1.0, ")
    with pytest.raises(ConfigError, match=example):
        load(MulanTrainConfig, [], ["data.text=instrument+family"])
