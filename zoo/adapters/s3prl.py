"""An upstream model for s3prl (https://github.com/s3prl/s3prl): a list of waveforms -> all hidden states.

    upstream = UpstreamExpert("hubert-base")
    upstream([wave_a, wave_b])["hidden_states"]      # num_layers + 1 tensors (B, T, D), input of the stack first

Legend: B clips, S samples, T frames, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from zoo import audio, loading
from zoo.encoder import Encoder
from zoo.errors import AudioError


class UpstreamExpert(nn.Module):
    """ckpt: a source for zoo.load, or an encoder. Gradients flow into the encoder if they are enabled."""

    def __init__(self, ckpt: str | Encoder, model_config: Any = None, **_: Any) -> None:
        """model_config and other arguments of s3prl are ignored: a zoo checkpoint contains its configuration."""
        super().__init__()
        self.model = ckpt if isinstance(ckpt, Encoder) else loading.load(ckpt, device="cpu")

    def get_downsample_rates(self, key: str) -> int:
        """Samples at 16 kHz from one frame to the next."""
        return self.model.hop

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, Any]:
        """wavs: (S_i,) float32 at 16 kHz -> {"hidden_states": [(B, T, D), ...], "last_hidden_state": (B, T, D)}.

        Zero past the end of each clip. Raises AudioError for an encoder with another rate, and for clips that are too
        short.
        """
        if self.model.sample_rate != 16_000:
            raise AudioError("wavs", f"s3prl works at 16 kHz, this encoder at {self.model.sample_rate} Hz")
        short = [i for i, wave in enumerate(wavs) if not self.model.count_frames(len(wave))]
        if short:
            raise AudioError(f"waveform {short[0]}", f"is too short: {self.model.min_samples} samples are needed")
        waves, lengths = audio.pad(list(wavs))
        frames = self.model(waves, lengths.to(waves.device), layer="all")  # x (L, B, T, D)
        return {"hidden_states": list(frames.x), "last_hidden_state": frames.x[-1]}
