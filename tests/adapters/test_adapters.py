"""Adapters: the documented checks of HEAR, an s3prl-style downstream loop, a scikit-learn pipeline."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from small import noise, small

from zoo.adapters import hear
from zoo.adapters.s3prl import UpstreamExpert
from zoo.adapters.sklearn import AudioEmbedding
from zoo.errors import AudioError, ConfigError, MissingDependencyError


def test_hear_satisfies_its_documented_checks(tmp_path: Path) -> None:
    small("hubert-base").save(tmp_path / "model")
    model = hear.load_model(str(tmp_path / "model"))
    assert isinstance(model, torch.nn.Module)
    assert model.sample_rate in (16_000, 22_050, 32_000, 44_100, 48_000)
    audio = torch.stack([noise(2.0, seed) for seed in range(3)])
    scenes = hear.get_scene_embeddings(audio, model)
    assert scenes.shape == (3, model.scene_embedding_size) and scenes.dtype == torch.float32
    frames, times = hear.get_timestamp_embeddings(audio, model)
    assert frames.shape[0] == 3 and frames.shape[2] == model.timestamp_embedding_size
    assert times.shape == frames.shape[:2] and times.dtype == torch.float32
    steps = times[0].diff()
    assert steps.min() > 0 and steps.max() - steps.min() < 1e-2 and steps.max() <= 50
    assert times.min() >= 0 and times.max() <= 2000
    assert (frames[:, 0] - frames[:, 1]).abs().max() > 1e-3 and (frames[:, -1] == frames[:, -2]).all()
    assert (frames[:, :99].mean(1) - scenes).abs().max() < 1e-5, "99 frames, the last one again"
    assert hear.load_model().scene_embedding_size == 80, "an empty path loads the default"
    with pytest.raises(AudioError, match="clips, samples"):
        hear.get_scene_embeddings(audio[0], model)


def test_without_mteb_its_adapter_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    monkeypatch.setitem(sys.modules, "mteb.models", None)
    monkeypatch.delitem(sys.modules, "zoo.adapters.mteb", raising=False)
    with pytest.raises(MissingDependencyError, match=r"audiozoo\[mteb\]"):
        import_module("zoo.adapters.mteb")


def test_an_s3prl_downstream_learns_on_our_upstream() -> None:
    torch.manual_seed(0)
    upstream = UpstreamExpert(small("hubert-base"))
    waves = [noise(0.5 + 0.1 * i, i) * (1.0 if i % 2 else 0.1) for i in range(6)]
    labels = torch.tensor([i % 2 for i in range(6)])
    with torch.no_grad():
        hidden = upstream(waves)["hidden_states"]
    assert len(hidden) == 4 and upstream.get_downsample_rates("hidden_states") == 320
    encoded = upstream.model.encode(waves, 16_000, layer="all")
    for layer, states in enumerate(hidden):
        assert (states - encoded.x[layer]).abs().max() < 1e-4
    weights = torch.zeros(4, requires_grad=True)
    head = torch.nn.Linear(48, 2)
    optimizer = torch.optim.Adam([weights, *head.parameters()], lr=0.05)
    losses = []
    for _ in range(60):
        mixed = sum(w * states for w, states in zip(weights.softmax(0), hidden, strict=True))
        loss = torch.nn.functional.cross_entropy(head(mixed.mean(1)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    upstream.train()
    upstream(waves)["last_hidden_state"].sum().backward()
    assert any(p.grad is not None for p in upstream.model.parameters()), "fine-tuning reaches the encoder"
    with pytest.raises(AudioError, match="waveform 1"):
        upstream([waves[0], waves[1][:10]])


def test_a_scikit_learn_pipeline(tmp_path: Path) -> None:
    time = np.arange(4000) / 16_000
    paths, labels = [], []
    for i in range(12):
        paths.append(str(tmp_path / f"{i}.wav"))
        labels.append(i % 2)
        soundfile.write(paths[-1], 0.3 * np.sin(2 * np.pi * (400 + 1600 * labels[-1] + 10 * i) * time), 16_000)
    pipeline = clone(make_pipeline(AudioEmbedding("logmel", pooling="stats"), LogisticRegression()))
    assert pipeline.fit(paths[:8], labels[:8]).score(paths[8:], labels[8:]) == 1
    vectors = AudioEmbedding("logmel", sample_rate=16_000).transform([noise(0.3).numpy()] * 40)
    assert vectors.shape == (40, 80) and vectors.dtype == np.float32
    with pytest.raises(AudioError, match="sample_rate"):
        AudioEmbedding("logmel").transform([noise(0.3).numpy()])
    with pytest.raises(ConfigError, match="layer 'all'"):
        AudioEmbedding("logmel", layer="all").transform(paths)
    with pytest.raises(AudioError, match="no clips"):
        AudioEmbedding("logmel").transform([])
    assert np.array_equal(
        AudioEmbedding("logmel", layer=np.int64(0)).transform(paths), AudioEmbedding("logmel", layer=0).transform(paths)
    )


def test_files_and_arrays_in_different_batches_for_scikit_learn(tmp_path: Path) -> None:
    """`sample_rate` is that of the arrays, also for a batch that has only files."""
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(0.3).numpy(), 8_000)
    vectors = AudioEmbedding("logmel", sample_rate=16_000).transform([path] * 40 + [noise(0.3).numpy()] * 40)
    alone = AudioEmbedding("logmel").transform([path] * 40)
    assert vectors.shape == (80, 80) and np.allclose(vectors[:40], alone, atol=1e-4)


def test_tables_of_clips_for_scikit_learn(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    paths = [str(tmp_path / f"{i}.wav") for i in range(2)]
    waves = np.stack([noise(0.3, seed).numpy() for seed in range(2)])  # (B, S)
    for path, wave in zip(paths, waves, strict=True):
        soundfile.write(path, wave, 16_000, subtype="FLOAT")
    embedding = AudioEmbedding("logmel", sample_rate=16_000)
    table = pd.DataFrame({"path": paths, "label": ["a", "b"]})
    expected = embedding.transform(paths)
    for form in (table[["path"]], table["path"], np.array(paths)[:, None], waves, pd.DataFrame(waves)):
        assert np.array_equal(embedding.transform(form), expected)
    with pytest.raises(AudioError, match="X: has 2 columns"):
        embedding.transform(table)
    for single in (paths[0], Path(paths[0])):
        with pytest.raises(AudioError, match=r"X: is a .*list of clips"):
            embedding.transform(single)
