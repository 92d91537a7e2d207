"""zoo.list_models, info, create, load, register."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor

import zoo
from zoo import registry
from zoo.cards import PACKAGED
from zoo.cli.card import read as read_card
from zoo.encoder import Encoder, Frames, Layer
from zoo.errors import CheckpointError, ConfigError, UnknownModelError, ZooError


@dataclass(frozen=True)
class PeakConfig:
    width: int = 4


class Peak(Encoder):
    """A minimal encoder as CONTRIBUTING shows it: the largest magnitudes of each 10 ms."""

    family = "peak"
    Config = PeakConfig
    num_layers = 0

    def __init__(self, config: PeakConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.hop, self.min_samples, self.dim = 8_000, 80, 80, config.width

    def forward(self, waves: Tensor, lengths: Tensor, *, layer: Layer = -1, norm_stats: Tensor | None = None) -> Frames:
        layers = self.resolve_layers(layer)
        x = waves.unfold(1, 80, 80).abs().topk(self.dim).values  # (B, T, D)
        x = x if isinstance(layer, int) else x.expand(len(layers), *x.shape)
        return Frames(x, lengths // 80, self.frame_rate)


@pytest.fixture
def own_table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_cards", dict(registry._cards))
    monkeypatch.setattr(registry, "_families", dict(registry._families))
    yield


def test_every_card_is_complete() -> None:
    for name in zoo.list_models():
        card = zoo.info(name)
        assert card.name == name
        assert card.summary and card.license and card.training_data
        assert card.paper or card.parameters == 0
        assert card.source is None or card.source == PACKAGED or card.source.startswith("hf:")


@pytest.mark.parametrize("name", [name for name in zoo.list_models() if zoo.info(name).source == PACKAGED])
def test_packaged_models_are_what_their_cards_say(name: str) -> None:
    model = zoo.load(name, device="cpu")
    wanted = zoo.create(name).config
    assert (model.name, model.family, model.config) == (name, zoo.info(name).family, wanted)
    assert zoo.load(zoo.info(name).family, device="cpu").fingerprint() == model.fingerprint()


@pytest.mark.parametrize("name", zoo.list_models())
def test_card_states_the_true_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        model = zoo.create(name)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(zoo.info(name).parameters, abs=0.06)


def test_list_models_takes_shell_patterns() -> None:
    assert {"hubert-base", "hubert-large", "hubert-xlarge"} <= set(zoo.list_models("hubert*"))
    assert zoo.list_models("mfcc") == ["mfcc"]
    assert zoo.list_models("nothing-*") == []


@pytest.mark.parametrize("verb", [zoo.info, zoo.create, zoo.load])
def test_unknown_name_lists_near_ones(verb) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UnknownModelError, match="did you mean hubert-base"):
        verb("hubert-bsae")


@pytest.mark.parametrize(
    ("name", "near"),
    [("whisper-tin.en", "whisper-tiny.en"), ("HuBERT-Base", "hubert-base"), ("hubert-mini.pt", "hubert-mini")],
)
def test_near_names_with_a_dot_and_in_capitals(name: str, near: str) -> None:
    with pytest.raises(ZooError, match=f"did you mean {re.escape(near)}[,?]"):
        zoo.load(name)


@pytest.mark.parametrize(
    ("options", "odd"),
    [({"layers": "6"}, "layers='6'"), ({"units": 5}, "units=5")],
)
def test_create_names_options_of_the_wrong_type(options: dict[str, Any], odd: str) -> None:
    with pytest.raises(ConfigError, match=f"hubert cannot be built with these options: {odd} is of the wrong type"):
        zoo.create("hubert-mini", **options)


def test_create_names_unknown_options() -> None:
    with pytest.raises(ConfigError, match=r"'layer'.*layers"):
        zoo.create("hubert-base", layer=3)


def test_load_says_when_there_are_no_weights() -> None:
    with pytest.raises(CheckpointError, match=r"zoo\.create\('hubert-fast'\)"):
        zoo.load("hubert-fast")


def test_load_says_when_a_path_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        zoo.load(str(tmp_path / "model.pt"))


def test_load_guesses_a_repository_of_the_hub() -> None:
    with pytest.raises(CheckpointError, match=r"no such file.*written hf:facebook/hubert-base-ls960"):
        zoo.load("facebook/hubert-base-ls960")


def test_home_is_found_wherever_a_path_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    zoo.load("logmel").save("~/models/mine")
    model = zoo.load("~/models/mine")
    soundfile.write(tmp_path / "a.wav", torch.zeros(16_000).numpy(), 16_000)
    assert model.embed("~/a.wav").shape == (80,) and "logmel" in read_card("~/models/mine")


def test_a_registered_name_comes_before_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hubert").mkdir()
    (tmp_path / "hubert" / "README.md").write_text("notes of mine")
    assert "notes of mine" not in read_card("hubert")
    (tmp_path / "hubert").rename("other")
    with pytest.raises(UnknownModelError):
        read_card("other")


@pytest.mark.parametrize("name", ["logmel", "mfcc", "hubert-mini"])
def test_no_bands_can_be_made_of_no_samples(name: str) -> None:
    with pytest.raises(ConfigError, match="at least 1000 Hz"):
        zoo.create(name, sample_rate=0)


def test_weightless_models_load_at_once() -> None:
    assert zoo.load("mfcc").embed(torch.zeros(16_000), 16_000).shape == (39,)


def test_register_a_new_family(own_table: None, tmp_path: Path) -> None:
    card = zoo.ModelCard("peak-4", "peak", "loudest samples")
    with pytest.raises(ConfigError, match="family 'peak' is unknown"):
        zoo.register(card)
    zoo.register(card, Peak)
    assert "peak-4" in zoo.list_models()
    model = zoo.create("peak-4", width=3)
    assert model.embed([torch.rand(900), torch.rand(400)], 8_000).shape == (2, 3)
    model.save(tmp_path / "peak")
    assert zoo.load(tmp_path / "peak").config == PeakConfig(width=3)
    with pytest.raises(ConfigError, match="registered already"):
        zoo.register(card, Peak)
    with pytest.raises(ConfigError, match="bound to"):
        zoo.register(replace(card, name="other"), "somewhere:Else")
    zoo.register(replace(card, name="peak-5"), f"{__name__}:Peak")  # the same class, by its name
    with pytest.raises(ConfigError, match="'hubert' is short for hubert-mini"):
        zoo.register(replace(card, name="hubert"))


def test_same_seed_same_model() -> None:
    prints = []
    for _ in range(2):
        torch.manual_seed(5)
        prints.append(zoo.create("hubert-base", layers=1, dim=32, heads=2, ffn_dim=32, conv_dim=16).fingerprint())
    assert prints[0] == prints[1]
    assert prints[0] != zoo.create("hubert-base", layers=1, dim=32, heads=2, ffn_dim=32, conv_dim=16).fingerprint()


def test_importing_zoo_does_not_import_torch() -> None:
    heavy = "{'torch', 'numpy', 'transformers', 'pyarrow', 'soundfile', 'matplotlib', 'sklearn'}"
    code = f"import sys, zoo, zoo.cli.main; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == "[]"


def test_loading_the_packaged_models_imports_little_beside_torch() -> None:
    """A fresh process has them in a tenth of a second beyond torch's own import; each of these would cost several."""
    heavy = "{'transformers', 'pyarrow', 'scipy', 'sklearn', 'matplotlib', 'accelerate', 'omegaconf', 'rich', 'sympy'}"
    code = f"import sys, zoo; [zoo.load(n) for n in ('hubert', 'mulan', 'whisper')]; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == "set()"
