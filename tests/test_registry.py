"""zoo.list_models, info, create, load, register."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from small import small
from torch import Tensor
from typer.testing import CliRunner

import zoo
from zoo import models, registry
from zoo.cards import PACKAGED
from zoo.cli.card import read as read_card
from zoo.cli.main import app
from zoo.encoder import Encoder, Frames, Layer
from zoo.errors import CheckpointError, ConfigError, UnknownModelError, ZooError
from zoo.nn.masking import lengths_to_mask, zero_padding
from zoo.testing import check_encoder

WRAPPED = {"architecture": "A", "settings": "{}", "extractor": "{}", "sample_rate": 16_000, "hop": 320, "offset": -80}
WRAPPED |= {"min_samples": 400, "dim": 8, "layers": 2}


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
        counts = lengths // 80
        x = waves.unfold(1, 80, 80).abs().topk(self.dim).values  # (B, T, D)
        x = zero_padding(x, lengths_to_mask(counts, x.shape[1]))
        x = x if isinstance(layer, int) else x.expand(len(layers), *x.shape)
        return Frames(x, counts, self.frame_rate)


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of the registry's tables, dropped after the test."""
    for table in ("_cards", "_families", "_short_names"):
        monkeypatch.setattr(registry, table, dict(getattr(registry, table)))


FAMILY = {
    "__init__.py": "",
    "model.py": """
from dataclasses import dataclass

from zoo.encoder import Encoder, Frames


@dataclass(frozen=True)
class TopConfig:
    width: int = 4


class Top(Encoder):
    family = "peak"
    Config = TopConfig
    num_layers = 0

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.sample_rate, self.hop, self.min_samples, self.dim = 8_000, 80, 80, config.width

    def forward(self, waves, lengths, *, layer=-1, norm_stats=None):
        x = waves.unfold(1, 80, 80).abs().topk(self.dim).values  # (B, T, D)
        return Frames(x.expand(len(layer), *x.shape), lengths // 80, self.frame_rate)
""",
    "cards.py": """
from zoo.cards import ModelCard

ENCODER = "zoo.models.peak.model:Top"
CARDS = (ModelCard("peak-4", "peak", "largest samples"), ModelCard("peak-8", "peak", "more of them", {"width": 8}))
DEFAULT = "peak-8"
""",
}


