"""The model at the start of training: a new one, a loaded one, or a student with fewer decoder layers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.models.whisper.decoder import Decoder
from zoo.models.whisper.model import Whisper
from zoo.recipes.init import load_init
from zoo.recipes.whisper.config import WhisperTrainConfig, WhisperTuneConfig
from zoo.recipes.whisper.lora import add_lora
from zoo.recipes.whisper.vocabulary import read_tokenizer, train_tokenizer
from zoo.text.languages import LANGUAGES

POSITION_SCALE = 0.01  # standard deviation of the decoder's initial positions, as in openai-whisper


def starting_model(config: WhisperTrainConfig, entries: Sequence[Entry], normalize: Callable[[str], str]) -> Whisper:
    """A new Whisper with a vocabulary for the normalized texts of `entries`, or the one at config.init.

    Raises ConfigError if there is none at config.init, or if it has no tokenizer.
    """
    model = loaded(config.init) if config.init else fresh(config, entries, normalize)
    names = ("padding", "pad_positions", "min_positions")
    overrides = {name: getattr(config.windows, name) for name in names if getattr(config.windows, name) is not None}
    model.config = replace(model.config, **overrides)
    return model.train()


def fresh(config: WhisperTrainConfig, entries: Sequence[Entry], normalize: Callable[[str], str]) -> Whisper:
    """A new Whisper with weights from the seed, and with the languages of the training texts. Raises ConfigError."""
    if config.vocabulary.file:
        tokenizer = read_tokenizer(config.vocabulary.file)
    else:
        training = [entry for entry in entries if entry.split == "train" and entry.text]
        codes = {entry.lang or "en" for entry in training}
        if unknown := sorted(codes - set(LANGUAGES)):
            raise ConfigError(f"lang {unknown[0]!r}: not one of Whisper's languages; use a code such as en or de")
        texts = [normalize(entry.text or "") for entry in training]
        tokenizer = train_tokenizer(texts, config.vocabulary.size, sorted(codes, key=LANGUAGES.index))
    model = Whisper(replace(config.model, vocab_size=len(tokenizer)))
    model.tokenizer = tokenizer
    torch.manual_seed(config.train.seed)
    initialize(model)
    return model


def initialize(model: Whisper) -> None:
    """Gaussian weights of variance 1 / fan-in, zero biases (Radford et al. 2022, table 17)."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.normal_(std=POSITION_SCALE if name == "decoder.positions" else fan_in**-0.5)
            elif name.endswith("bias"):
                parameter.zero_()


def loaded(source: str) -> Whisper:
    """The Whisper of a run folder, checkpoint, name or file. Raises ConfigError for any other source."""
    model = load_init(source, "`zoo list` shows the names")
    if not isinstance(model, Whisper):
        raise ConfigError(f"init {source!r} is a {model.family}; this recipe starts from a Whisper")
    if model.tokenizer is None:
        raise ConfigError(f"init {source!r} has no tokenizer; put its tokenizer.json beside the weights")
    return model


def student_of(model: Whisper, layers: int) -> Whisper:
    """A copy with `layers` of the decoder's blocks, at even distances from first to last.

    Raises ConfigError for more layers than there are.
    """
    teacher_layers = model.config.decoder_layers
    if not 0 < layers <= teacher_layers:
        raise ConfigError(f"distil.decoder_layers {layers}: the teacher has {teacher_layers}")
    copied = [int(i) for i in torch.linspace(0, teacher_layers - 1, layers)[:-1]] + [teacher_layers - 1]
    student = Whisper(replace(model.config, decoder_layers=layers, alignment_heads=()))
    blocks = model.decoder.blocks
    model.decoder.blocks = nn.ModuleList(blocks[i] for i in copied)
    student.load_state_dict(model.state_dict())
    model.decoder.blocks = blocks
    student.name, student.tokenizer = model.name, model.tokenizer
    return student.train()


def teacher_of(model: Whisper) -> Decoder:
    """A frozen copy of the decoder."""
    return copy.deepcopy(model.decoder).requires_grad_(False).eval()


def freeze_layers(model: Whisper, tune: WhisperTuneConfig) -> None:
    """Freeze layers, set stochastic depth, add low-rank updates; in place.

    Raises ConfigError for more blocks than there are, and for low-rank updates together with frozen blocks.
    """
    model.encoder.transformer.layerdrop = model.decoder.layerdrop = tune.layerdrop
    if tune.lora.rank:
        if tune.freeze_encoder or tune.freeze_decoder:
            raise ConfigError("tune.lora freezes all weights itself: leave out freeze_encoder and freeze_decoder")
        return add_lora(model, tune.lora)
    encoder, decoder = model.encoder, model.decoder
    parts: list[nn.Module] = [encoder] if tune.freeze_encoder < 0 else []
    for name, count, blocks, below in (
        ("encoder", tune.freeze_encoder, encoder.transformer.blocks, [encoder.conv_in, encoder.conv_out]),
        ("decoder", tune.freeze_decoder, decoder.blocks, [decoder.tokens]),
    ):
        if count > len(blocks) or (count < 0 and name == "decoder"):
            raise ConfigError(f"tune.freeze_{name} {count}: the {name} has {len(blocks)} blocks")
        if count > 0:
            parts += [*below, *blocks[:count]]
    for part in parts:
        part.requires_grad_(False)
    if tune.freeze_decoder > 0:
        decoder.positions.requires_grad_(False)
    return None
