"""Convolutional front ends (waveform or log-mel to frames) and the convolutional position embedding of HuBERT.

The front ends do not pad: frame t of a clip covers the samples [t * hop, t * hop + window), and only real samples. So
the padding after a clip cannot change its frames. Normalization needs the mean and variance over the whole clip. A
front end takes them from `norm_stats`: additive sums over real samples, computed once for a clip of any length. They
are the same whether the clip is encoded whole, in a padded batch or window by window.

Legend: B batch, S samples, T frames, C channels, D width, N mels, K taps of the first convolution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from zoo.nn.activation import gelu
from zoo.nn.frontend import LogMel, Samples
from zoo.nn.kernels.conv1d import channels_last, conv_channels_last
from zoo.nn.kernels.switch import use_kernels
from zoo.nn.linear import Linear
from zoo.nn.masking import lengths_to_mask, zero_padding
from zoo.nn.safe_conv import conv2d

BLOCK = 1 << 20  # samples that norm_stats reads at once; rounded down to a multiple of the step
EPS_WAVE = 1e-7  # added to the variance of a waveform, as in transformers' Wav2Vec2FeatureExtractor


def blocks(clip: Samples, step: int, window: int) -> Iterator[Tensor]:
    """Cut `clip` into overlapping blocks. Together, their frames (one every `step` samples, `window` samples long)
    are the frames of the clip, each exactly once.
    """
    stride = BLOCK // step * step
    for start in range(0, max(len(clip) - window + 1, 1), stride):
        yield clip[start : start + stride + window - step]


class WaveformFrontend(nn.Module):
    """Seven convolutions, 20 ms a frame (HuBERT paper, Table I; wav2vec 2.0, section 2).

    norm "group": GroupNorm with one channel a group, over time, after the first convolution only (Base).
    norm "layer": LayerNorm over channels after each convolution (Large, X-Large).
    normalize:    first normalize the waveform to zero mean and unit variance over the clip.

    The GroupNorm is exact and costs no extra pass. The first convolution outputs w f_t for the K-sample frames f_t.
    With the mean m and covariance V of these frames, its output has mean w m and variance w V w^T over time. The
    normalized output (w f_t - w m) / sqrt(w V w^T + eps) is again a convolution, with other taps and bias for each
    clip. Padding is not part of m or V.
    """

    kernels = (10, 3, 3, 3, 3, 2, 2)
    strides = (5, 2, 2, 2, 2, 2, 2)
    hop = 320
    window = 400
    tile = 200  # frames computed at once on a CPU: the largest activation, 12,800 x C, then nearly fits in the cache

    def __init__(
        self, dim: int, norm: Literal["group", "layer"], *, bias: bool = False, normalize: bool = False
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.group_norm = norm == "group"
        channels = [1] + [dim] * (len(self.kernels) - 1)
        self.convs = nn.ModuleList(
            nn.Conv1d(c, dim, k, s, bias=bias) for c, k, s in zip(channels, self.kernels, self.strides, strict=True)
        )
        norms = [nn.GroupNorm(dim, dim)] if self.group_norm else [nn.LayerNorm(dim) for _ in self.convs]
        self.norms = nn.ModuleList(norms)

    def conv(self, i: int) -> nn.Conv1d:
        return cast(nn.Conv1d, self.convs[i])

    def norm_stats(self, clip: Samples) -> Tensor:
        """float64 sums over one clip: [S, sum x, sum x^2 | frames, sum f (K), sum f f^T (K K)]; additive over time."""
        k, s = self.kernels[0], self.strides[0]
        sums: list[Tensor] = []
        for block in blocks(clip, s, k):
            frames = block.unfold(0, k, s).double()  # (T0, K)
            sums.append(torch.cat([frames.sum(0), (frames.T @ frames).flatten()]))
        frames_sum = torch.stack(sums).sum(0)  # (K + K K,)
        count = frames_sum.new_tensor([(len(clip) - k) // s + 1])
        wave = [torch.stack([x.sum(), x.square().sum()]) for x in (b.double() for b in blocks(clip, 1, 1))]
        length = frames_sum.new_tensor([len(clip)])
        return torch.cat([length, torch.stack(wave).sum(0), count, frames_sum])  # (4 + K + K K,)

    def norm_stats_of(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """`norm_stats` of each clip of a padded batch, waves (B, S), lengths (B,): (B, 4 + K + K K)."""
        if use_kernels(waves):  # padding is not read
            return torch.stack([self.norm_stats(w[:n]) for w, n in zip(waves, lengths.tolist(), strict=True)])
        k, s = self.kernels[0], self.strides[0]
        counts = (lengths - k) // s + 1  # (B,)
        frames = waves.unfold(1, k, s)  # (B, T0, K)
        frames = zero_padding(frames, lengths_to_mask(counts, frames.shape[1], waves.device)).double()
        products = frames.transpose(1, 2) @ frames  # (B, K, K)
        wave = torch.where(lengths_to_mask(lengths, waves.shape[1], waves.device), waves, 0.0).double()
        sizes = torch.stack([lengths, counts]).to(waves.device, torch.float64, non_blocking=True)  # (2, B)
        sums = torch.stack([sizes[0], wave.sum(1), wave.square().sum(1), sizes[1]], dim=1)  # (B, 4)
        return torch.cat([sums, frames.sum(1), products.flatten(1)], dim=1)

    def forward(self, waves: Tensor, lengths: Tensor, norm_stats: Tensor | None = None) -> Tensor:
        """waves (B, S) float32, lengths (B,) samples, norm_stats (B, ...) of whole clips -> (B, T, C).

        Frames past the end of a clip have no meaning.
        """
        if norm_stats is None:
            norm_stats = self.norm_stats_of(waves, lengths)
        dtype = self.conv(0).weight.dtype
        taps, bias = (t.to(dtype) for t in self._first_filters(norm_stats))  # (B, K, C), (B, 1, C)
        waves = waves.to(dtype)
        if use_kernels(waves) and not torch.is_grad_enabled():
            return self._convolve_by_tiles(waves, lengths, taps, bias)
        return self._convolve(waves, taps, bias, self._later_weights())

    def _first_filters(self, norm_stats: Tensor) -> tuple[Tensor, Tensor]:
        """Taps (B, K, C) and bias (B, 1, C) of each clip: input normalization, first convolution and (Base) GroupNorm
        folded into one convolution.
        """
        k = self.kernels[0]
        wave, frames = norm_stats.split([3, norm_stats.shape[1] - 3], dim=1)
        conv = self.conv(0)
        w = conv.weight.double().squeeze(1).expand(len(norm_stats), -1, -1)  # (B, C, K)
        b = w.new_zeros(w.shape[:2]) if conv.bias is None else conv.bias.double().expand(len(w), -1)  # (B, C)
        if self.normalize:
            mean = wave[:, 1] / wave[:, 0]
            scale = (wave[:, 2] / wave[:, 0] - mean.square()).clamp(min=0).add(EPS_WAVE).rsqrt()  # (B,)
            w = w * scale[:, None, None]
            b = b - mean[:, None] * w.sum(-1)
        if self.group_norm:
            norm = cast(nn.GroupNorm, self.norms[0])
            center = frames[:, 1 : k + 1] / frames[:, :1]  # (B, K)
            second = (frames[:, k + 1 :] / frames[:, :1]).unflatten(1, (k, k))
            covariance = second - center[:, :, None] * center[:, None, :]  # (B, K, K)
            variance = ((w @ covariance) * w).sum(-1).clamp(min=0)  # (B, C)
            gain = norm.weight.double() * (variance + norm.eps).rsqrt()
            w = w * gain[..., None]
            b = norm.bias.double() - (w @ center[..., None]).squeeze(-1)  # the convolution's own bias cancels
        return w.transpose(1, 2), b[:, None]

    def _later_weights(self) -> list[Tensor]:
        return [channels_last(self.conv(i).weight) for i in range(1, len(self.convs))]

    def _convolve(self, waves: Tensor, taps: Tensor, bias: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """(B, S) -> (B, T, C)."""
        frames = waves.unfold(1, self.kernels[0], self.strides[0])  # (B, T0, K)
        x = torch.baddbmm(bias, frames, taps)  # (B, T0, C)
        x = gelu(x if self.group_norm else self.norms[0](x))
        for i, weight in enumerate(weights, start=1):
            x = conv_channels_last(x, weight, self.conv(i).bias, self.strides[i])
            x = gelu(x if self.group_norm else self.norms[i](x))
        return x

    def _convolve_by_tiles(self, waves: Tensor, lengths: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
        """As `_convolve`, clip by clip in tiles that fit in the cache; padding is not computed."""
        weights = self._later_weights()
        counts = [(n - self.window) // self.hop + 1 for n in lengths.tolist()]
        total = (waves.shape[1] - self.window) // self.hop + 1
        out = waves.new_zeros(len(waves), total, taps.shape[2])  # (B, T, C)
        for b, count in enumerate(counts):
            for t in range(0, count, self.tile):
                end = min(t + self.tile, count)
                samples = waves[b : b + 1, t * self.hop : (end - 1) * self.hop + self.window]
                out[b : b + 1, t:end] = self._convolve(samples, taps[b : b + 1], bias[b : b + 1], weights)
        return out


class LogMelFrontend(nn.Module):
    """Log-mel relative to the mean power of the clip, then two convolutions of width 5. This is the cheap front end of
    Fast-HuBERT (arXiv 2309.13860), 40 or 20 ms a frame.

    One level for all bands removes the loudness of a recording and nothing else. Normalization of each band by its mean
    and deviation is common, but it removes differences between speakers, turns the empty bands of telephone speech into
    white noise, and leaves nothing of a clip with a single vowel.
    """

    depth = 16.0  # floor: values more than 16 nats (69 dB) below the mean power are raised to it
    offset, scale = 6.0, 4.0  # normalize speech to about zero mean and unit variance

    def __init__(self, dim: int, sample_rate: int, frame_ms: int, mels: int = 80) -> None:
        super().__init__()
        self.logmel = LogMel(sample_rate, mels)
        self.conv_in = nn.Conv1d(mels, dim, 5, 2)
        self.conv_out = nn.Conv1d(dim, dim, 5, frame_ms // 20)
        self.hop = self.logmel.hop * 2 * (frame_ms // 20)
        self.window = self.logmel.window + self.logmel.hop * (4 + 2 * 4)

    def norm_stats(self, clip: Samples) -> Tensor:
        """float64 (2,): number of mel frames of one clip, and the sum over frames of the mean power of all bands."""
        sums = []
        for block in blocks(clip, self.logmel.hop, self.logmel.window):
            mel = self.logmel(block[None])  # (1, T0, N)
            sums.append(self._norm_stats_of(mel, torch.tensor([mel.shape[1]])))
        return torch.cat(sums).sum(0)  # (2,)

    def _norm_stats_of(self, mel: Tensor, counts: Tensor) -> Tensor:
        """The same for a batch: mel (B, T0, N), counts (B,) real frames of each clip -> (B, 2)."""
        power = mel.exp().mean(2).double()  # (B, T0)
        real = torch.where(lengths_to_mask(counts, mel.shape[1], mel.device), power, 0.0)
        return torch.stack([counts.to(mel.device, torch.float64, non_blocking=True), real.sum(1)], dim=1)

    def forward(self, waves: Tensor, lengths: Tensor, norm_stats: Tensor | None = None) -> Tensor:
        """waves (B, S) float32, lengths (B,) samples, norm_stats (B, 2) of whole clips -> (B, T, C)."""
        mel = self.logmel(waves)  # (B, T0, N)
        if norm_stats is None:
            norm_stats = self._norm_stats_of(mel, (lengths - self.logmel.window) // self.logmel.hop + 1)
        level = (norm_stats[:, 1] / norm_stats[:, 0]).log().float()  # (B,)
        x = (mel - level[:, None, None]).clamp(min=-self.depth)
        x = ((x + self.offset) / self.scale).to(self.conv_in.weight.dtype)
        for conv in (self.conv_in, self.conv_out):
            x = gelu(conv_channels_last(x, channels_last(conv.weight), conv.bias, conv.stride[0]))
        return x  # (B, T, C)


class FeatureProjection(nn.Module):
    """LayerNorm and a linear layer from front end width to transformer width."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.linear = Linear(channels, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x))


class ConvPosition(nn.Module):
    """Convolutional position embedding gelu(conv(x)), a wide grouped convolution over the frames; the caller adds it
    to the frames.

    x must be zero on padding. fairseq's weight norm is already applied to the weight: g v / ||v||.
    """

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, dim // groups, kernel))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.groups = groups
        nn.init.normal_(self.weight, std=(4 / (kernel * dim)) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        kernel = self.weight.shape[2]
        weight = channels_last(self.weight)
        channels = x.transpose(1, 2).unsqueeze(2)  # (B, D, 1, T)
        y = conv2d(channels, weight, self.bias, padding=(0, kernel // 2), groups=self.groups)
        y = y[..., : x.shape[1]]  # an even kernel makes one frame too many
        return gelu(y.squeeze(2).transpose(1, 2))
