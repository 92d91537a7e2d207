"""The task of CTC fine-tuning: usable clips, freezing, losses, masks, and heads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from no_waiting import step_without_waiting
from small import noise
from tiny_hubert import NO_MASKS, WORDS, fresh

from zoo.data.dataset import LoadedClip
from zoo.data.loader import DataConfig
from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.models.ctc import Alphabet
from zoo.recipes.hubert import ctc_data
from zoo.recipes.hubert.config import HubertAugmentConfig, MaskConfig
from zoo.recipes.hubert.ctc_config import CtcTuneConfig
from zoo.recipes.hubert.ctc_model import with_head
from zoo.recipes.hubert.ctc_task import CtcTask, frames_needed


def task_and_batch(tune: CtcTuneConfig = NO_MASKS, clips: int = 3) -> tuple[CtcTask, ctc_data.TextBatch]:
    alphabet = Alphabet.of(WORDS)
    torch.manual_seed(0)
    model = with_head(fresh(), alphabet.symbols, tune)
    entries = [Entry(Path(f"{i}.wav"), 1.0, "train", text=WORDS[i]) for i in range(clips)]
    items = [LoadedClip(noise(1.2 - 0.2 * i, seed=i), i, entries[i], 0, 100 + i) for i in range(clips)]
    return CtcTask(model, tune), ctc_data.CtcCollate(model, alphabet, tune, HubertAugmentConfig())(items)


def test_the_head_is_trained_first_and_the_front_end_never() -> None:
    task, batch = task_and_batch(replace(NO_MASKS, freeze_steps=1))
    task.train()
    trained = []
    for step in range(2):
        task.step = step
        task.zero_grad()
        task.accumulate([batch], lambda output: output.loss.backward())
        trained.append({name for name, p in task.model.named_parameters() if p.grad is not None and p.grad.any()})
    assert trained[0] == {"ctc.weight", "ctc.bias"}
    assert {"ctc.weight", "transformer.blocks.0.ffn.up.weight", "projection.linear.weight"} < trained[1]
    assert not any(name.startswith("frontend.") for name in trained[1])
    open_task, batch = task_and_batch(replace(NO_MASKS, train_frontend=True))
    open_task(batch).loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in open_task.model.frontend.parameters())


def test_no_step_waits_for_a_gpu() -> None:
    step_without_waiting(*task_and_batch(replace(NO_MASKS, freeze_steps=1)))


def test_loss_of_a_clip_does_not_depend_on_its_batch() -> None:
    task, batch = task_and_batch(CtcTuneConfig(freeze_steps=0, dropout=0.0, activation_dropout=0.0), clips=3)
    task.train()
    whole = task(batch)
    single = [task(batch.only(b)) for b in range(3)]
    assert float(whole.loss.detach()) == pytest.approx(sum(float(o.loss.detach()) for o in single), rel=1e-5)
    assert float(whole.count) == sum(float(o.count) for o in single) == sum(len(text) for text in WORDS[:3])


def test_masks_come_from_the_seeds_of_the_items() -> None:
    tune = CtcTuneConfig(time_mask=MaskConfig(0.1, 5, 1), channel_mask=MaskConfig(0.05, 8, 1))
    (_, first), (_, again) = task_and_batch(tune), task_and_batch(tune)
    assert torch.equal(first.masked, again.masked) and torch.equal(first.masked_channels, again.masked_channels)
    assert first.masked.any() and first.masked_channels.any() and not first.masked_channels.all()
    assert not torch.equal(first.masked_channels[0], first.masked_channels[1])
    task, _ = task_and_batch(tune)
    task.train()
    masked = float(task(first).loss.detach())
    task.eval()
    assert float(task(first).loss.detach()) != masked, "masks are used in training only"


def test_masked_channels_are_zero_in_all_frames() -> None:
    task, batch = task_and_batch()
    model = task.model.eval()
    channels = torch.zeros(3, model.dim, dtype=torch.bool)
    channels[:, 5:9] = True
    inputs: list[torch.Tensor] = []
    model.position.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    model.contextualize(model.frontend(batch.waves, batch.lengths), batch.lengths, masked_channels=channels)
    assert not inputs[0][..., 5:9].any() and inputs[0][0, :, 9:].any()


def test_text_longer_than_the_clip_has_no_loss() -> None:
    task, batch = task_and_batch()
    batch.labels = torch.full((3, 90), 2)
    batch.label_lengths = torch.tensor([90, 90, 90])
    output = task.train()(batch)
    output.loss.backward()
    assert float(output.loss.detach()) == 0.0
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in task.parameters())


def test_a_clip_without_a_loss_does_not_count() -> None:
    task, batch = task_and_batch()
    single = [task.eval()(batch.only(b)).loss.detach() for b in range(3)]
    batch.labels = torch.cat([batch.labels, torch.full((3, 80), 2)], dim=1)
    batch.label_lengths[1] = 60
    batch.labels[1, :60] = 2  # with blanks between equal labels, it needs 119 frames
    output = task(batch)
    assert float(output.count) == len(WORDS[0]) + len(WORDS[2])
    assert float(output.loss.detach()) == pytest.approx(float(single[0] + single[2]), rel=1e-5)


@pytest.mark.parametrize(("labels", "needed"), [([2, 3, 2], 3), ([2, 2, 2], 5), ([2, 0, 0], 1), ([], 0)])
def test_frames_that_labels_need(labels: list[int], needed: int) -> None:
    length = len([label for label in labels if label])
    assert frames_needed(torch.tensor([labels]).long(), torch.tensor([length])).tolist() == [needed]


def test_no_clip_is_played_too_fast_for_its_text() -> None:
    text = "abc" * 13
    alphabet = Alphabet.of([text])
    model = with_head(fresh(), alphabet.symbols, NO_MASKS)
    items = [LoadedClip(noise(1.0, seed=i), i, Entry(Path("a.wav"), 1.0, "train", text=text), 0, i) for i in range(30)]
    assert len(text) < model.count_frames(16_000) < len(text) * 1.2
    batch = ctc_data.CtcCollate(model, alphabet, NO_MASKS, HubertAugmentConfig(speed=0.5))(items)
    frames = [model.count_frames(int(length)) for length in batch.lengths]
    assert min(frames) >= len(text) and max(frames) > len(text) * 1.5, "slower clips are allowed"


def test_a_model_that_predicts_only_blanks_is_reported() -> None:
    task, batch = task_and_batch()
    messages: list[str] = []
    task.say = messages.append
    with torch.no_grad():
        task.model.ctc.bias[0] = 50.0
    task.eval()
    metrics = task.validate([batch])
    assert metrics["blank"] == 1.0 and metrics["empty"] == 1.0 and metrics["wer"] == 1.0
    assert any("100.0% of the frames are blank" in line and "learning_rate" in line for line in messages)
    with torch.no_grad():
        task.model.ctc.bias[:2] = torch.tensor([-50.0, 50.0])
    messages.clear()
    task.validate([batch])
    assert not any("blank" in line for line in messages)


def test_unusable_clips_are_left_out() -> None:
    entries = [
        Entry(Path("a.wav"), 2.0, "train", text="It's  FINE."),
        Entry(Path("b.wav"), 2.0, "train"),
        Entry(Path("c.wav"), 0.1, "train", text="short"),
        Entry(Path("d.wav"), 99.0, "train", text="long"),
        Entry(Path("e.wav"), 0.5, "train", text="so much said in half a second"),
        Entry(Path("f.wav"), 2.0, "dev", text="xylophone"),
    ]
    messages: list[str] = []
    usable, alphabet = ctc_data.usable(entries, DataConfig(sources="here"), "basic", fresh(), messages.append)
    assert [entry.audio.name for entry in usable] == ["a.wav", "f.wav"] and usable[0].text == "it s fine"
    assert alphabet.symbols == ("<blank>", "|", *"efinst"), "the alphabet is that of the training set"
    assert messages == [
        "here: 2 of 6 clips are used; left out: 1 without text, 1 too short, 1 too long, 1 more characters than frames"
    ]
    with pytest.raises(ConfigError, match=r'no clip of split "train" can be used \(1 without text\)'):
        ctc_data.usable(entries[1:2], DataConfig(sources="here"), "basic", fresh(), messages.append)


def test_a_head_with_all_characters_is_kept() -> None:
    symbols = Alphabet.of(WORDS).symbols
    old = fresh(vocabulary=symbols, units=(9,))
    messages: list[str] = []
    for vocabulary in (symbols, symbols[:-1], (*symbols[:2], *reversed(symbols[2:]))):
        tuned = with_head(old, vocabulary, NO_MASKS, messages.append)
        assert tuned.config.vocabulary == symbols and tuned.quantizer is None and tuned.head is None
        for name, value in tuned.state_dict().items():
            assert torch.equal(value, old.state_dict()[name]), name
    assert messages[1] == "the CTC head of init is kept: its 5 symbols include all 4 of the data"
    assert with_head(old, symbols, CtcTuneConfig(layerdrop=0.3)).transformer.layerdrop == 0.3


def test_rows_of_known_characters_are_copied_to_a_new_head() -> None:
    old = fresh(vocabulary=("<pad>", "<unk>", " ", "b", "a", "z"))
    torch.nn.init.normal_(old.ctc.bias)
    messages: list[str] = []
    tuned = with_head(old, ("<blank>", "|", "a", "b", "c"), NO_MASKS, messages.append)
    assert tuned.config.vocabulary == ("<blank>", "|", "a", "b", "c")
    for head in ("weight", "bias"):
        rows, before = getattr(tuned.ctc, head), getattr(old.ctc, head)
        assert torch.equal(rows[:4], before[[0, 2, 4, 3]]) and not any(torch.equal(rows[4], row) for row in before)
    assert messages == ["the CTC head has rows of init for 3 of 4 symbols; fresh: c"]
    without_head = fresh()
    torch.manual_seed(1)
    plain = with_head(without_head, ("<blank>", "|", "x"), NO_MASKS, messages.append)
    torch.manual_seed(1)
    other = with_head(old, ("<blank>", "|", "x"), NO_MASKS, messages.append)
    assert torch.equal(other.ctc.weight, plain.ctc.weight), "no rows are copied if only blank and boundary are known"
    assert messages[1:] == [
        "the CTC head of init is replaced: its vocabulary has none of the characters of the data (x ...)"
    ]


def test_augmentation_keeps_the_texts() -> None:
    alphabet = Alphabet.of(WORDS)
    model = with_head(fresh(), alphabet.symbols, NO_MASKS)
    items = [
        LoadedClip(noise(1.0, seed=i), i, Entry(Path(f"{i}.wav"), 1.0, "train", text=WORDS[i % 3]), 0, i)
        for i in range(9)
    ]
    plain, changed = (
        ctc_data.CtcCollate(model, alphabet, NO_MASKS, HubertAugmentConfig(speed=speed))(items) for speed in (0.0, 0.2)
    )
    assert len(set(changed.lengths.tolist())) > 3 and len(set(plain.lengths.tolist())) == 1
    assert torch.equal(changed.labels, plain.labels)
    assert changed.masked.shape[1] == model.count_frames(changed.waves.shape[1])