@pytest.fixture
def family_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder outside the package with the family `peak`, as part of the package `zoo.models`."""
    folder = tmp_path / "families"
    (folder / "peak").mkdir(parents=True)
    for name, text in FAMILY.items():
        (folder / "peak" / name).write_text(text)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(folder)])
    yield folder
    for module in [name for name in sys.modules if name.startswith("zoo.models.peak")]:
        del sys.modules[module]
    vars(models).pop("peak", None)


def test_every_card_is_complete() -> None:
    for name in zoo.list_models():
        card = zoo.info(name)
        assert card.name == name
        assert card.summary and card.license and card.training_data
        assert card.paper or card.parameters == 0
        assert card.source is None or card.source == PACKAGED or card.source.startswith("hf:")


@pytest.mark.parametrize("name", [name for name in zoo.list_models() if zoo.info(name).source == PACKAGED])
def test_packaged_models_match_their_cards(name: str) -> None:
    model = zoo.load(name, device="cpu")
    expected = zoo.create(name).config
    assert (model.name, model.family, model.config) == (name, zoo.info(name).family, expected)
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


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
        ("ast", {"level": "x"}, "level 'x': give a number"),
        ("ast", {"level": math.nan}, "level nan: give a number"),
        ("ast", {"spread": math.inf}, "spread inf: give a finite number"),
        ("ast", {"spread": 0.0}, "spread 0: must be more than 0"),
        ("ast", {"sample_rate": 10}, "sample_rate 10: must be at least 1000"),
        ("hubert", {"heads": -1}, "heads -1: must be at least 1"),
        ("hubert", {"heads": 1.5}, "heads 1.5: give a whole number"),
        ("hubert", {"dropout": math.nan}, "dropout nan: give a number"),
        ("hubert", {"layerdrop": 2}, "layerdrop 2: must be at least 0 and at most 1"),
        ("hubert", {"units": 3}, "units 3: give a list"),
        ("hubert", {"units": (5, 0)}, "units 0: must be at least 1"),
        ("wavlm", {"ffn_dim": 0}, "ffn_dim 0: must be at least 1"),
        ("mulan", {"window_seconds": 10**7}, r"window_seconds 1e\+07: must be at least 0.1 and at most 3600"),
        ("mulan", {"resnet_stem_stride": 10**7}, "resnet_stem_stride .*at most 64"),
        ("mulan", {"resnet_stem_stride": math.inf}, "resnet_stem_stride inf: give a whole number"),
        ("mulan", {"mels": 1.5}, "mels 1.5: give a whole number"),
        ("clap", {"audio_heads": (4, 8, 16, -1)}, "audio_heads -1: must be at least 1"),
        ("clap", {"fused_seconds": 1e7}, "fused_seconds .*at most 3600"),
        ("clap", {"high_hz": 10.0}, "high_hz 10: must be more than 50"),
        ("whisper", {"decoder_heads": 0}, "decoder_heads 0: must be at least 1"),
        ("whisper", {"pad_positions": -1}, "pad_positions -1: must be at least 0"),
        ("wrapped", WRAPPED | {"hop": 0}, "hop 0: must be at least 1"),
        ("wrapped", WRAPPED | {"dim": 1.5}, "dim 1.5: give a whole number"),
        ("spectral", {"kind": "mfcc", "bands": 1.5}, "bands 1.5: give a whole number"),
        ("spectral", {"kind": "mfcc", "bands": 24}, "bands 24: must be at least 1 and at most 23"),
    ],
)
def test_configurations_are_refused_before_a_model_is_built(family: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        registry.encoder_class(family).Config(**config)


@pytest.mark.parametrize("function", [zoo.info, zoo.create, zoo.load])
def test_unknown_name_lists_similar_names(function: Callable[[str], object]) -> None:
    with pytest.raises(UnknownModelError, match="hubert-base"):
        function("hubert-bsae")
    with pytest.raises(
        UnknownModelError, match="`zoo list` shows all names; if it is yours: --import MODULE or ZOO_IM"
    ):
        function("qqqq")


@pytest.mark.parametrize(
    ("name", "similar"),
    [
        ("tiny.en", "whisper-tiny.en"),
        ("Base.EN", "whisper-base.en"),
        ("whisper-tin.en", "whisper-tiny.en"),
        ("HuBERT-Base", "hubert-base"),
        ("hubert-mini.pt", "hubert-mini"),
    ],
)
def test_similar_names_with_a_dot_and_in_capitals(name: str, similar: str) -> None:
    with pytest.raises(ZooError, match=f"{re.escape(similar)}[,?]"):
        zoo.load(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"layers": "6"}, "layers '6': give a whole number"), ({"units": 5}, "units 5: give a list")],
)
def test_create_names_options_of_the_wrong_type(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        zoo.create("hubert-mini", **options)


def test_create_names_unknown_options() -> None:
    with pytest.raises(ConfigError, match=r"'layer'.*layers"):
        zoo.create("hubert-base", layer=3)


def test_load_of_a_model_without_published_weights_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"zoo\.create\('hubert-fast'\)"):
        zoo.load("hubert-fast")


def test_load_of_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        zoo.load(str(tmp_path / "model.pt"))


def test_load_suggests_the_hub_for_owner_and_name() -> None:
    with pytest.raises(CheckpointError, match=r"no such file.*hf:facebook/hubert-base-ls960"):
        zoo.load("facebook/hubert-base-ls960")


def test_the_home_folder_is_expanded_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    zoo.load("logmel").save("~/models/mine")
    model = zoo.load("~/models/mine")
    soundfile.write(tmp_path / "a.wav", torch.zeros(16_000).numpy(), 16_000)
    assert model.embed("~/a.wav").shape == (80,) and "logmel" in read_card("~/models/mine")


def test_a_registered_name_has_priority_over_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hubert").mkdir()
    (tmp_path / "hubert" / "README.md").write_text("notes of mine")
    assert "notes of mine" not in read_card("hubert")
    (tmp_path / "hubert").rename("other")
    with pytest.raises(CheckpointError, match="other: not a checkpoint of zoo; `zoo convert other"):
        read_card("other")
    with pytest.raises(CheckpointError, match="zoo convert hf:owner/name"):
        read_card("hf:owner/name")
    small("hubert-base").save(tmp_path / "run" / "best")
    assert "# hubert-base" in read_card("run")


@pytest.mark.parametrize("read", [zoo.load, read_card])
def test_sources_that_are_none_are_explained(read: Callable[[str], object], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    reasons = {
        "./nosuch": "no such file or directory",
        "tiny.en": "did you mean whisper-tiny.en",
        "a/b": "write hf:a/b",
        "": "name of the model is empty",
        "a" * 5000: "cannot be looked up .File name too long",
        str(tmp_path / "config.json"): "give the directory|zoo convert",
    }
    for source, reason in reasons.items():
        with pytest.raises(CheckpointError, match=reason) as caught:
            read(source)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["logmel", "mfcc", "hubert-mini"])
def test_a_sample_rate_of_zero_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="sample_rate 0"):
        zoo.create(name, sample_rate=0)


def test_models_without_weights_can_be_loaded() -> None:
    assert zoo.load("mfcc").embed(torch.zeros(16_000), 16_000).shape == (39,)


def test_register_a_new_family(own_registry: None, tmp_path: Path) -> None:
    card = zoo.ModelCard("peak-4", "peak", "loudest samples")
    with pytest.raises(ConfigError, match="family 'peak' is unknown"):
        zoo.register(card)
    zoo.register(card, Peak)
    assert "peak-4" in zoo.list_models()
    assert "| license | - |" in read_card("peak-4") and "| parameters | - |" in read_card("peak-4")
    shown = CliRunner().invoke(app, ["info", "peak-4"]).stdout
    assert "MIT" not in shown and "0.0" not in shown
    model = zoo.create("peak-4", width=3)
    assert model.embed([torch.rand(900), torch.rand(400)], 8_000).shape == (2, 3)
    check_encoder(model)
    model.save(tmp_path / "peak")
    assert zoo.load(tmp_path / "peak").config == PeakConfig(width=3)
    with pytest.raises(ConfigError, match="registered already"):
        zoo.register(card, Peak)
    with pytest.raises(ConfigError, match="family 'peak'"):
        zoo.register(replace(card, name="other"), "somewhere:Else")
    zoo.register(replace(card, name="peak-5"), f"{__name__}:Peak")  # the same class, by its name
    with pytest.raises(ConfigError, match="'hubert' is short for hubert-mini"):
        zoo.register(replace(card, name="hubert"))


def test_discover_adds_a_family_from_a_folder(own_registry: None, family_folder: Path, tmp_path: Path) -> None:
    before = zoo.list_models()
    (family_folder / "notes").mkdir()  # a folder without cards.py is no family
    registry.discover([str(family_folder)])
    assert zoo.list_models() == [*before, "peak-4", "peak-8"]
    assert "zoo.models.peak.model" not in sys.modules, "the class is imported on first use"
    assert zoo.info("peak") is zoo.info("peak-8")
    model = zoo.create("peak")
    assert (model.name, model.dim) == ("peak", 8)
    clips = [torch.rand(900), torch.rand(400)]
    assert zoo.create("peak-4").embed(clips, 8_000).shape == (2, 4)
    expected = torch.stack([clip[: len(clip) // 80 * 80].view(-1, 80).topk(8).values.mean(0) for clip in clips])
    torch.testing.assert_close(model.embed(clips, 8_000), expected)
    model.save(tmp_path / "saved")
    assert type(zoo.load(tmp_path / "saved", device="cpu")) is type(model)


def test_discover_refuses_a_name_that_is_registered(own_registry: None, family_folder: Path) -> None:
    registry.discover([str(family_folder)])
    with pytest.raises(ConfigError, match=r"'peak-4'.*registered already"):
        registry.discover([str(family_folder)])


def test_the_registry_is_restored_after_these_tests() -> None:
    assert not zoo.list_models("peak*") and not registry.is_registered("peak")
    assert not [name for name in sys.modules if name.startswith("zoo.models.peak")]
    assert models.__path__ == [str(Path(zoo.__file__).parent / "models")]


def test_same_seed_same_model() -> None:
    fingerprints = []
    for _ in range(2):
        torch.manual_seed(5)
        fingerprints.append(zoo.create("hubert-base", layers=1, dim=32, heads=2, ffn_dim=32, conv_dim=16).fingerprint())
    assert fingerprints[0] == fingerprints[1]
    assert (
        fingerprints[0] != zoo.create("hubert-base", layers=1, dim=32, heads=2, ffn_dim=32, conv_dim=16).fingerprint()
    )


def test_importing_zoo_does_not_import_torch() -> None:
    heavy = "{'torch', 'numpy', 'transformers', 'pyarrow', 'soundfile', 'matplotlib', 'sklearn'}"
    code = f"import sys, zoo, zoo.cli.main; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == "[]"


def test_loading_the_packaged_models_imports_little_beside_torch() -> None:
    """After the import of torch, loading takes 0.1 s; each of these packages would take several times that."""
    heavy = "{'transformers', 'pyarrow', 'scipy', 'sklearn', 'matplotlib', 'accelerate', 'omegaconf', 'rich', 'sympy'}"
    code = f"import sys, zoo; [zoo.load(n) for n in ('hubert', 'mulan', 'whisper')]; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == "set()"


PLUGIN = """
import zoo
from zoo.models.spectral.model import Spectral

