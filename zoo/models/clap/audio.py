"""From waveform windows to the audio vectors of CLAP (Wu et al. 2022, arXiv 2211.06687): HTS-AT, fused or not.

    window -> repeat if short -> log-mel -> affine -> fold into a square image -> patches -> Swin -> mean
                                     long, if fused: shrunk to 10 s, and three 10 s crops -> patches, fused

Batch norms are folded into the layers beside them: their statistics stay as they were trained.

Legend: R windows, S samples, T mel frames, N mels, C channels (1, or 4 of a fused model), P patches, D width.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn

from zoo.ambient import kept
from zoo.models.clap.swin import Swin
from zoo.nn.linear import Linear

FLOOR = 1e-10  # of the mel power: -100 dB
LEVEL, SPREAD = -40.0, 20.0
"""dB; the first affine of a fresh model standardizes by them. Published models have their own values."""
CROPS = 3  # local views of a long window


@kept
def mel_filters(
    fft: int, sample_rate: int, mels: int, low: float, high: float, slaney: bool, device: torch.device
) -> Tensor:
    """Triangular filters (fft // 2 + 1, N): of equal area on Slaney's mel scale, or of equal height on the HTK scale.

    The lowest HTK filters may be narrower than a bin, and stay empty, as in training.
    """
    scale, norm = ("slaney", "slaney") if slaney else ("htk", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about empty filters
        filters = torchaudio.functional.melscale_fbanks(
            fft // 2 + 1, low, high, mels, sample_rate, norm=norm, mel_scale=scale
        )
        return filters.to(device)


class Spectrogram(nn.Module):
    """Log-mel power in dB. Frames are centered on multiples of the hop; both ends of a window are reflected.

    A window shorter than `least` samples is repeated as often as it fits, and followed by silence. So it has
    least // hop + 1 frames, and a longer one of n samples has n // hop + 1. Always in float32.
    """

    def __init__(
        self, sample_rate: int, mels: int, fft: int, hop: int, low: float, high: float, *, least: int, slaney: bool
    ) -> None:
        super().__init__()
        self.fft, self.hop, self.least = fft, hop, least
        self.filters = (fft, sample_rate, mels, low, high, slaney)

    def count_frames(self, samples: int) -> int:
        """Mel frames of a window of so many samples, repetitions and silence included."""
        return max(samples, self.least) // self.hop + 1

    def forward(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """waves (R, S), lengths (R,) >= 1 real samples, on the CPU -> (R, T, N). Values in padding have no effect."""
        taper = torch.hann_window(self.fft, dtype=torch.float32, device=waves.device)
        frames = self.extend(waves.float(), lengths).unfold(1, self.fft, self.hop) * taper  # (R, T, fft)
        spectrum = torch.fft.rfft(frames)
        power = spectrum.real.square() + spectrum.imag.square()  # (R, T, fft // 2 + 1)
        filters = mel_filters(*self.filters, waves.device)
        with torch.autocast(waves.device.type, enabled=False):
            return 10 * (power @ filters).clamp(min=FLOOR).log10()

    def extend(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Each window repeated, filled up and reflected at both ends by half an FFT: (R, longest + fft)."""
        longest = max(self.least, int(lengths.max()))
        half = self.fft // 2
        ends = lengths.clamp(min=self.least).to(waves.device, non_blocking=True)[:, None]  # (R, 1)
        sizes = lengths.to(waves.device, non_blocking=True)[:, None]
        position = torch.arange(-half, longest + half, device=waves.device).abs()  # reflected at the start
        position = torch.where(position < ends, position, 2 * (ends - 1) - position)  # and at the end
        position = position.clamp(min=0)  # far beyond the end of a window that is shorter than others
        heard = position < sizes * (ends // sizes)  # (R, longest + fft): not silence
        return torch.where(heard, waves.gather(1, position % sizes), 0.0)


class FeatureFusion(nn.Module):
    """Attentional feature fusion (Dai et al. 2020, arXiv 2009.14082): a weight between two views, for every value."""

    def __init__(self, dim: int, reduction: int) -> None:
        super().__init__()
        inner = dim // reduction
        self.local = nn.Sequential(Linear(dim, inner), nn.ReLU(), Linear(inner, dim))
        self.overall = nn.Sequential(Linear(dim, inner), nn.ReLU(), Linear(inner, dim))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """a, b (R, P, D) -> (R, P, D)."""
        both = a + b
        weight = torch.sigmoid(self.local(both) + self.overall(both.mean(1, keepdim=True)))
        return 2 * a * weight + 2 * b * (1 - weight)


class HTSAT(nn.Module):
    """The audio tower of CLAP. image: side of the square that a log-mel of 10 s is folded to.

    fusion: None, or by how much its inner layers are narrower than the patches.
    """

    def __init__(
        self,
        mels: int,
        image: int,
        patch: int,
        dim: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int,
        *,
        fusion: int | None,
        dropout: float,
    ) -> None:
        super().__init__()
        self.image, self.patch, self.side = image, patch, image // patch
        self.bands = image // mels  # parts of the window, one below the other
        self.gain = nn.Parameter(torch.full((mels,), 1 / SPREAD))
        self.offset = nn.Parameter(torch.full((mels,), -LEVEL / SPREAD))
        self.embed = Linear(patch * patch, dim)
        self.embed_crop = Linear(patch * patch * CROPS, dim) if fusion else None
        self.fusion = FeatureFusion(dim, fusion) if fusion else None
        self.norm = nn.LayerNorm(dim)
        self.swin = Swin(dim, self.side, window, depths, heads, dropout)
        self.dim = self.swin.dim

    def forward(self, mel: Tensor, long: Sequence[int] = ()) -> Tensor:
        """mel (R, C, T, N) in dB, long: indices of the windows to fuse -> (R, D)."""
        return self.swin(self.patches(mel, long))

    def states(self, mel: Tensor, long: Sequence[int] = ()) -> Iterator[Tensor]:
        """The patches and the state after each stage, as hidden_states in transformers: (R, P / 4^k, 2^k D)."""
        return self.swin.states(self.patches(mel, long))

    def patches(self, mel: Tensor, long: Sequence[int] = ()) -> Tensor:
        """(R, C, T, N) -> (R, P, D)."""
        images = self.fold(mel.float() * self.gain.float() + self.offset.float()).to(self.embed.weight.dtype)
        x = self.embed(_tiles(images[:, 0], self.patch, self.patch))  # (R, H, W, D)
        x = x.flatten(1, 2)  # (R, P, D)
        if self.fusion is not None and self.embed_crop is not None and len(long):
            index = torch.tensor(long).to(x.device, non_blocking=True)
            crops = self.embed_crop(_tiles(images[index, 1:], self.patch, self.patch * CROPS))  # (long, 3, H, W', D)
            crops = crops.transpose(1, 2).flatten(2, 3)  # (long, H, 3 W', D), side by side
            crops = F.pad(crops, (0, 0, 0, self.side - crops.shape[2])).flatten(1, 2)
            x = x.index_copy(0, index, self.fusion(x[index], crops))
        return self.norm(x)

    def fold(self, mel: Tensor) -> Tensor:
        """Stretch (R, C, T, N) to the width that fits, and put parts of it one below the other: (R, C, image, image).

        Rows of the image are frequencies of the first part, then of the next.
        """
        if mel.shape[2] < self.image * self.bands:
            size = (self.image * self.bands, mel.shape[3])
            mel = F.interpolate(mel, size, mode="bicubic", align_corners=True)
        return mel.unflatten(2, (self.bands, self.image)).transpose(3, 4).flatten(2, 3)


def views(mel: Tensor, frames: int) -> Tensor:
    """Four views of a long window, mel (T, N) -> (4, frames, N): all of it shrunk, then its start, middle and end."""
    shrunk = F.interpolate(mel[None, None], (frames, mel.shape[1]), mode="bilinear")[0, 0]
    last = len(mel) - frames
    return torch.stack([shrunk, *(mel[start : start + frames] for start in (0, last // 2, last))])


def _tiles(images: Tensor, height: int, width: int) -> Tensor:
    """Tiles of images (..., I, J) without overlap, the rest left out: (..., I / height, J / width, height width)."""
    rows, columns = images.shape[-2] // height, images.shape[-1] // width
    tiles = (
        images[..., : rows * height, : columns * width].unflatten(-2, (rows, height)).unflatten(-1, (columns, width))
    )
    return tiles.transpose(-3, -2).flatten(-2)
