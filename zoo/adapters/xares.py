"""Encoders for X-ARES (https://github.com/jimbozhang/xares), which trains an MLP and a kNN on the frames of an encoder.

    class HubertBaseL9Encoder(xares.XaresEncoder):      # in a file of its own; `from zoo.adapters import xares`
        source, layer = "hubert-base", 9

X-ARES stores vectors and scores under the name of the class: give each model and layer its own.

Legend: B clips, S samples, T frames, D width.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from zoo import loading
from zoo.encoder import Encoder
from zoo.errors import ConfigError
from zoo.nn.layers import plain_layer


class XaresEncoder(nn.Module):
    """What X-ARES calls: frames of zero-padded clips, and the attributes sampling_rate, output_dim, hop_size_in_ms.

    source: for zoo.load; layer: as in Encoder.encode. X-ARES moves the module to its device.

    X-ARES passes no lengths. So the zeros at the end of a clip count as padding, also where they are in the recording.
    Frames after the end of a clip are the mean of its frames: X-ARES averages over all frames of a padded batch, and
    this way the average is the one over the clip, in any batch.
    """

    source: ClassVar[str] = "logmel"
    layer: ClassVar[int] = -1

    def __init__(self, encoder: Encoder | None = None) -> None:
        """encoder: instead of `source`. Raises ConfigError if `layer` is not one number."""
        super().__init__()
        self.encoder = loading.load(self.source, device="cpu") if encoder is None else encoder
        if not isinstance(plain_layer(self.layer), int):
            raise ConfigError(f"layer {self.layer!r}: X-ARES needs the frames of one layer; give a number")
        self.encoder.resolve_layers(self.layer)  # raises if there is no such layer
        self.sampling_rate = self.encoder.sample_rate
        self.output_dim = self.encoder.dim
        self.hop_size_in_ms = 1000 / self.encoder.frame_rate

    def forward(self, audio: Tensor) -> Tensor:
        """audio (B, S) or (S,) at `sampling_rate` -> frames (B, T, D). Clips are filled up to one frame with zeros."""
        waves = audio.reshape(-1, audio.shape[-1]).cpu()
        missing = max(0, self.encoder.min_samples - waves.shape[1])
        waves = nn.functional.pad(waves, (0, missing))
        clips = [wave[: self._length(wave)] for wave in waves]
        frames = self.encoder.encode(clips, self.sampling_rate, layer=self.layer)
        means = frames.pool("mean")[:, None]  # (B, 1, D)
        x = means.repeat(1, self.encoder.count_frames(waves.shape[1]), 1)  # (B, T, D)
        for b, real in enumerate(frames.unpad()):
            x[b, : len(real)] = real
        return x.to(audio.device)

    def _length(self, wave: Tensor) -> int:
        """Samples up to the last one that is not zero, and at least enough for one frame."""
        sound = wave.nonzero()
        end = int(sound[-1]) + 1 if len(sound) else 0
        return max(end, self.encoder.min_samples)
