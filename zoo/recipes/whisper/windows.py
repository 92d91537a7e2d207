"""Training windows: single clips, several clips packed one after the other, or stretches of a long recording.

    clips         |a......|b...|c..........|d..      the first clip belongs to the item, the others are drawn
    recording   ~~|a......|  |b...|   |c..........   entries that are spans of one file, in order
                  window---------------------->

A window begins with its item. Speech that begins in the window but ends after it has no text: with times, its start is
the last token; without times, the window ends before it (Radford et al. 2022, section 2.3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from random import Random

import numpy as np
import torch
from torch import Tensor

from zoo import audio
from zoo.audio.augment import NOISE_DB, draw_speed, low_pass, mix_at_snr, noise, random_eq, speed_perturb
from zoo.data.dataset import AudioDataset, LoadedClip
from zoo.data.manifest import Entry
from zoo.errors import AudioError
from zoo.io.seeds import mix
from zoo.recipes.whisper.config import WhisperAugmentConfig, WindowConfig

SEGMENT_TOKENS = 2  # times of a segment, beside its text
ClipSpeed = tuple[int, Fraction]  # index of an entry, and the factor by which it is faster
SLACK = 0.1  # s by which clips may be longer than their durations in the manifest, and so longer than their window
LEVELS = (-80.0, -20.0)  # dB re full scale, of windows without speech


@dataclass(frozen=True)
class TimedText:
    """A text from start to end (s into the window); end None: it continues after the window."""

    text: str
    start: float
    end: float | None


@dataclass
class TrainingWindow(LoadedClip):
    """An item with its texts, none if it holds no speech.

    previous: the text before the window; with_timestamps: whether the target has times.
    """

    segments: list[TimedText]
    previous: str = ""
    with_timestamps: bool = False

    @property
    def text(self) -> str:
        """The texts of all segments that end in the window."""
        return " ".join(segment.text for segment in self.segments if segment.end is not None)


class WindowDataset(AudioDataset):
    """Windows of at most `seconds`, one for each entry. All random choices come from the item's seed.

    count: function that counts the tokens of a text; a window has at most `tokens`, times included.
    training: if False, every clip is alone in its window, without previous text, and has times only if all clips have.
    all_entries: the entries of all splits and choices. A window never includes a span of its recording that is not
    in `entries`.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        sample_rate: int,
        config: WindowConfig,
        augment: WhisperAugmentConfig,
        *,
        seconds: float,
        count: Callable[[str], int],
        tokens: int,
        training: bool,
        min_samples: int = 1,
        cache_hours: float = 0.0,
        all_entries: Sequence[Entry] = (),
    ) -> None:
        super().__init__(entries, sample_rate, min_samples=min_samples, cache_hours=cache_hours)
        self.config, self.augment, self.window, self.tokens = config, augment, seconds, tokens
        self.training = training
        self._sizes = {i: count(entry.text or "") + SEGMENT_TOKENS for i, entry in enumerate(self.entries)}
        self._following = _following(self.entries, all_entries)
        self._before = {after: before for before, after in self._following.items()}
        self._pools: dict[str | None, list[int]] = {}
        for index, entry in enumerate(self.entries):
            if entry.text and not self._in_recording(index):
                self._pools.setdefault(entry.lang, []).append(index)

    @property
    def seconds(self) -> list[float]:
        """Planned length of each window, before its clips are drawn."""
        return [self._planned_seconds(index) for index in range(len(self))]

    def fingerprint(self) -> str:
        """As AudioDataset.fingerprint, and over the texts."""
        texts = hashlib.sha256("\n".join(entry.text or "" for entry in self.entries).encode()).hexdigest()
        return super().fingerprint()[:8] + texts[:8]

    def item(self, index: int, seed: int) -> TrainingWindow:
        """The window of an entry. Raises AudioError for audio that cannot be used."""
        draws, config, entry = Random(seed), self.config, self.entries[index]
        if not self.training:
            return self._window(index, seed, [(index, Fraction(1))], with_timestamps=self.config.timestamps == 1)
        if draws.random() < config.no_speech:
            return TrainingWindow(self._noise(self._planned_seconds(index), draws), index, entry, 0, seed, [])
        with_timestamps = draws.random() < config.timestamps
        if self._in_recording(index):
            window = self._stretch(index, seed, with_timestamps)
        else:
            window = self._window(index, seed, self._pack(index, seed, draws), with_timestamps)
        if draws.random() < config.previous:
            window.previous = self._previous(index, draws)
        return window

    def _planned_seconds(self, index: int) -> float:
        filled = self.training and (self._packs(index) or self._in_recording(index))
        return self.window if filled else self.entries[index].duration

    def _packs(self, index: int) -> bool:
        """Whether the clip's window has further clips. It depends on the index only, so that batches can be planned."""
        possible = bool(self.entries[index].text) and not self._in_recording(index)
        return possible and mix(index, 3) % 1000 < 1000 * self.config.packed

    def _in_recording(self, index: int) -> bool:
        return index in self._following or index in self._before

    def _pack(self, index: int, seed: int, draws: Random) -> list[ClipSpeed]:
        """The clip, and random clips of its language until one does not fit."""
        chosen = [(index, self._speed(index, mix(seed, 0)))]
        left, tokens = self.window - self.entries[index].duration / chosen[0][1], self.tokens - self._sizes[index]
        pool = self._pools.get(self.entries[index].lang, ())
        while self._packs(index) and pool:
            other = draws.choice(pool)
            speed = self._speed(other, mix(seed, len(chosen)))
            left, tokens = left - self.entries[other].duration / speed, tokens - self._sizes[other]
            if left < 0 or tokens < 0:
                break
            chosen.append((other, speed))
        return chosen

    def _speed(self, index: int, seed: int) -> Fraction:
        """Random speed factor of a clip; 1 if the clip would not fit into a window."""
        speed = draw_speed(seed, self.augment.speed)
        seconds = self.entries[index].duration / speed
        fits = self.min_samples <= seconds * self.sample_rate <= self.window * self.sample_rate
        return speed if fits else Fraction(1)

    def _window(
        self, index: int, seed: int, clips: Sequence[ClipSpeed], with_timestamps: bool = False
    ) -> TrainingWindow:
        """Clips, one after the other. Raises AudioError for a file that is longer than the window."""
        waves, segments, begin = [], [], 0
        max_samples = round(self.window * self.sample_rate)
        for number, (clip, speed) in enumerate(clips):
            entry, wave = self.entries[clip], speed_perturb(self._usable(clip), speed)
            end = begin + len(wave)
            if end > max_samples + SLACK * self.sample_rate:  # its audio would be cut, but not its text
                if number:
                    break
                lasts = f"lasts {len(wave) / self.sample_rate:.2f} s, not the stated {entry.duration:g} s"
                raise AudioError(entry.audio, f"{lasts}: longer than a window of {self.window:g} s")
            waves.append(self._augmented(wave, mix(seed, number)))
            if entry.text:
                segments.append(
                    TimedText(entry.text, begin / self.sample_rate, min(end, max_samples) / self.sample_rate)
                )
            begin = end
        wave = torch.cat(waves)[:max_samples]
        return TrainingWindow(wave, index, self.entries[index], 0, seed, segments, with_timestamps=with_timestamps)

    def _stretch(self, index: int, seed: int, with_timestamps: bool) -> TrainingWindow:
        """A stretch of a recording from the start of an entry to the end of the window.

        Speakers may overlap, but decoding does not allow times that decrease. So a segment begins at the end of the
        segment before at the earliest. If it also ends before that, both are joined.
        """
        first = self.entries[index]
        begin = stop = first.start or 0.0
        segments: list[TimedText] = []
        tokens, i = self.tokens, index
        while i in self._sizes:
            entry, tokens = self.entries[i], tokens - self._sizes[i]
            start = entry.start or 0.0
            end = start + entry.duration
            if start >= begin + self.window or (segments and tokens < 0):
                break
            if end > begin + self.window:
                if with_timestamps and entry.text:
                    segments.append(TimedText(entry.text, max(start, stop) - begin, None))
                    stop = begin + self.window
                break
            if entry.text and segments and end <= stop:
                segments[-1] = replace(segments[-1], text=f"{segments[-1].text} {entry.text}")
            elif entry.text:
                segments.append(TimedText(entry.text, max(start, stop) - begin, end - begin))
            stop, i = max(stop, end), self._following.get(i, -1)
        wave = audio.load(first.audio, self.sample_rate, start=begin, end=stop)[:]
        wave = self._augmented(wave, seed)
        return TrainingWindow(wave, index, first, 0, seed, segments, with_timestamps=with_timestamps)

    def _augmented(self, wave: Tensor, seed: int) -> Tensor:
        """(S,) -> (S,): in training with random noise, gain over frequency and low-pass filter."""
        if not self.training:
            return wave
        draws = np.random.default_rng(mix(seed, 4))
        if draws.random() < self.augment.noise:
            wave = mix_at_snr(wave, noise(len(wave), draws), NOISE_DB, 1.0, draws)
        wave = random_eq(wave, seed, self.augment.microphone, self.sample_rate)
        return low_pass(wave, seed, self.augment.band, self.sample_rate)

    def _previous(self, index: int, draws: Random) -> str:
        """The text before the window: in a recording, the entries before; for a clip, a random text of its language."""
        if self._in_recording(index):
            texts: list[str] = []
            i = index
            while i in self._before and sum(map(len, texts)) < 8 * self.tokens:
                i = self._before[i]
                texts.insert(0, self.entries[i].text or "")
            return " ".join(filter(None, texts))
        pool = self._pools.get(self.entries[index].lang, ())
        return self.entries[draws.choice(pool)].text or "" if pool else ""

    def _usable(self, index: int) -> Tensor:
        wave = self._whole(index)
        if len(wave) < self.min_samples:
            reason = f"{len(wave)} samples at {self.sample_rate} Hz are too short: {self.min_samples} are needed"
            raise AudioError(self.entries[index].audio, reason)
        return wave

    def _noise(self, seconds: float, draws: Random) -> Tensor:
        """Noise of a random level and color."""
        generator = torch.Generator().manual_seed(draws.getrandbits(62))
        white = torch.randn(max(self.min_samples, round(seconds * self.sample_rate)) + 1, generator=generator)
        color = draws.uniform(-0.9, 0.9)
        return (white[1:] + color * white[:-1]) * 10 ** (draws.uniform(*LEVELS) / 20)


def _following(entries: Sequence[Entry], all_entries: Sequence[Entry]) -> dict[int, int]:
    """Index of an entry -> index of the next one in the same recording, if none of all_entries lies between them.

    Entries with a start are spans of a recording.
    """
    indices = {_span(entry): i for i, entry in enumerate(entries) if entry.start is not None}
    others = {_span(entry) for entry in all_entries if entry.start is not None} - indices.keys()
    order = sorted([*indices, *others])
    return {indices[a]: indices[b] for a, b in pairwise(order) if a[0] == b[0] and a in indices and b in indices}


def _span(entry: Entry) -> tuple[str, float, float]:
    """File, start and length: the key and the order of spans."""
    return str(entry.audio), entry.start or 0.0, entry.duration
