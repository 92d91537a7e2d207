"""HuBERT pre-training: masks, loss, checks of targets, presets, and the whole run on a tiny corpus."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from no_waiting import step_without_waiting
from small import SMALL, noise, small

import zoo
from zoo import config as configuration
from zoo.data import manifest
from zoo.data.dataset import Batch, LoadedClip
from zoo.data.loader import DataConfig, split_loader
from zoo.data.manifest import Entry
from zoo.data.sampler import Cursor
from zoo.errors import ConfigError, TrainingError
from zoo.models.hubert.model import HuBERT, HubertConfig
from zoo.recipes.hubert.checks import check_targets
from zoo.recipes.hubert.config import FeatureKind, HubertAugmentConfig, HubertTrainConfig, LossConfig, MaskConfig, Round
from zoo.recipes.hubert.masking import span_mask
from zoo.recipes.hubert.run import train
from zoo.recipes.hubert.task import Labeled, Pretrain, UnitBatch
from zoo.recipes.hubert.units import Corpus, best_layer
from zoo.recipes.shapes import round_up
from zoo.train.health import effective_rank
from zoo.units import Labels

PRESETS = sorted((Path(zoo.recipes.hubert.__file__).parent / "presets").glob("*.yaml"))
TINY = {
    **SMALL["hubert"],
    "frontend": "logmel",
    "layers": 2,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "layerdrop": 0.0,
}


@given(st.integers(2, 400), st.integers(0, 2**62), st.sampled_from([0.0, 0.04, 0.08, 0.2]), st.sampled_from([1, 5, 10]))
@settings(max_examples=200, deadline=None)
def test_masks_have_spans_and_leave_frames_unmasked(frames: int, seed: int, mask_prob: float, length: int) -> None:
    config = MaskConfig(mask_prob=mask_prob, length=length)
    mask = span_mask(frames, seed, config)
    assert mask.shape == (frames,) and mask.any()
    assert torch.equal(mask, span_mask(frames, seed, config)), "a function of the seed"
    edges = torch.diff(F.pad(mask.long(), (1, 1)))
    runs = (edges == -1).nonzero()[:, 0] - (edges == 1).nonzero()[:, 0]
    assert runs.min() >= min(length, frames - 1)
    if frames > 3 * length and mask_prob < 0.2:
        assert not mask.all()


def test_share_of_masked_frames_is_that_of_the_paper() -> None:
    """8 % of frames start a span of 10, and spans may overlap: 1 - (1 - 0.08)^10 = 0.57, less at the edges."""
    share = torch.stack([span_mask(700, seed, MaskConfig()) for seed in range(200)]).float().mean()
    assert 0.53 < share < 0.58


def make_batch(model: HuBERT, clips: int = 3, seconds: float = 1.5) -> UnitBatch:
    entries = [Entry(Path(f"{i}.wav"), seconds, "train") for i in range(clips)]
    items = [LoadedClip(noise(seconds - 0.2 * i, i), i, entries[i], 0, i) for i in range(clips)]
    plain = Batch.of(items)
    counts = [model.count_frames(int(n)) for n in plain.lengths]
    generator = torch.Generator().manual_seed(1)
    targets = torch.stack(
        [torch.randint(0, size, (clips, max(counts)), generator=generator) for size in model.config.units], dim=-1
    )
    masked = torch.zeros(clips, max(counts), dtype=torch.bool)
    for row, count in zip(masked, counts, strict=True):
        row[:count] = span_mask(count, count, MaskConfig())
    return UnitBatch(**vars(plain), targets=targets, masked=masked)


def model_of(**overrides: object) -> HuBERT:
    torch.manual_seed(0)
    model = zoo.create("hubert-base", **TINY | {"units": (7, 5)} | overrides)
    assert isinstance(model, HuBERT)
    return model


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_no_step_waits_for_a_gpu(alpha: float) -> None:
    model = model_of()
    step_without_waiting(Pretrain(model, LossConfig(alpha=alpha, feature_penalty=10.0)), make_batch(model))


@pytest.mark.parametrize("head", ["cosine", "linear"])
@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
def test_loss_is_the_weighted_sum_over_frames(alpha: float, head: str) -> None:
    model = model_of(unit_head=head)
    batch = make_batch(model)
    task = Pretrain(model, LossConfig(alpha=alpha, feature_penalty=0.3)).train()
    output = task(batch)
    frames = model.forward(batch.waves, batch.lengths, masked=batch.masked)
    features = model.frontend(batch.waves, batch.lengths)
    expected, expected_count = 0.0, 0.0
    for b, count in enumerate(frames.lengths.tolist()):
        for t in range(count):
            weight = alpha if batch.masked[b, t] else 1 - alpha
            expected_count += weight
            for logits, target in zip(model.head(frames.x[b, t]), batch.targets[b, t], strict=True):
                expected -= weight * float(logits.detach().double().log_softmax(-1)[target])
    expected += 0.3 * float(features.detach()[frames.mask].double().square().mean()) * expected_count
    assert float(output.loss.detach()) == pytest.approx(expected, rel=1e-4)
    assert float(output.count) == pytest.approx(expected_count)
    assert task.chance() == pytest.approx(math.log(7) + math.log(5))


def test_only_the_frontend_gradient_is_scaled() -> None:
    grads = []
    for scale in (1.0, 0.1):
        model = model_of()
        Pretrain(model, LossConfig(frontend_gradient=scale)).train()(make_batch(model)).loss.backward()
        grads.append((model.frontend.conv_in.weight.grad, model.projection.linear.weight.grad))
    torch.testing.assert_close(grads[1][0], grads[0][0] * 0.1, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(grads[1][1], grads[0][1])


def test_loss_of_a_clip_does_not_depend_on_its_batch() -> None:
    model = model_of()
    task = Pretrain(model, LossConfig(alpha=0.5)).train()
    batch = make_batch(model)
    single = sum(float(task(batch.only(i)).loss.detach()) for i in range(3))
    assert float(task(batch).loss.detach()) == pytest.approx(single, rel=1e-5)


def test_a_process_without_dev_batches_validates_too() -> None:
    """There may be fewer dev batches than processes."""
    assert "effective_rank" not in Pretrain(model_of(), LossConfig()).eval().validate([])


def test_batches_have_few_shapes() -> None:
    rounded = {count: round_up(count, torch.device("cpu")) for count in range(1, 1001)}
    assert all(count <= up <= max(count + 1, count * 9 / 8) for count, up in rounded.items())
    assert len({up for count, up in rounded.items() if count > 15}) < 55
    assert [round_up(count, torch.device("cuda")) for count in (1, 8, 780)] == [8, 8, 784]


def test_effective_rank() -> None:
    torch.manual_seed(0)
    assert effective_rank(torch.randn(500, 1) @ torch.randn(1, 20)) == pytest.approx(1, abs=0.01)
    assert 18 < effective_rank(torch.randn(5000, 20)) <= 20


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_valid_and_states_its_cost(preset: Path) -> None:
    opening = preset.read_text().splitlines()[:5]
    for word in ("command:", "time:", "result:"):
        assert any(line.startswith(f"# {word}") for line in opening), f"{preset} opens with {word}"
    config = configuration.load(HubertTrainConfig, [preset])
    model = replace(config.model, units=tuple(config.rounds[0].units))
    with torch.device("meta"):
        zoo.registry.build("hubert", vars(model))


@pytest.mark.parametrize("name", ["base", "large", "xlarge", "fast"])
def test_published_presets_have_no_options_of_the_mini(name: str) -> None:
    """The mini uses augmentation, a loss on all frames, and centered layers."""
    config = configuration.load(HubertTrainConfig, [PRESETS[0].parent / f"{name}.yaml"])
    assert config.augment == HubertAugmentConfig() and config.loss.alpha == 1
    assert not any(round_config.centered for round_config in config.rounds)


def test_the_first_round_needs_features() -> None:
    with pytest.raises(ConfigError, match="rounds"):
        HubertTrainConfig(rounds=[Round(FeatureKind.layer)])


def labels(units: list[list[int]], sizes: int, quantizer: str = "q", rate: float = 50.0) -> Labels:
    parts = torch.tensor([u for clip in units for u in clip], dtype=torch.int16)[:, None]
    lengths = torch.tensor([len(clip) for clip in units])
    offsets = torch.stack([torch.zeros_like(lengths), lengths.cumsum(0) - lengths], dim=1)
    return Labels(Path("labels"), rate, 0.0125, (sizes,), quantizer, {}, lengths, (parts,), offsets)


def test_unsuitable_targets_are_refused() -> None:
    entries = [Entry(Path(f"{i}.wav"), 2.0, "train") for i in range(4)]
    good = labels([list(range(99)), list(range(99)), list(range(99)), list(range(99))], 100)
    check_targets(good, good, entries, entries)
    other = labels([list(range(99))] * 4, 100, quantizer="another")
    constant = labels([[3] * 99] * 4, 100)
    twice = labels([list(range(99)) * 2] * 4, 100)
    missing = labels([list(range(99)), list(range(99)), [], []], 100)
    unseen = labels([[99] * 99] * 4, 100)
    for train_labels, dev_labels, message in (
        (good, other, "labeled by quantizer"),
        (constant, constant, "uses 1.0 of 100 units"),
        (twice, good, "but the durations give"),
        (missing, good, "2 of 4 clips have no units"),
        (good, unseen, "units of codebook 0 that never occur"),
    ):
        with pytest.raises(TrainingError, match=message):
            check_targets(train_labels, dev_labels, entries, entries)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 clips of the tiny speech corpus, 32 to train on."""
    entries = manifest.read(zoo.corpora.build("speech", "tiny", workers=1, progress=False))
    chosen = [e for e in entries if e.split == "train"][:32] + [e for e in entries if e.split == "dev"][:8]
    path = tmp_path_factory.mktemp("corpus") / "manifest.jsonl"
    manifest.write(path, chosen)
    return path


