"""The adapter for X-ARES: exact in padded batches, its checker, and its MLP and kNN on tars made here."""

from __future__ import annotations

import io
import json
import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small import noise, small, structures

import zoo
from zoo import audio
from zoo.adapters import xares
from zoo.errors import ConfigError


class LogmelEncoder(xares.XaresEncoder):
    source = "logmel"


class HubertMiniL2Encoder(xares.XaresEncoder):
    source, layer = "hubert-mini", 2


@pytest.mark.parametrize("name", structures())
def test_the_mean_over_a_padded_batch_is_that_of_the_clip(name: str) -> None:
    encoder = xares.XaresEncoder(small(name))
    clips = [noise(seconds, seed, encoder.sampling_rate) for seed, seconds in enumerate((0.5, 2.0, 4.0))]
    waves, _ = audio.pad(clips)
    x = encoder(waves)
    assert x.shape == (3, encoder.encoder.count_frames(waves.shape[1]), encoder.output_dim)
    for b, clip in enumerate(clips):
        frames = encoder.encoder.encode(clip, encoder.sampling_rate)
        assert (x[b].mean(0) - frames.pool("mean")[0]).abs().max() < 1e-5
        assert (x[b, : frames.x.shape[1]] - frames.x[0]).abs().max() < 1e-4
        assert (encoder(clip)[0].mean(0) - x[b].mean(0)).abs().max() < 1e-5


def test_layers_silence_and_short_clips() -> None:
    encoder = HubertMiniL2Encoder()
    assert (encoder.sampling_rate, encoder.output_dim, encoder.hop_size_in_ms) == (16_000, 256, 20)
    wave = noise(1.0)
    expected = encoder.encoder.encode(wave, 16_000, layer=2).x
    assert torch.equal(encoder(wave), expected)
    assert (encoder(torch.cat([wave, torch.zeros(8000)]))[:, : expected.shape[1]] - expected).abs().max() < 1e-5
    assert encoder(torch.zeros(2, 16_000)).isfinite().all() and encoder(torch.zeros(5)).shape == (1, 1, 256)
    with pytest.raises(ConfigError, match="one layer"):
        type("AllEncoder", (xares.XaresEncoder,), {"layer": "all"})()
    with pytest.raises(ConfigError, match="layer 9"):
        type("NineEncoder", (HubertMiniL2Encoder,), {"layer": 9})()


@pytest.mark.parametrize("name", structures())
def test_the_checker_of_xares(name: str) -> None:
    checker = pytest.importorskip("xares.audio_encoder_checker")
    assert checker.check_audio_encoder(xares.XaresEncoder(small(name)))


@pytest.fixture
def undisturbed() -> Iterator[None]:
    """X-ARES sets the number of threads and sends warnings to the log, for the whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    logging.captureWarnings(False)


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def clips_of(split: str, count: int) -> Iterator[tuple[str, torch.Tensor, int]]:
    """Tones of three pitches, of different lengths and loudness, in noise: (key, wave, label)."""
    for i in range(count):
        seed = {"train": 0, "valid": 1000, "test": 2000}[split] + i
        wave = 0.05 * noise(0.5 + 0.13 * (i % 11), seed)
        pitch = (300, 700, 1500)[i % 3] * (1 + 0.01 * (i % 7))
        time = torch.arange(len(wave)) / 16_000
        yield f"{split}{i:03d}", wave + 0.1 * (1 + i % 4) * torch.sin(2 * torch.pi * pitch * time), i % 3


def write_tars(folder: Path) -> None:
    folder.mkdir(parents=True)
    for split, count in (("train", 60), ("valid", 15), ("test", 30)):
        with tarfile.open(folder / f"{split}-00000.tar", "w") as tar:
            for key, wave, label in clips_of(split, count):
                file = io.BytesIO()
                soundfile.write(file, wave.numpy(), 16_000, format="WAV", subtype="FLOAT")
                add(tar, f"{key}.wav", file.getvalue())
                add(tar, f"{key}.json", json.dumps({"label": label}).encode())
    (folder / ".audio_tar_ready").touch()


@pytest.mark.slow
@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("encoder_class", [LogmelEncoder, HubertMiniL2Encoder])
def test_mlp_and_knn_of_xares(encoder_class: type[xares.XaresEncoder], tmp_path: Path) -> None:
    task_module = pytest.importorskip("xares.task")
    pytest.importorskip("torchcodec")
    write_tars(tmp_path / "tones")
    config = task_module.TaskConfig(
        name="tones",
        env_root=tmp_path,
        encoder=encoder_class(),
        label_processor=lambda row: row["label"],
        output_dim=3,
        num_encoder_workers=0,
        learning_rate=0.01,
    )
    task = task_module.XaresTask(config)
    task.make_encoded_tar()
    (mlp, _), (knn, _) = task.run_mlp(), task.run_knn()
    print(f"{encoder_class.__name__}: MLP {mlp:.3f}, kNN {knn:.3f}, chance 0.333")
    assert mlp > 0.6 and knn > 0.8, "X-ARES shuffles without a seed"
    stored = {}
    for file in (tmp_path / "tones" / "embeddings" / encoder_class.__name__).glob("*test*.tar"):
        with tarfile.open(file) as tar:
            for member in tar.getmembers():
                if member.name.endswith(".npy"):
                    stored[member.name[:7]] = np.load(io.BytesIO(tar.extractfile(member).read())).mean(0)
    encoder = zoo.load(encoder_class.source, device="cpu")
    for key, wave, _ in clips_of("test", 30):
        vector = encoder.embed(wave, 16_000, layer=encoder_class.layer).numpy()
        assert np.abs(stored[key] - vector).max() < 1e-4, "as in batches of 16 clips without lengths"
