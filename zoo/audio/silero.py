"""Silero VAD: probability of speech in each 32 ms of a 16 kHz recording. Weights from the package silero-vad 6.

The model in the package takes one frame at a time. This one takes a minute at once; only its LSTM goes step by step.

Legend: B clips, S samples, T frames of 512 samples, C channels.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.ambient import ordinary_tensors
from zoo.audio import Clip
from zoo.errors import MissingDependencyError, install

FRAME = 512  # samples
BEFORE = 64  # samples of the frame before that belong to the input of each frame
BLOCK = 2048  # frames at once
NAMES = {
    "stft.weight": "stft.forward_basis_buffer",
    **{f"convs.{i}.{p}": f"encoder.{i}.reparam_conv.{p}" for i in range(4) for p in ("weight", "bias")},
    **{f"lstm.{p}_l0": f"decoder.rnn.{p}" for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
    **{f"out.{p}": f"decoder.decoder.2.{p}" for p in ("weight", "bias")},
}
"""Our name -> name in the package, of the 16 kHz weights."""


class Silero(nn.Module):
    """Spectrum, four convolutions over the four steps of a frame, an LSTM over frames."""

    def __init__(self) -> None:
        super().__init__()
        self.stft = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        sizes = ((129, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1))  # in, out, stride
        self.convs = nn.ModuleList(nn.Conv1d(a, b, 3, stride, padding=1) for a, b, stride in sizes)
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.out = nn.Conv1d(128, 1, 1)

    def forward(self, wave: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """wave (BEFORE + T x FRAME,): the samples of T frames and those before them -> probabilities (T,), state."""
        frames = wave.unfold(0, BEFORE + FRAME, FRAME)[:, None]  # (T, 1, BEFORE + FRAME)
        x = self.stft(F.pad(frames, (0, BEFORE), "reflect"))  # (T, 258, 4)
        x = (x[:, :129].square() + x[:, 129:].square()).sqrt()  # (T, 129, 4)
        for conv in self.convs:
            x = conv(x).relu()
        x, state = self.lstm(x.squeeze(-1)[None], state)  # (1, T, 128)
        return self.out(x.relu().transpose(1, 2)).sigmoid()[0, 0], state


def available() -> bool:
    """Whether the package silero-vad is installed."""
    return find_spec("silero_vad") is not None


@cache
def silero() -> Silero:
    """The detector. Raises MissingDependencyError if silero-vad is missing or its version is not supported."""
    spec = find_spec("silero_vad")
    path = Path(spec.origin).parent / "data" / "silero_vad.jit" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise MissingDependencyError(f"voice activity detection needs silero-vad: {install('vad')}")
    # The program in the file is not run. The safetensors file of the package holds weights of an older version.
    with warnings.catch_warnings(), ordinary_tensors():  # the detector serves all later calls
        warnings.simplefilter("ignore", DeprecationWarning)  # by torch.jit.load, which alone can read this file
        theirs = torch.jit.load(path, map_location="cpu").state_dict()
        model = Silero()
    try:
        model.load_state_dict({ours: theirs[f"_model.{name}"] for ours, name in NAMES.items()})
    except (KeyError, RuntimeError) as error:
        raise MissingDependencyError(
            f"this version of silero-vad has another network; install a supported version: {install('vad')}"
        ) from error
    return model.eval()


@torch.no_grad()
def probabilities(clip: Clip, gain: float = 1.0) -> Tensor:
    """clip (S,) at 16 kHz, multiplied by `gain` -> (T,), T = S / 512 rounded up; silence fills the last frame."""
    model, state, blocks = silero(), None, []
    for start in range(0, len(clip), BLOCK * FRAME):
        wave = clip[max(0, start - BEFORE) : start + BLOCK * FRAME] * gain
        before = min(start, BEFORE)
        wave = F.pad(wave, (BEFORE - before, -(len(wave) - before) % FRAME))
        block, state = model(wave, state)
        blocks.append(block)
    return torch.cat(blocks)
