"""BERT checkpoints as they are found: prefixes, heads on top, TensorFlow's names, what does not belong."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import Tensor

from zoo.checkpoint import assign
from zoo.errors import CheckpointError
from zoo.importers.bert import bert_arguments, bert_tensors
from zoo.nn.bert import TextTower

CONFIG = transformers.BertConfig(
    vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
)


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = transformers.BertModel(CONFIG)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.normal_()
    return model.state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_every_tensor_finds_its_place(tensors: dict[str, Tensor]) -> None:
    tower = TextTower(**bert_arguments(CONFIG.to_dict()))
    found = bert_tensors(tensors)
    assign(tower, found, source="test")
    assert torch.equal(tower.segment, tensors["embeddings.token_type_embeddings.weight"][0])
    qkv = torch.cat([tensors[f"encoder.layer.1.attention.self.{part}.weight"] for part in ("query", "key", "value")])
    assert torch.equal(tower.state_dict()["transformer.blocks.1.attention.qkv.weight"], qkv)


def test_pretraining_heads_pooler_and_prefix_are_dropped(tensors: dict[str, Tensor]) -> None:
    whole = transformers.BertForPreTraining(CONFIG)
    whole.bert.load_state_dict(tensors)
    dressed = whole.state_dict() | {"bert.embeddings.position_ids": torch.arange(512)}
    assert any(name.startswith("cls.") for name in dressed) and any("pooler" in name for name in dressed)
    assert same(bert_tensors(dressed), bert_tensors(tensors))


def test_norms_with_the_names_of_tensorflow(tensors: dict[str, Tensor]) -> None:
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in tensors.items()
    }
    assert old.keys() != tensors.keys()
    assert same(bert_tensors(old), bert_tensors(tensors))


def test_what_does_not_belong_is_listed(tensors: dict[str, Tensor]) -> None:
    extra = {
        "encoder.layer.0.attention.self.distance_embedding.weight": torch.zeros(3),
        "classifier.weight": torch.zeros(2),
    }
    with pytest.raises(CheckpointError, match=r"some\.bin: 2 tensors(.|\n)*distance_embedding(.|\n)*classifier"):
        bert_tensors(tensors | extra, source="some.bin")
    name = "embeddings.LayerNorm."
    with pytest.raises(CheckpointError, match=r"both .*weight and .*gamma are transformer\.norm\.weight"):
        bert_tensors(tensors | {f"{name}gamma": tensors[f"{name}weight"]})


def test_what_is_missing_is_listed(tensors: dict[str, Tensor]) -> None:
    tower = TextTower(**bert_arguments(CONFIG.to_dict()))
    partial = {name: tensor for name, tensor in tensors.items() if "layer.1.attention.self.key" not in name}
    with pytest.raises(CheckpointError, match=r"missing +transformer\.blocks\.1\.attention\.qkv\.weight"):
        assign(tower, bert_tensors(partial), source="test")


@pytest.mark.parametrize(
    "change", [{"model_type": "roberta"}, {"hidden_act": "gelu_new"}, {"position_embedding_type": "relative_key"}]
)
def test_what_is_not_implemented_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match=str(next(iter(change.values())))):
        bert_arguments(CONFIG.to_dict() | change)
