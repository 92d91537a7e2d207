"""The fifth promise: nothing in a forward pass, a loss or an optimizer step waits for a GPU. Held without a GPU.

Tensors on the device "meta" stand for those on a GPU (helpers/syncs.py). Others there have values, so that the other
promises are held on the code path of a GPU too (helpers/pretend_gpu.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from pretend_gpu import PretendGPU, on_pretend_gpu
from small import noise, small, structures
from syncs import META, NoSync
from torch import Tensor

from zoo.data.dataset import Batch, LoadedClip
from zoo.data.manifest import Entry
from zoo.encoder import Encoder
from zoo.nn.conv import WaveformFrontend
from zoo.testing import PROMISES, TOLERANCE, difference

NAMES = list(structures())
WITH_WEIGHTS = [name for name in NAMES if list(small(name).parameters())]


def batch_of(seconds: tuple[float, ...], rate: int) -> Batch:
    clips = [LoadedClip(noise(s, i, rate), i, Entry(Path(f"{i}.wav"), s, "train"), 0, i) for i, s in enumerate(seconds)]
    return Batch.of(clips)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seconds", [(1.0, 0.6, 0.3), (0.5, 0.5)], ids=["padded", "equal"])
def test_no_forward_pass_waits(name: str, seconds: tuple[float, ...]) -> None:
    model = small(name).to(META)
    batch = batch_of(seconds, model.sample_rate)
    waves = batch.waves.to(META)
    with NoSync(), torch.no_grad():
        frames = model.eval()(waves, batch.lengths, layer="all")
        frames.pool("stats")
    assert frames.x.device == META and frames.lengths.device.type == "cpu"
    with NoSync():
        frames = model.train()(waves, batch.lengths)
        if frames.x.requires_grad:
            frames.x.sum().backward()


def test_statistics_of_a_batch_on_a_gpu_are_those_of_each_clip() -> None:
    """A GPU takes them from the padded batch at once, a CPU from clip after clip."""
    frontend = WaveformFrontend(8, "group")
    batch = batch_of((1.0, 0.43, 0.2), 16_000)
    expected = frontend.norm_stats_of(batch.waves, batch.lengths)
    for wave, length in zip(batch.waves, batch.lengths.tolist(), strict=True):
        wave[length:] = 9.0  # not read
    with mock.patch("torch.compiler.is_compiling", return_value=True):  # as if there were no lengths to read
        together = frontend.norm_stats_of(batch.waves, batch.lengths)
    torch.testing.assert_close(together, expected, rtol=1e-12, atol=1e-12)


GRAPHS = {
    "hubert-base": lambda m: (m, batch_of((0.8, 0.5), 16_000)),
    "hubert-fast": lambda m: (m, batch_of((0.8, 0.5), 16_000)),
    "wavlm-base": lambda m: (m, batch_of((0.8, 0.5), 16_000)),
    "mulan-resnet50": lambda m: (m.audio, (torch.randn(2, m.mel_frames, m.config.mels), torch.tensor([900, 300]))),
    "mulan-ast": lambda m: (m.audio, (torch.randn(2, m.mel_frames, m.config.mels), torch.tensor([900, 300]))),
    "whisper-tiny": lambda m: (m.encoder, (torch.randn(2, 300, m.config.mels), None, [2])),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_one_graph_holds_a_whole_forward_pass(name: str) -> None:
    """`torch.compile(fullgraph=True)` fails where Python would need a value. Shapes are fixed."""
    module, inputs = GRAPHS[name](small(name).eval())
    arguments = (inputs.waves, inputs.lengths) if isinstance(inputs, Batch) else inputs
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    with torch.no_grad():
        expected, actual = module(*arguments), compiled(*arguments)
    torch.testing.assert_close(tensor_of(actual), tensor_of(expected), atol=1e-5, rtol=0)


def tensor_of(result: Any) -> Tensor:
    """The tensor in a result: Frames, a list of layers, or the tensor itself."""
    result = getattr(result, "x", result)
    return result[0] if isinstance(result, list) else result


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_the_promises_hold_on_the_code_path_of_a_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Encoder, "window_seconds", 2.0)
    monkeypatch.setattr(Encoder, "context_seconds", 0.5)
    model = small(name)
    moved = on_pretend_gpu(model)
    clips = [noise(1.2, 3), noise(0.4, 4)]
    with PretendGPU():
        for promise, check in PROMISES.items():
            if promise != "checkpoint":  # a saved model has its weights on the CPU
                moved.eval()
                check(moved, TOLERANCE)
        embedded = moved.embed(clips, model.sample_rate, layer="all")
    assert difference(embedded, model.embed(clips, model.sample_rate, layer="all")) <= TOLERANCE


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_lengths_may_be_left_out_or_on_the_gpu(name: str) -> None:
    model = small(name)
    moved = on_pretend_gpu(model)
    waves = torch.stack([noise(0.5, 1), noise(0.5, 2)])
    lengths = torch.tensor([8_000, 8_000])
    expected = model(waves, lengths)
    with PretendGPU(), torch.no_grad():
        on_gpu = waves.to(META)
        for given in (None, lengths, lengths.to(META)):
            frames = moved(on_gpu, given)
            assert frames.lengths.device.type == "cpu" and torch.equal(frames.lengths, expected.lengths)
            assert difference(frames.x.cpu(), expected.x) <= TOLERANCE
