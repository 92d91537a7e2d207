"""The module interface of the HEAR benchmark (https://hearbenchmark.com/hear-api.html).

    python -m heareval.embeddings.runner zoo.adapters.hear --model hubert-base --tasks-dir tasks

Legend: B clips, S samples, T frames, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo import loading
from zoo.encoder import Encoder
from zoo.errors import AudioError

DEFAULT = "logmel"


class HearModel(nn.Module):
    """An encoder with the attributes that HEAR reads: sample_rate, scene_embedding_size, timestamp_embedding_size."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.sample_rate = encoder.sample_rate
        self.scene_embedding_size = encoder.dim
        self.timestamp_embedding_size = encoder.dim

    def forward(self, audio: Tensor) -> Tensor:
        return get_scene_embeddings(audio, self)


def load_model(model_file_path: str = "", device: str = "cpu") -> HearModel:
    """Load any source that zoo.load accepts; an empty path means log-mel. HEAR moves the model to its device."""
    return HearModel(loading.load(model_file_path or DEFAULT, device=device))


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """audio (B, S) at model.sample_rate -> one vector per clip: (B, D)."""
    return model.encoder.embed(_checked(audio), model.sample_rate).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """audio (B, S) -> frames (B, T, D), and their times in ms (B, T), as in `Frames.times`.

    HEAR expects a frame at every hop of the clip. Where a clip begins before its first frame, or goes on after its last
    one, by a hop or more, the nearest frame is repeated at the times in between.
    """
    encoder, samples = model.encoder, audio.shape[1]
    frames = encoder.encode(_checked(audio), encoder.sample_rate)
    count = frames.x.shape[1]
    first = encoder.frame_samples // 2
    last = first + (count - 1) * encoder.hop
    before, after = first // encoder.hop, max(0, samples - last) // encoder.hop
    index = torch.arange(-before, count + after)  # (T,)
    x = frames.x[:, index.clamp(0, count - 1)]  # (B, T, D)
    seconds = frames.first_time + index / frames.frame_rate
    times = 1000 * seconds.clamp(max=samples / encoder.sample_rate)  # the only window of a clip may be longer than it
    return x.to(audio.device), times.expand(len(x), -1).to(audio.device)


def _checked(audio: Tensor) -> list[Tensor]:
    if audio.ndim != 2:
        raise AudioError("audio", f"HEAR passes (clips, samples), not a tensor of shape {tuple(audio.shape)}")
    return list(audio.cpu())  # as a list: in a tensor, very short clips would look like channels
