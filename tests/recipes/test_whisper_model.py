"""Which parts of a Whisper are trained, and the model at the start of training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import noise, small
from tiny_whisper import batch_for, fresh

import zoo
import zoo.text.transcript
from zoo.errors import CheckpointError, ConfigError
from zoo.recipes.whisper.config import (
    LoraConfig,
    WhisperTuneConfig,
)
from zoo.recipes.whisper.data import SpeechBatch
from zoo.recipes.whisper.lora import LoraLinear, add_lora, without_lora
from zoo.recipes.whisper.model import freeze_layers, loaded
from zoo.recipes.whisper.task import Transcribe


def trained(task: Transcribe, batch: SpeechBatch) -> set[str]:
    task.train().zero_grad()
    task(batch).loss.backward()
    return {name for name, p in task.model.named_parameters() if p.grad is not None and p.grad.any()}


def test_frozen_parts_are_not_trained() -> None:
    model = fresh(encoder_layers=2, decoder_layers=2)
    batch = batch_for(model)
    everything = trained(Transcribe(model, WhisperTuneConfig()), batch)
    silent = {name for name, _ in model.named_parameters()} - everything
    assert all(name == "decoder.positions" or name.endswith("kv.bias") for name in silent)
    for tune, prefixes in (
        (WhisperTuneConfig(freeze_encoder=-1), ("encoder.",)),
        (WhisperTuneConfig(freeze_encoder=1), ("encoder.conv", "encoder.transformer.blocks.0.")),
        (WhisperTuneConfig(freeze_decoder=1), ("decoder.tokens", "decoder.positions", "decoder.blocks.0.")),
    ):
        part = fresh(encoder_layers=2, decoder_layers=2)
        freeze_layers(part, tune)
        left = {name for name in everything if not name.startswith(prefixes)}
        assert trained(Transcribe(part, tune), batch) == left
    with pytest.raises(ConfigError, match="freeze_encoder 3: the encoder has 2 blocks"):
        freeze_layers(model, WhisperTuneConfig(freeze_encoder=3))
    with pytest.raises(ConfigError, match="leave out freeze_encoder"):
        freeze_layers(model, WhisperTuneConfig(freeze_encoder=1, lora=LoraConfig(rank=2)))


def test_stochastic_depth_leaves_blocks_out_in_training_only() -> None:
    model = fresh(encoder_layers=2, decoder_layers=2)
    batch = batch_for(model)
    whole = float(Transcribe(model, WhisperTuneConfig()).eval()(batch).loss.detach())
    freeze_layers(model, WhisperTuneConfig(layerdrop=0.5))
    task = Transcribe(model, WhisperTuneConfig())
    losses = set()
    for seed in range(12):
        batch.seed = seed
        losses.add(round(float(task.train().run(batch).loss.detach()), 3))
    assert len(losses) > 3
    assert float(task.eval()(batch).loss.detach()) == pytest.approx(whole, rel=1e-6)


def test_low_rank_updates() -> None:
    model, config = fresh(), LoraConfig(rank=4, alpha=8.0, modules=["attention.qkv", "cross.kv", "ffn.up"])
    batch = batch_for(model)
    before = Transcribe(model, WhisperTuneConfig()).eval()(batch).loss.detach()
    names = set(model.state_dict())
    add_lora(model, config)
    task = Transcribe(model, WhisperTuneConfig())
    assert torch.equal(task.eval()(batch).loss.detach(), before), "an update is zero at first"
    parameters = [name for name, p in model.named_parameters() if p.requires_grad]
    assert parameters and all(name.endswith(("lora_a", "lora_b")) for name in parameters)
    assert sum(isinstance(m, LoraLinear) for m in model.modules()) == 2 + 1 + 2
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("lora_b"):
                parameter.normal_()
    plain = without_lora(model)
    assert set(plain.state_dict()) == names and without_lora(plain) is plain
    changed = task(batch).loss.detach()
    assert not torch.isclose(changed, before)
    torch.testing.assert_close(Transcribe(plain, WhisperTuneConfig()).eval()(batch).loss.detach(), changed)
    with pytest.raises(ConfigError, match=r"no layer ends in cross.key; there are .*cross.kv"):
        add_lora(fresh(), LoraConfig(rank=2, modules=["cross.key"]))


@pytest.mark.parametrize("name", ["hubert-base", "mulan-ast", "whisper-tiny"])
def test_low_rank_updates_of_any_model_are_merged(name: str, tmp_path: Path) -> None:
    model = small(name)
    add_lora(model, LoraConfig(rank=2, modules=["attention.qkv", "ffn.up"]))
    for key, weight in model.named_parameters():
        if key.endswith("lora_b"):
            torch.nn.init.normal_(weight, std=0.1)
    wave = noise(1.0)
    adapted = model.embed(wave, 16_000)
    with pytest.raises(CheckpointError, match=rf"{name} cannot be saved: .*lora_a.*Merge adapters first"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
    plain = without_lora(model)
    assert type(plain) is type(model) and plain.name == name
    torch.testing.assert_close(plain.embed(wave, 16_000), adapted, atol=1e-4, rtol=1e-4)
    plain.save(tmp_path / "model")
    assert torch.equal(zoo.load(tmp_path / "model").embed(wave, 16_000), plain.embed(wave, 16_000))
    assert all(weight.requires_grad for weight in plain.parameters())


def test_models_that_training_cannot_start_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"init '.*none': no such model"):
        loaded(str(tmp_path / "none"))
    zoo.create("logmel").save(tmp_path / "spectral")
    with pytest.raises(ConfigError, match="is a spectral"):
        loaded(str(tmp_path / "spectral"))
    model = fresh()
    model.tokenizer = None
    model.save(tmp_path / "no-tokenizer")
    with pytest.raises(ConfigError, match="has no tokenizer"):
        loaded(str(tmp_path / "no-tokenizer"))


def test_initial_weights_are_as_published() -> None:
    model = fresh(dim=256)
    for name, weight in model.state_dict().items():
        if weight.ndim > 1 and not name.endswith("positions"):
            assert float(weight.std()) == pytest.approx(weight[0].numel() ** -0.5, rel=0.1), name
        elif name.endswith("bias"):
            assert not weight.any()
    assert float(model.decoder.positions.detach().std()) == pytest.approx(0.01, rel=0.1)
