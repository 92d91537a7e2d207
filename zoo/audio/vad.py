"""Voice activity detection: spans of speech by Silero or by an energy gate, and windows cut from them.

    |....sss.ss..........sssssssssssssssssssssss.sssss....|     s: likely speech
    |   [------]        [------------------------------]  |     spans, with a margin
    |   <------>        <-----------------><----------->  |     windows of at most 30 s, cut where
    |                                                    |     speech is least likely

Legend: S samples, T frames of 32 ms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.audio import Clip, silero
from zoo.errors import ConfigError

DETECTORS = ("auto", "silero", "energy", "none")
SAMPLE_RATE = 16_000
FRAME = silero.FRAME
BLOCK = FRAME * 4096  # samples of a clip in memory at once
Span = tuple[int, int]
"""First and last + 1 sample."""

SILENCE = -90.0  # dB, the noise of 16 bits; frames are never taken for quieter
ABOVE_FLOOR = 9.0  # dB by which speech exceeds the quietest tenth of its recording
BELOW_PEAK = 35.0  # dB below the loudest frames at which speech ends
QUIETEST = 1e-4  # peak (-80 dBFS) of a clip that is scaled; below, there are only a few bits of noise
MIN_RANGE = 8.0  # dB between loud and quiet frames; steady noise and hum have less, speech has much more


@dataclass(frozen=True)
class VoiceActivity:
    """Detector, and settings for spans of speech.

    A span begins at a frame with a probability of at least `threshold`. It ends before `min_silence` seconds in which
    the probability stays 0.15 or more below the threshold. Spans shorter than min_speech seconds are dropped; `margin`
    seconds are added at both ends.
    detector: "silero", "energy" (needs no package), "auto" = silero if it is installed, "none" = all is speech.
    Raises ConfigError for values that are unknown or out of range.
    """

    detector: str = "auto"
    threshold: float = 0.5
    min_speech: float = 0.1
    min_silence: float = 0.5
    margin: float = 0.3

    def __post_init__(self) -> None:
        if self.detector not in DETECTORS:
            raise ConfigError(f"vad {self.detector!r} is unknown; choose one of {', '.join(DETECTORS)}")
        if not 0 < self.threshold < 1 or min(self.min_speech, self.min_silence, self.margin) < 0:
            raise ConfigError(f"{self}: threshold must lie between 0 and 1, and no duration below 0")

    @property
    def _silero(self) -> bool:
        return self.detector == "silero" or (self.detector == "auto" and silero.available())

    def check(self) -> None:
        """Raises MissingDependencyError for a detector that is not installed, as `probabilities` would."""
        if self._silero:
            silero.silero()

    def probabilities(self, clip: Clip) -> Tensor:
        """clip (S,) at 16 kHz -> (T,). Raises MissingDependencyError for "silero" if it is not installed.

        The clip is scaled to a peak of 1 first: Silero misses quiet speech, which models of speech understand.
        """
        if self.detector == "none":
            return torch.ones(math.ceil(len(clip) / FRAME))
        return silero.probabilities(clip, _gain(clip)) if self._silero else energy(clip, _gain(clip))

    def spans(self, probabilities: Tensor, samples: int) -> list[Span]:
        """Spans of speech in a clip of `samples` samples, in order, without overlap."""
        if self.detector == "none":
            return [(0, samples)]
        runs = _hysteresis(probabilities, self.threshold, max(self.threshold - 0.15, 0.01))
        silence, margin = self.min_silence * SAMPLE_RATE, int(self.margin * SAMPLE_RATE)
        joined = join(runs, silence)
        long_enough = [(a, b) for a, b in joined if b - a >= self.min_speech * SAMPLE_RATE]
        padded = [(max(0, a - margin), min(samples, b + margin)) for a, b in long_enough]
        return join(padded, 0)


def energy(clip: Clip, gain: float = 1.0) -> Tensor:
    """1.0 for frames (T,) that are louder than the quiet parts of their clip, else 0.0.

    A steady sound counts as no speech. For clean recordings only: music and other sounds count as speech.
    gain: the clip is multiplied by it.
    """
    level = torch.cat([_level(clip[i : i + BLOCK] * gain) for i in range(0, len(clip), BLOCK)])  # (T,)
    loud, quiet = level.quantile(0.95), level.quantile(0.1).clamp(min=SILENCE)
    if loud - quiet < MIN_RANGE and len(level) > 1:
        return torch.zeros(len(level))
    above = torch.minimum(quiet + ABOVE_FLOOR, loud - MIN_RANGE / 2)
    return (level > torch.maximum(above, loud - BELOW_PEAK)).float()


def _gain(clip: Clip) -> float:
    """What scales the clip to a peak of 1."""
    peak = max(float(clip[i : i + BLOCK].abs().max()) for i in range(0, len(clip), BLOCK))
    return 1 / peak if peak >= QUIETEST else 1.0


def _level(wave: Tensor) -> Tensor:
    """Level of frames (T,) in dB re full scale."""
    padded = torch.nn.functional.pad(wave, (0, -len(wave) % FRAME)).view(-1, FRAME)
    centered = padded - padded.mean(1, keepdim=True)  # without the constant offset
    return 10 * centered.square().mean(1).clamp(min=1e-12).log10()


def _hysteresis(probabilities: Tensor, begin: float, end: float) -> list[Span]:
    """Runs of frames at `end` or above that reach `begin` at least once, in samples."""
    active = torch.nn.functional.pad(probabilities >= end, (1, 1)).int().diff()  # +1 at starts, -1 after ends
    starts, stops = (active == 1).nonzero()[:, 0].tolist(), (active == -1).nonzero()[:, 0].tolist()
    num_begin = torch.nn.functional.pad((probabilities >= begin).int().cumsum(0), (1, 0)).tolist()
    return [(a * FRAME, b * FRAME) for a, b in zip(starts, stops, strict=True) if num_begin[b] > num_begin[a]]


def join(spans: list[Span], gap: float) -> list[Span]:
    """Spans in order -> the same; spans with at most `gap` samples between them are joined."""
    joined: list[Span] = []
    for start, stop in spans:
        if joined and start - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


def windows(spans: list[Span], probabilities: Tensor, longest: int, gap: float) -> list[Span]:
    """Windows of at most `longest` samples that cover the spans. Spans at most `gap` samples apart share a window.

    A longer span is cut in the second half of the window, at the frame where speech is least likely.
    """
    windows: list[Span] = []
    for start, stop in spans:
        if windows and start - windows[-1][1] <= gap and stop - windows[-1][0] <= longest:
            windows[-1] = (windows[-1][0], stop)
            continue
        while stop - start > longest:
            first, last = (start + longest // 2) // FRAME, (start + longest) // FRAME
            cut = (first + int(_least_likely(probabilities[first:last]))) * FRAME
            windows.append((start, cut))
            start = cut
        windows.append((start, stop))
    return windows


def _least_likely(probabilities: Tensor) -> Tensor:
    """Index of the least likely frame after smoothing; the last one of equals."""
    if not len(probabilities):
        return torch.tensor(0)
    smooth = torch.nn.functional.avg_pool1d(probabilities[None], 5, 1, 2, count_include_pad=False)[0]
    return len(smooth) - 1 - smooth.flip(0).argmin()
