"""WavLM: relative positions, refusals and saving. tests/models/test_parity.py compares all layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from neighbors import REFERENCES
from small import noise, small
from transformers import WavLMForCTC

import zoo
from zoo.errors import CheckpointError
from zoo.models.wavlm.model import RelativePositions, WavLM, bucket_of

WAVLM = REFERENCES["WavLM"]


def test_buckets_of_all_distances() -> None:
    theirs = WAVLM.make().encoder.layers[0].attention
    distance = torch.arange(-2_500, 2_501)
    assert torch.equal(bucket_of(distance), theirs._relative_positions_bucket(distance))


@pytest.mark.parametrize("frames", [1, 2, 7, 300])
def test_the_table_is_by_key_minus_query(frames: int) -> None:
    positions = RelativePositions(heads=2)
    distance = torch.arange(frames)[None, :] - torch.arange(frames)[:, None]
    assert torch.equal(positions(frames), positions.table(bucket_of(distance)).permute(2, 0, 1))


def test_frames_that_are_not_asked_for_change_nothing() -> None:
    attention = small("wavlm-base").transformer.blocks[1].attention
    x, bias = torch.randn(2, 9, 48), torch.randn(4, 9, 9)
    mask = torch.arange(9) < torch.tensor([[9], [5]])
    with torch.no_grad():
        assert torch.allclose(attention(x, mask, 3, bias), attention(x, mask, None, bias)[:, :3], atol=1e-6)


def test_every_parameter_learns() -> None:
    model = small("wavlm-base").train()
    waves, lengths = zoo.audio.pad([noise(1.0), noise(0.7)])
    model(waves, lengths).x.square().sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == ["mask_embedding"]


def test_a_ctc_head_is_read(tmp_path: Path) -> None:
    theirs = WAVLM.make(WavLMForCTC, vocab_size=3, pad_token_id=0)
    WAVLM.save(theirs, tmp_path)
    (tmp_path / "vocab.json").write_text('{"<pad>": 0, "a": 1, "|": 2}')
    ours = zoo.load(tmp_path, device="cpu")
    assert isinstance(ours, WavLM)
    with torch.no_grad():
        expected = theirs(noise(1.0)[None]).logits
    assert (ours.logits(noise(1.0), 16_000).x - expected).abs().max() <= 1e-4


@pytest.mark.parametrize(("field", "value"), [("num_buckets", 64), ("max_bucket_distance", 400), ("add_adapter", True)])
def test_what_is_not_implemented_is_refused_by_name(field: str, value: int, tmp_path: Path) -> None:
    directory = WAVLM.save(WAVLM.make(**{field: value}), tmp_path)
    with pytest.raises(CheckpointError, match=rf"config\.json: {field} is {value}"):
        zoo.load(directory, device="cpu")


def test_a_saved_checkpoint_is_the_same_model(tmp_path: Path) -> None:
    model = zoo.load(WAVLM.save(WAVLM.make(), tmp_path / "theirs"), device="cpu")
    model.save(tmp_path / "ours")
    restored = zoo.load(tmp_path / "ours", device="cpu")
    assert type(restored) is WavLM and restored.fingerprint() == model.fingerprint()


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_reduced_precision_is_close(dtype: str, tmp_path: Path) -> None:
    model = small("wavlm-base")
    model.save(tmp_path)
    reduced = zoo.load(tmp_path, device="cpu", dtype=dtype)
    clips = [noise(1.0), noise(0.4)]
    cosine = torch.cosine_similarity(reduced.embed(clips, 16_000), model.embed(clips, 16_000), dim=1)
    assert cosine.min() > 0.98
