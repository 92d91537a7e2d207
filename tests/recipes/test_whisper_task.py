"""The losses of Whisper training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from importers.foreign_whisper import saved, whisper
from no_waiting import step_without_waiting
from spoken_tones import WORDS
from tiny_whisper import batch_for, fresh

import zoo
import zoo.text.transcript
from zoo.errors import ConfigError
from zoo.models.whisper.model import Whisper
from zoo.recipes.whisper.config import (
    DistilConfig,
    WhisperTuneConfig,
)
from zoo.recipes.whisper.data import IGNORED
from zoo.recipes.whisper.model import freeze_layers, student_of, teacher_of
from zoo.recipes.whisper.task import Transcribe, divergence_from


def test_loss_is_that_of_transformers(tmp_path: Path) -> None:
    """Windows of different lengths, one with times and a context: the mean loss over targets, and its gradients."""
    theirs = whisper(languages=3)
    ours = zoo.load(saved(theirs, tmp_path / "hf"), device="cpu")
    assert isinstance(ours, Whisper) and ours.padding == "30s"
    batch = batch_for(ours)
    output = Transcribe(ours.train(), WhisperTuneConfig())(batch)
    assert float(output.count) == (batch.targets != IGNORED).sum() > 20
    expected = theirs.train()(
        input_features=batch.mel.transpose(1, 2), decoder_input_ids=batch.tokens, labels=batch.targets
    ).loss
    assert float(output.loss.detach() / output.count) == pytest.approx(float(expected.detach()), abs=1e-5)
    (output.loss / output.count).backward()
    expected.backward()
    pairs = {
        "decoder.tokens.weight": theirs.model.decoder.embed_tokens.weight,
        "encoder.conv_in.weight": theirs.model.encoder.conv1.weight,
        "decoder.blocks.1.cross.query.weight": theirs.model.decoder.layers[1].encoder_attn.q_proj.weight,
    }
    own = dict(ours.named_parameters())
    for name, parameter in pairs.items():
        torch.testing.assert_close(own[name].grad, parameter.grad, rtol=1e-3, atol=1e-6)


def test_loss_of_a_window_does_not_depend_on_its_batch() -> None:
    model = fresh()
    task = Transcribe(model, WhisperTuneConfig(ctc=0.3)).train()
    batch = batch_for(model)
    whole = task(batch)
    alone = [task(batch.only(b)) for b in range(3)]
    assert float(whole.loss.detach()) == pytest.approx(sum(float(o.loss.detach()) for o in alone), rel=1e-5)
    assert float(whole.count) == sum(float(o.count) for o in alone)
    assert whole.logs["ctc"][0] > 0
    assert "ctc" not in task.eval()(batch).logs, "the CTC loss belongs to training"


def test_ctc_is_of_the_text_alone_and_ends() -> None:
    model = fresh()
    task = Transcribe(model, WhisperTuneConfig(ctc=0.5, aux_loss_steps=1)).train()
    batch = batch_for(model)
    output = task(batch)
    states = task.encode(batch)
    log_probs = task.ctc(states.x).log_softmax(-1)
    expected = 0.0
    for b, word in enumerate(WORDS[:3]):
        targets, length = torch.tensor([list(word.encode())]), states.lengths[b : b + 1]
        expected += F.ctc_loss(
            log_probs[b][:, None], targets, length, torch.tensor([len(word)]), blank=256, reduction="sum"
        )
    assert float(output.logs["ctc"][0]) == pytest.approx(float(expected.detach()), rel=1e-4)
    task.step = 1
    assert "ctc" not in task(batch).logs


def test_no_step_waits_for_a_gpu() -> None:
    model = fresh()
    batch = batch_for(model)
    step_without_waiting(Transcribe(model, WhisperTuneConfig(ctc=0.5, guided_attention_weight=2.0)), batch)


def test_attention_is_guided_along_the_diagonal() -> None:
    model = fresh()
    task = Transcribe(model, WhisperTuneConfig(guided_attention_weight=2.0)).train()
    batch = batch_for(model)
    output, plain = task(batch), Transcribe(model, WhisperTuneConfig()).train()(batch)
    guided = output.logs["guided_attention"][0]
    assert float(output.loss.detach()) == pytest.approx(float(plain.loss.detach()) + 2 * float(guided), rel=1e-5)
    heads, (rows, size), times = 2, batch.tokens.shape, int(batch.positions.max())
    is_text = (batch.targets != IGNORED) & (batch.targets < model.tokenizer.eot)
    ideal = torch.full((rows, heads, size, times), -50.0)
    for b in range(rows):
        columns = is_text[b].nonzero()[:, 0].tolist()
        for i, u in enumerate(columns):
            ideal[b, :, u, int((i + 0.5) / len(columns) * int(batch.lengths[b]) / 320)] = 50.0
    assert float(task.guided_attention_loss(ideal, batch)) < 0.02 * int(is_text.sum())
    assert float(task.guided_attention_loss(ideal.flip(-1), batch)) > 0.2 * int(is_text.sum())
    uniform = float(task.guided_attention_loss(torch.zeros_like(ideal), batch))
    assert 0.2 * int(is_text.sum()) < uniform < int(is_text.sum())


def test_distillation_is_the_sum_of_two_losses() -> None:
    model = fresh(decoder_layers=3)
    teacher = teacher_of(model)
    student = student_of(model, 2)
    for ours, theirs in ((0, 0), (1, 2)):
        assert torch.equal(student.decoder.blocks[ours].ffn.up.weight, model.decoder.blocks[theirs].ffn.up.weight)
    assert len(model.decoder.blocks) == 3
    freeze_layers(student, WhisperTuneConfig(freeze_encoder=-1))
    config = DistilConfig(2, kl=0.7, pseudo=0.9, temperature=2.0)
    task = Transcribe(student, WhisperTuneConfig(), teacher=teacher, distil=config).train()
    batch = batch_for(student)
    output = task(batch)
    plain = Transcribe(student, WhisperTuneConfig())(batch).loss.detach()
    assert float(output.loss.detach()) == pytest.approx(
        0.9 * float(plain) + 0.7 * float(output.logs["kl"][0]), rel=1e-5
    )
    assert not any(p.requires_grad for p in teacher.parameters())
    logits, other = torch.randn(5, 7), torch.randn(5, 7)
    p = (other / 2).softmax(-1)
    by_hand = 4 * (p * (p.log() - (logits / 2).log_softmax(-1))).sum()
    torch.testing.assert_close(divergence_from(other, logits, 2.0), by_hand)
    assert float(divergence_from(other, other)) == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(ConfigError, match=r"distil.decoder_layers 4: the teacher has 3"):
        student_of(model, 4)