class Own(Spectral):
    family = "own"

zoo.register(zoo.ModelCard("own-mel", "own", "an encoder of another package"), encoder=Own)
"""


def test_models_of_other_packages_are_found_by_every_command(tmp_path: Path) -> None:
    (tmp_path / "ownzoo.py").write_text(PLUGIN)
    info = tmp_path / "ownzoo-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ownzoo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zoo.models]\nown = ownzoo\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-m", "zoo", "list", "own*", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert '"name": "own-mel"' in done.stdout, done.stderr


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_module_can_be_imported_for_one_command(tmp_path: Path, how: str) -> None:
    (tmp_path / "ownzoo.py").write_text(PLUGIN)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    if how == "variable":
        environment["ZOO_IMPORT"] = "ownzoo"
    options = ["--import", "ownzoo"] if how == "option" else []
    command = [sys.executable, "-m", "zoo", *options, "info", "own-mel"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "an encoder of another package" in done.stdout, done.stderr
    environment["ZOO_IMPORT"] = "nosuchmodule"
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == (0 if how == "option" else 1) or "nosuchmodule" in done.stderr


def test_a_run_folder_is_loaded_as_its_model(tmp_path: Path) -> None:
    model = zoo.create("mfcc")
    for name in ("model", "best"):
        model.save(tmp_path / name / name)
        assert zoo.load(tmp_path / name).fingerprint() == model.fingerprint()


def test_a_path_that_is_not_there_is_no_name() -> None:
    with pytest.raises(CheckpointError, match=r"\./nosuch: no such file or directory"):
        zoo.load("./nosuch")
