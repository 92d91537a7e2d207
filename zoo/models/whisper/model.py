"""Whisper: speech recognition from weak supervision (Radford et al. 2022, arXiv 2212.04356).

    waveform -> log-mel -> two convolutions -> + positions -> transformer -> frames -> decoder -> text

Legend: L layers, B batch or windows, S samples, M mel frames, N mels, T positions of 20 ms, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn

from zoo.audio import Clip
from zoo.encoder import Frames, Layer
from zoo.errors import AudioError
from zoo.models.tokenized import TOKENIZER, TokenizedEncoder, check_ids
from zoo.models.whisper.config import WhisperConfig
from zoo.models.whisper.decoder import AudioStates, Decoder
from zoo.models.whisper.tokenizer import WhisperTokenizer
from zoo.nn.activation import gelu
from zoo.nn.conv1d import channels_last
from zoo.nn.eval_mode import eval_mode
from zoo.nn.frontend import WhisperMel
from zoo.nn.masking import lengths_to_mask, zero_padding
from zoo.nn.safe_conv import conv2d
from zoo.nn.transformer import Transformer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from zoo.models.whisper.keywords import TranscribeOptions
    from zoo.text.transcript import Transcript

MEL_HOP = 160  # samples
CHUNK = 1_500  # positions encoded at once without gradients; this fits a CPU's caches


class AudioEncoder(nn.Module):
    """Two convolutions, the second of stride 2, then a pre-norm transformer over positions of 20 ms."""

    positions: Tensor

    def __init__(self, mels: int, audio_ctx: int, dim: int, heads: int, layers: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv1d(mels, dim, 3, padding=1)
        self.conv_out = nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        self.register_buffer("positions", sinusoids(audio_ctx, dim))  # (T, D)
        self.transformer = Transformer(layers, dim, heads, 4 * dim, norm_first=True)

    def forward(self, mel: Tensor, mask: Tensor | None, layers: list[int]) -> list[Tensor]:
        """mel (B, M, N), mask (B, T), T = M / 2 -> one (B, T, D) per entry of `layers`."""
        x = mel.to(self.conv_in.weight.dtype).transpose(1, 2).unsqueeze(2)  # (B, N, 1, M)
        for conv in (self.conv_in, self.conv_out):
            x = conv2d(x, channels_last(conv.weight), conv.bias, (1, conv.stride[0]), (0, 1))
            x = gelu(x)
        x = x.squeeze(2).transpose(1, 2)  # (B, T, D)
        x = x + self.positions[: x.shape[1]]
        return self.transformer(x, mask, layers)


class Whisper(TokenizedEncoder):
    """Encoder and decoder of Whisper.

    Layer 0 is the input of the encoder's transformer, positions included. The last layer includes the output norm.

    A clip of S samples has S // 320 frames. Clips of more than 30 s are encoded in overlapping windows. Each window
    counts its positions from its own start, as in training.
    """

    family = "whisper"
    detects_speech = True  # `transcribe` leaves out what its option vad does not take for speech
    Config = WhisperConfig
    tokenizer: WhisperTokenizer | None = None

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.hop, self.min_samples = 16_000, 2 * MEL_HOP, 2 * MEL_HOP
        self.dim, self.num_layers = config.dim, config.encoder_layers
        self.window_samples = config.audio_ctx * self.hop
        self.window_seconds = self.window_samples / self.sample_rate
        self.context_seconds = self.window_seconds * 2 / 15
        self.mel = WhisperMel(config.mels)
        self.encoder = AudioEncoder(config.mels, config.audio_ctx, config.dim, config.heads, config.encoder_layers)
        self.decoder = Decoder(
            config.vocab_size,
            config.text_ctx,
            config.dim,
            config.decoder_heads,
            config.decoder_layers,
            config.alignment_heads,
        )

    @property
    def padding(self) -> str:
        """ "30s" or "none", see WhisperConfig. It may be set on a loaded model."""
        return str(self.config.padding)

    @padding.setter
    def padding(self, value: str) -> None:
        self.config = replace(self.config, padding=value)

    def norm_stats(self, clip: Clip) -> Tensor:
        """The loudest log power of the clip (1,)."""
        return torch.stack([block.amax() for block in self.mel.blocks(clip)]).amax()[None]

    def forward(self, waves: Tensor, lengths: Tensor, *, layer: Layer = -1, norm_stats: Tensor | None = None) -> Frames:
        """As Encoder.forward."""
        layers = self.resolve_layers(layer)
        counts = lengths // self.hop
        clips = [wave[:n] for wave, n in zip(waves, lengths.tolist(), strict=True)]
        mel = self.log_mel(clips, peaks=norm_stats)
        states = self._encode(mel, None if self.padding == "30s" else counts, layers)
        x = states[:, :, : int(counts.max())]  # (L, B, T, D)
        x = zero_padding(x, lengths_to_mask(counts, x.shape[2], x.device))
        return Frames(x[0] if isinstance(layer, int) else x, counts, self.frame_rate, self.first_time)

    def log_mel(
        self,
        clips: Sequence[Tensor],
        *,
        peaks: Tensor | None = None,
        padding: str | None = None,
        pad_positions: int = 1,
    ) -> Tensor:
        """Log-mel of clips of at most 30 s, each relative to its own loudest frame: (B, M, N).

        peaks (B, 1): `norm_stats` of the recordings that the clips are cut from. With padding "30s" M spans 30 s. With
        "none" it spans the longest clip and `pad_positions` positions of silence after it, if they fit.
        Raises AudioError for a clip that is longer than a window.
        """
        padding = self.padding if padding is None else padding
        longest = max(len(clip) for clip in clips)
        if longest > self.window_samples:
            raise AudioError(
                f"waveform {[len(clip) for clip in clips].index(longest)}",
                f"{longest} samples are more than the {self.window_samples} of one window; cut it first",
            )
        positions = self.config.audio_ctx
        if padding == "none":
            positions = min(positions, -(-longest // self.hop) + pad_positions)
        out = []
        for i, clip in enumerate(clips):
            power = self.mel.log_power(clip, end=self.window_samples)[: 2 * positions]  # (M_i, N)
            peak = power.amax() if peaks is None else peaks[i, 0].to(power.dtype)
            silence = power.new_full((2 * positions - len(power), self.mel.mels), math.log10(self.mel.floor))
            out.append(self.mel.compress(torch.cat([power, silence]), peak))
        return torch.stack(out)

    def mel_of(self, clip: Clip) -> Tensor:
        """Log-mel of a whole recording of any length, relative to its loudest frame: (S // 160, N) on the CPU."""
        power = torch.cat(list(self.mel.blocks(clip)))
        return self.mel.compress(power, power.amax())[: max(1, len(clip) // self.mel.hop)]

    def _encode(self, mel: Tensor, lengths: Tensor | None, layers: list[int]) -> Tensor:
        """mel (B, M, N), lengths (B,) attended positions, None = all -> (L, B, T, D).

        Without gradients it runs in chunks of CHUNK positions.
        """
        size = mel.shape[1] // 2
        if torch.is_grad_enabled():
            mask = None if lengths is None else lengths_to_mask(lengths, size, mel.device)
            return torch.stack(self.encoder(mel, mask, layers))
        step = max(1, 2 * CHUNK // mel.shape[1])
        out = mel.new_zeros(len(layers), len(mel), size, self.dim, dtype=self.encoder.conv_in.weight.dtype)
        for i in range(0, len(mel), step):
            rows, used, mask = slice(i, i + step), size, None
            if lengths is not None:  # positions behind the longest clip of the chunk are not used
                used = min(size, int(lengths[rows].max()) + 1)
                mask = lengths_to_mask(lengths[rows], used, mel.device)
            out[:, rows, :used] = torch.stack(self.encoder(mel[rows, : 2 * used], mask, layers))
        return out

    def encode_windows(self, waves: Sequence[Tensor], *, padding: str | None = None) -> AudioStates:
        """Encoder states for the decoder. waves: windows of at most 30 s at 16 kHz.

        With padding "30s" the decoder attends to 30 s of positions, silence included, as published. With "none" it
        attends to the positions of the clip and config.pad_positions of silence, but at least to config.min_positions.
        """
        padding = self.padding if padding is None else padding
        with eval_mode(self):
            counts = torch.tensor([-(-len(wave) // self.hop) for wave in waves])
            attended = (counts + self.config.pad_positions).clamp(min=self.config.min_positions)
            # One position more than is attended: silence must follow the last one, not the convolution's zeros.
            pad_positions = int(attended.max() - counts.max()) + 1
            on_device = [wave.to(self.device) for wave in waves]
            mel = self.log_mel(on_device, padding=padding, pad_positions=pad_positions)
            return self.encode_mel(mel, attended if padding == "none" else None)

    def encode_mel(self, mel: Tensor, lengths: Tensor | None = None) -> AudioStates:
        """As `encode_windows`, from log-mel (B, M, N).

        Without lengths (B,) in positions, zeros pad it to 30 s, as openai-whisper pads the last window of a recording.
        With lengths it is encoded as it is.
        """
        with eval_mode(self):
            if lengths is None:
                mel = nn.functional.pad(mel, (0, 0, 0, 2 * self.config.audio_ctx - mel.shape[1]))
            size = mel.shape[1] // 2
            lengths = torch.full((len(mel),), size) if lengths is None else lengths.clamp(max=size)
            attended = lengths if int(lengths.min()) < size else None
            x = self._encode(mel, attended, [self.num_layers])[0]  # (B, T, D)
            return AudioStates(x[:, : int(lengths.max())], lengths)

    @overload
    def transcribe(
        self, waves: str | Path, sample_rate: int | None = ..., **options: Unpack[TranscribeOptions]
    ) -> Transcript: ...
    @overload
    def transcribe(self, waves: Any, sample_rate: int | None = ..., **options: Unpack[TranscribeOptions]) -> Any: ...
    def transcribe(self, waves: Any, sample_rate: int | None = None, **options: Any) -> Any:
        """A Transcript, or a list of them. For the options see `zoo.models.whisper.longform.transcribe`."""
        from zoo.models.whisper.longform import transcribe

        return transcribe(self, waves, sample_rate, **options)

    def detect_language(self, waves: Any, sample_rate: int | None = None, **options: Any) -> Any:
        """Probability of each language, the likeliest first: {code: probability}, or a list of them.

        For the options see `zoo.models.whisper.language_detection.detect_language`.
        """
        from zoo.models.whisper.language_detection import detect_language

        return detect_language(self, waves, sample_rate, **options)

    def preprocessing(self) -> dict[str, Any]:
        return super().preprocessing() | {"mels": self.config.mels, "padding": self.padding}

    def load_assets(self, directory: Path) -> None:
        if (directory / TOKENIZER).is_file():
            self.tokenizer = WhisperTokenizer.from_file(directory / TOKENIZER)
            check_ids(len(self.tokenizer), self.config.vocab_size, directory)


def sinusoids(length: int, dim: int, longest: float = 10_000.0) -> Tensor:
    """Positions (T, D): sines, then cosines, of wavelengths from 2 pi to 2 pi `longest` (openai/whisper model.py)."""
    rates = torch.exp(-math.log(longest) / (dim // 2 - 1) * torch.arange(dim // 2))  # (D/2,)
    angles = torch.arange(length)[:, None] * rates  # (T, D/2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
