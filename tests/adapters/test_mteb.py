"""The adapter for MTEB: its own acceptance run, and batches through its own loader beside its own HuBERT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import noise, small
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from zoo.errors import ConfigError

mteb = pytest.importorskip("mteb")

import datasets  # noqa: E402
from mteb._create_dataloaders import create_dataloader  # noqa: E402
from mteb.mocks.mock_tasks.classification import MockAudioClassification  # noqa: E402
from mteb.models.model_implementations.hubert_models import HubertWrapper  # noqa: E402

from zoo.adapters.mteb import MtebEncoder  # noqa: E402

TASK = MockAudioClassification.metadata
CLIPS = [(0.3 + 0.07 * i) * (0.1 + i % 3) for i in range(40)]  # seconds


def encode(model: Any, batch_size: int) -> np.ndarray:
    """Vectors (N, D) of clips of very different lengths, through MTEB's own loader."""
    rows = [{"audio": {"array": noise(s, i).numpy(), "sampling_rate": 16_000}} for i, s in enumerate(CLIPS)]
    loader = create_dataloader(datasets.Dataset.from_list(rows), task_metadata=TASK, batch_size=batch_size)
    return model.encode(loader, task_metadata=TASK, hf_split="test", hf_subset="default", show_progress_bar=False)


def values_of(wrapper: HubertWrapper, index: int) -> torch.Tensor:
    """The normalized waveform (1, S) of a clip."""
    wave = noise(CLIPS[index], index).numpy()
    return wrapper.feature_extractor(wave, sampling_rate=16_000, return_tensors="pt").input_values


@pytest.fixture(scope="module")
def hubert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small HuBERT of the published type with random weights, as transformers saves it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hubert")
    config = HubertConfig(
        hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=128, conv_dim=(48,) * 7
    )
    HubertModel(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def test_batches_change_nothing_here_and_everything_in_the_wrapper_of_mteb(hubert: Path) -> None:
    """Here, a batch of 32 gives what transformers computes for each clip alone. MTEB's wrapper encodes this type one
    clip at a time; with batches, its vectors are others. Alone, it loses the last frame of a few clips by rounding.
    """
    ours, theirs = MtebEncoder(str(hubert), device="cpu"), HubertWrapper(str(hubert), revision="main", device="cpu")
    single, batched = encode(ours, 1), encode(ours, 32)
    assert single.shape == (40, 64) and single.dtype == np.float32
    assert np.abs(batched - single).max() < 1e-5
    with torch.no_grad():
        alone = [theirs.model(values_of(theirs, i)).last_hidden_state.mean(1) for i in range(len(CLIPS))]
    assert np.abs(torch.cat(alone).numpy() - batched).max() < 1e-5
    assert theirs.per_clip and np.median(np.abs(encode(theirs, 32) - batched).max(1)) < 1e-5
    theirs.per_clip = False
    other = encode(theirs, 32)
    cosines = (other * single).sum(1) / np.linalg.norm(other, axis=1) / np.linalg.norm(single, axis=1)
    assert np.median(np.abs(other - single).max(1)) > 0.1 and cosines.min() < 0.9
    print(
        f"batch of 32 against one by one, largest difference: {np.abs(batched - single).max():.1e} here, "
        f"{np.abs(other - single).max():.1e} there (lowest cosine {cosines.min():.3f})"
    )


def test_names_and_metadata(hubert: Path) -> None:
    meta = MtebEncoder(
        "hubert-mini", layer=2, pooling="stats", device="cpu", training_datasets=["FSDD"]
    ).mteb_model_meta
    assert meta.name == "zoo/hubert-mini-l2-stats" and meta.embed_dim == 512
    assert (meta.license, meta.modalities, meta.training_datasets) == ("mit", ["audio"], {"FSDD"})
    assert "AN4" in meta.training_data and "AN4" in meta.to_dict()["training_data"] and meta.loader_kwargs["layer"] == 2
    assert meta.open_weights and not meta.openness["open training data"], "these recordings have no link"
    again = meta.load_model(device="cpu")
    assert (again.layer, again.pooling, again.mteb_model_meta.name) == (2, "stats", meta.name)
    with pytest.raises(ConfigError, match="the revision"):
        meta.model_copy(update={"revision": "0"}).load_model(device="cpu")
    logmel = MtebEncoder("logmel", device="cpu").mteb_model_meta
    assert (logmel.name, logmel.training_datasets, logmel.n_parameters) == ("zoo/logmel-l0-mean", set(), 0)
    foreign = MtebEncoder(str(hubert), device="cpu").mteb_model_meta
    assert foreign.name.endswith("-l3-mean") and foreign.license == "not specified"
    assert MtebEncoder(small("hubert-base"), device="cpu").mteb_model_meta.loader is None


def test_errors() -> None:
    with pytest.raises(ConfigError, match="one layer"):
        MtebEncoder(small("hubert-base"), layer="all")
    with pytest.raises(ConfigError, match="twice as wide"):
        MtebEncoder(small("mulan-mini"), pooling="stats")
    with pytest.raises(ConfigError, match="layers 0 to 3"):
        MtebEncoder(small("hubert-base"), layer=9)


def test_audio_text_and_both() -> None:
    model = MtebEncoder("mulan-mini", device="cpu")
    audio = {"audio": [{"array": noise(1.0, 1).numpy(), "sampling_rate": 16_000}]}
    parts = torch.stack([model._vectors(audio), model._vectors({"text": ["slow piano"]})])
    assert torch.equal(model._vectors(audio | {"text": ["slow piano"]}), parts.mean(0))
    assert torch.equal(parts[1], model.encoder.embed_text(["slow piano"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "checks"), [("logmel", 7), ("mfcc", 7), ("hubert-mini", 7), ("whisper-mini", 7), ("mulan-mini", 38)]
)
def test_the_acceptance_run_of_mteb(name: str, checks: int) -> None:
    pytest.importorskip("torchcodec")
    results = mteb.mock_run(MtebEncoder(name, device="cpu"))
    ran = {task: result for task, result in results.items() if result is not None}
    failed = [task for task, result in ran.items() if not isinstance(result, mteb.results.TaskResult)]
    assert failed == [] and len(ran) >= checks, results.to_markdown()
    print(f"{name}: {len(ran) - len(failed)} of {len(ran)}")
