"""Small random CLAP models of transformers, saved as the hub has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor, nn
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizerFast

from zoo.models.clap.model import Clap

TEXTS = ["a dog barks", "slow piano music", "Rain, and thunder in the distance!", "café ☂"]
RATE, SECONDS = 48_000, 2  # of the shortened window
WINDOW = SECONDS * RATE
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def tokenizer_files(folder: Path) -> int:
    """vocab.json and merges.txt, trained on TEXTS; the number of tokens."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXTS * 2, vocab_size=300, special_tokens=list(SPECIAL), show_progress=False)
    folder.mkdir(parents=True, exist_ok=True)
    trained.save_model(str(folder))
    return trained.get_vocab_size()


def clap(fused: bool, vocab_size: int, **audio: Any) -> ClapModel:
    """A ClapModel with three stages, all of whose values are random, batch statistics too."""
    torch.manual_seed(0)
    sizes = {"spec_size": 128, "patch_embeds_hidden_size": 16, "hidden_size": 64, "depths": [2, 3, 2]}
    config = ClapConfig(
        audio_config={**sizes, "num_attention_heads": [2, 4, 4], "enable_fusion": fused, **audio},
        text_config={
            "vocab_size": vocab_size, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 64, "max_position_embeddings": 42,
        },
        projection_dim=24,
    )  # fmt: skip
    model = ClapModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "logit_scale" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
        norm = model.audio_model.audio_encoder.batch_norm
        norm.running_mean.fill_(-30).add_(torch.randn(64))
        norm.running_var.fill_(300)
    return model


def extractor(fused: bool) -> ClapFeatureExtractor:
    """A feature extractor with windows of SECONDS, as the hub's otherwise."""
    truncation = "fusion" if fused else "rand_trunc"
    return ClapFeatureExtractor(max_length_s=SECONDS, frequency_min=50, truncation=truncation)


def saved(folder: Path, fused: bool = False, *, slow: bool = False, **audio: Any) -> tuple[ClapModel, Path]:
    """A model and the directory with its weights, feature extractor and tokenizer (slow: vocab.json and merges.txt)."""
    size = tokenizer_files(folder)
    model = clap(fused, size, **audio)
    model.save_pretrained(folder)
    extractor(fused).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    if not slow:
        RobertaTokenizerFast.from_pretrained(folder).save_pretrained(folder)
        (folder / "vocab.json").unlink(missing_ok=True)
        (folder / "merges.txt").unlink(missing_ok=True)
    return model, folder


def edit(file: Path, **changes: Any) -> None:
    """Change fields of a JSON file; part__field is a field of a part."""
    content = json.loads(file.read_text())
    for name, value in changes.items():
        *parts, field = name.split("__")
        place = content
        for part in parts:
            place = place[part]
        place[field] = value
    file.write_text(json.dumps(content))


def reference(theirs: ClapModel, wave: Tensor, is_longer: bool) -> tuple[Tensor, list[Tensor]]:
    """The embedding (D,) and the hidden states (P, D) of transformers for one clip, with crops where zoo has them."""
    fusion = theirs.config.audio_config.enable_fusion
    last = len(wave) // 480 - WINDOW // 480
    picks = mock.Mock(side_effect=[0, last // 2, last])
    with mock.patch("numpy.random.choice", picks):
        features = extractor(fusion)(wave.double().numpy(), sampling_rate=RATE, return_tensors="pt")
    for call, pick in zip(picks.call_args_list, (0, last // 2, last), strict=False):
        assert pick in call.args[0], "the reference can draw this crop"
    spectrogram, flag = features["input_features"].float(), torch.tensor([[is_longer]])
    with torch.no_grad():
        embedding = theirs.get_audio_features(spectrogram, is_longer=flag).pooler_output[0]
        states = theirs.audio_model(spectrogram, is_longer=flag, output_hidden_states=True).hidden_states
    return embedding, [state[0].flatten(1).T for state in states]


def states_of(ours: Clap, wave: Tensor) -> list[Tensor]:
    """The patches and the state after each stage, of one window: (P, D) each."""
    mel, long = ours.mel_views(wave[None], torch.tensor([len(wave)]))
    with torch.no_grad():
        return [state[0] for state in ours.audio.states(mel, long)]