def tiny_config(corpus: Path, out: Path) -> HubertTrainConfig:
    config = HubertTrainConfig(out=str(out), final_units=12, model=HubertConfig(**{**vars(HubertConfig()), **TINY}))
    config.rounds = [Round(FeatureKind.mfcc, units=[16, 8]), Round(FeatureKind.layer, units=[20], centered=True)]
    config.data = replace(config.data, sources=str(corpus), batch_seconds=20.0)
    config.train = replace(config.train, steps=6, log_every=2, validate_every=3, save_every=2)
    return config


def test_a_whole_run_gives_a_model_with_units_and_a_rerun_only_reads(corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(corpus, tmp_path / "run")
    directory = train(config)
    model = zoo.load(directory)
    assert isinstance(model, HuBERT) and model.name == "hubert-run" and model.quantizer.sizes == (12,)
    units = model.units(noise(2), 16_000)
    assert units.shape == (model.count_frames(32_000),) and units.max() < 12
    assert model.provenance["round"] == 2 and model.provenance["units"].endswith(", centered")
    layers = json.loads((tmp_path / "run" / "round-2" / "units" / "layers.json").read_text())
    assert set(layers["pnmi"]) == {"1", "2"} and all(0 < pnmi < 1 for pnmi in layers["pnmi"].values())
    lines = [json.loads(line) for line in (tmp_path / "run/round-2/run/metrics.jsonl").read_text().splitlines()]
    dev = [line for line in lines if line["split"] == "dev"]
    assert [line["step"] for line in dev] == [3, 6]
    for name in ("loss", "bits", "chance", "masked_accuracy", "unmasked_accuracy", "pnmi", "effective_rank"):
        assert math.isfinite(dev[-1][name]), name
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("part-*.safetensors")}
    weights = (directory / "model.safetensors").read_bytes()
    train(config)
    assert (directory / "model.safetensors").read_bytes() == weights
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(ConfigError, match="alpha"):
        train(replace(config, loss=LossConfig(alpha=0.25)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"rounds": [Round(FeatureKind.mfcc), Round(layer=3)], "final_layer": 2},
            "number 2: layer 3: .* layers 0 to 2",
        ),
        ({"rounds": [Round(FeatureKind.mfcc), Round(layer=2)], "final_layer": -4}, "final_layer -4: .* layers 0 to 2"),
    ],
)
def test_missing_layers_are_reported_before_the_first_round(
    corpus: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = replace(tiny_config(corpus, tmp_path / "run"), **changes)
    with pytest.raises(ConfigError, match=message):
        train(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_without_phones_the_middle_layer_is_used(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of recordings, for example, has no phones."""
    manifest.write(tmp_path / "plain.jsonl", [replace(entry, phones=[]) for entry in manifest.read(corpus)])
    model = zoo.load(train(tiny_config(tmp_path / "plain.jsonl", tmp_path / "run")))
    assert isinstance(model, HuBERT) and model.quantizer is not None and model.quantizer.layer == 1
    assert capsys.readouterr().err.count("units of layer 1, the middle one: ") == 2


@pytest.mark.slow
def test_a_round_can_be_added_to_a_finished_run(corpus: Path, tmp_path: Path) -> None:
    """Its layers are searched, and its units are those of the final model."""
    config = tiny_config(corpus, tmp_path / "run")
    config.rounds = config.rounds[:1]
    first = zoo.load(train(config)).provenance
    config.rounds = [*config.rounds, Round(FeatureKind.layer, units=[20])]
    model = zoo.load(train(config))
    assert (first["round"], model.provenance["round"]) == (1, 2)
    assert model.units(noise(1), 16_000).max() < 12


def test_layers_are_searched_again_for_another_encoder(corpus: Path, tmp_path: Path) -> None:
    entries = manifest.read(corpus)
    clips = Corpus(*([entry for entry in entries if entry.split == split] for split in ("train", "dev")))
    encoders = [zoo.create("hubert-mini", **TINY).eval() for _ in range(2)]
    recorded = []
    for encoder in (*encoders, encoders[1]):
        assert best_layer(encoder, clips, tmp_path, 10, seed=0) in (1, 2)
        recorded.append(json.loads((tmp_path / "layers.json").read_text())["settings"]["encoder"])
    assert recorded == [encoders[0].fingerprint(), encoders[1].fingerprint(), encoders[1].fingerprint()]


def test_a_clip_without_units_is_skipped_like_an_unreadable_one(tmp_path: Path) -> None:
    """A damaged file, or a disk error during labeling, must not end days of training."""
    entries = [Entry(tmp_path / f"{i}.wav", 1.0 + i / 10, "train") for i in range(4)]
    for i, entry in enumerate(entries):
        soundfile.write(entry.audio, noise(entry.duration, i).numpy(), 16_000)
    incomplete = labels([list(range(99)), list(range(99)), [], list(range(99))], 100)
    kind = partial(Labeled, labels=incomplete)
    loader = split_loader(DataConfig(batch_seconds=3.0), entries, "train", 16_000, kind=kind)
    steps = loader.steps(Cursor(), 1)
    used = [index for _ in range(8) for batch in next(steps).batches for index in batch.indices.tolist()]
    assert set(used) == {0, 1, 3}
    assert list(loader.skipped.reasons.values()) == [f"{entries[2].audio}: has no units in labels: too short"]


@pytest.mark.slow
def test_ten_utterances_are_memorized(corpus: Path, tmp_path: Path) -> None:
    """Masked accuracy > 95 % on the training clips."""
    entries = [replace(e, split=split) for split in ("train", "dev") for e in manifest.read(corpus)[:10]]
    manifest.write(tmp_path / "ten.jsonl", entries)
    config = HubertTrainConfig(out=str(tmp_path / "run"), final_units=0, rounds=[Round(FeatureKind.mfcc, units=[50])])
    config.augment = HubertAugmentConfig()
    config.data = replace(config.data, sources=str(tmp_path / "ten.jsonl"))
    config.train = replace(config.train, steps=700, validate_every=100, learning_rate=1.5e-3)
    train(config)
    lines = [json.loads(line) for line in (tmp_path / "run/round-1/run/metrics.jsonl").read_text().splitlines()]
    assert max(line["masked_accuracy"] for line in lines) > 0.95


@pytest.mark.slow
def test_any_encoder_can_make_the_units_of_the_first_round(corpus: Path, tmp_path: Path) -> None:
    encoder = small("whisper-tiny.en")
    encoder.save(tmp_path / "encoder")
    config = tiny_config(corpus, tmp_path / "run")
    config.target_encoder, config.target_encoder_padding = str(tmp_path / "encoder"), "none"
    config.rounds, config.final_layer = [Round(FeatureKind.layer, layer=1, units=[16])], 2
    config.augment = HubertAugmentConfig(speed=0.1, speech=0.3, noise=0.3)
    model = zoo.load(train(config))
    assert isinstance(model, HuBERT) and model.quantizer.layer == 2
    assert model.provenance["units"].endswith("layer 1") and "whisper" in model.provenance["units"]
    with pytest.raises(ConfigError, match="target_encoder_padding"):
        train(replace(config, target_encoder=str(tmp_path / "run" / "model"), out=str(tmp_path / "other")))


@pytest.mark.slow
def test_pretraining_starts_from_a_model(corpus: Path, tmp_path: Path) -> None:
    first = small("hubert-base")
    first.save(tmp_path / "first")
    config = tiny_config(corpus, tmp_path / "run")
    config.init, config.rounds, config.final_units = (
        str(tmp_path / "first"),
        [Round(FeatureKind.mfcc, units=[16, 8])],
        0,
    )
    config.train = replace(config.train, learning_rate=1e-12)
    model = zoo.load(train(config))
    assert isinstance(model, HuBERT) and model.config == replace(first.config, units=(16, 8)), (
        "the configuration of init"
    )
    for name, value in first.state_dict().items():
        if not name.startswith("head."):
            assert torch.allclose(model.state_dict()[name], value, atol=1e-6), name
    with pytest.raises(ConfigError, match="init"):
        train(replace(config, init=None, model=replace(first.config, units=())))
    with pytest.raises(ConfigError, match="give a HuBERT"):
        small("whisper-tiny.en").save(tmp_path / "whisper")
        train(replace(config, init=str(tmp_path / "whisper")))
