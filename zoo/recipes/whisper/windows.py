"""What the model hears at once: clips, clips packed one behind the other, or stretches of a long recording.

    clips         |a......|b...|c..........|d..      the first clip is the item's own, the rest is drawn
    recording   ~~|a......|  |b...|   |c..........   entries that are spans of one file, in order
                  window---------------------->

A window begins where its item begins. What is only begun at its end counts as heard, not written: with times, the time
at which it starts is the last token; without, the window ends before it (Radford et al. 2022, section 2.3).
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
Played = tuple[int, Fraction]  # a clip's place among the entries, and how many times as fast it is played
SLACK = 0.1  # s by which clips may outlast their stated durations, and so the window that was planned for them
LEVELS = (-80.0, -20.0)  # dB re full scale: of windows without speech


@dataclass(frozen=True)
class TimedText:
    """text, said from start to end (s into the window); end None: it goes on after the window."""

    text: str
    start: float
    end: float | None


@dataclass
class TrainingWindow(LoadedClip):
    """An item with what is said in it, nothing if segments is empty; previous: what was said before; stamped: whether
    the text is to have times.
    """

    segments: list[TimedText]
    previous: str = ""
    stamped: bool = False

    @property
    def text(self) -> str:
        """All that is written."""
        return " ".join(segment.text for segment in self.segments if segment.end is not None)


class WindowDataset(AudioDataset):
    """Windows of at most `seconds`, one for each entry; all that is random comes from the item's seed.

    count: tokens of a text, of which a window may have `tokens`, times included. Not in `training`, every clip stands
    alone, without what was said before, and stamped only if all of them are. known: all entries that there are; no
    window reaches across a span of its recording that is not among `entries`, of another split or left out.
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
        known: Sequence[Entry] = (),
    ) -> None:
        super().__init__(entries, sample_rate, min_samples=min_samples, cache_hours=cache_hours)
        self.config, self.augment, self.window, self.tokens = config, augment, seconds, tokens
        self.training = training
        self._sizes = {i: count(entry.text or "") + SEGMENT_TOKENS for i, entry in enumerate(self.entries)}
        self._following = _following(self.entries, known)
        self._before = {after: before for before, after in self._following.items()}
        self._pools: dict[str | None, list[int]] = {}
        for index, entry in enumerate(self.entries):
            if entry.text and not self._in_recording(index):
                self._pools.setdefault(entry.lang, []).append(index)

    @property
    def seconds(self) -> list[float]:
        """Length of each window, as far as it is known before its items are drawn."""
        return [self._planned(index) for index in range(len(self))]

    def fingerprint(self) -> str:
        """As AudioDataset's, and over the texts."""
        texts = hashlib.sha256("\n".join(entry.text or "" for entry in self.entries).encode()).hexdigest()
        return super().fingerprint()[:8] + texts[:8]

    def item(self, index: int, seed: int) -> TrainingWindow:
        """Raises AudioError for audio that cannot be used."""
        draws, config, entry = Random(seed), self.config, self.entries[index]
        if not self.training:
            return self._window(index, seed, [(index, Fraction(1))], stamped=self.config.timestamps == 1)
        if draws.random() < config.no_speech:
            return TrainingWindow(self._noise(self._planned(index), draws), index, entry, 0, seed, [])
        stamped = draws.random() < config.timestamps
        if self._in_recording(index):
            window = self._stretch(index, seed, stamped)
        else:
            window = self._window(index, seed, self._pack(index, seed, draws), stamped)
        if draws.random() < config.previous:
            window.previous = self._previous(index, draws)
        return window

    def _planned(self, index: int) -> float:
        filled = self.training and (self._packs(index) or self._in_recording(index))
        return self.window if filled else self.entries[index].duration

    def _packs(self, index: int) -> bool:
        """Whether the clip's window is filled up; fixed, so that batches can be planned."""
        fits = bool(self.entries[index].text) and not self._in_recording(index)
        return fits and mix(index, 3) % 1000 < 1000 * self.config.packed

    def _in_recording(self, index: int) -> bool:
        return index in self._following or index in self._before

    def _pack(self, index: int, seed: int, draws: Random) -> list[Played]:
        """The clip, and others of its language until the next one does not fit."""
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
        """How many times as fast a clip is played; its own speed where it would not fit into a window any more."""
        speed = draw_speed(seed, self.augment.speed)
        seconds = self.entries[index].duration / speed
        return (
            speed if self.min_samples <= seconds * self.sample_rate <= self.window * self.sample_rate else Fraction(1)
        )

    def _window(self, index: int, seed: int, clips: Sequence[Played], stamped: bool = False) -> TrainingWindow:
        """Clips, one behind the other. Raises AudioError for one that outlasts the window, whatever is stated."""
        waves, segments, place = [], [], 0
        most = round(self.window * self.sample_rate)
        for number, (clip, speed) in enumerate(clips):
            entry, wave = self.entries[clip], speed_perturb(self._usable(clip), speed)
            end = place + len(wave)
            if end > most + SLACK * self.sample_rate:  # half of it would be heard, all of it written
                if number:
                    break
                lasts = f"lasts {len(wave) / self.sample_rate:.2f} s, not the stated {entry.duration:g} s"
                raise AudioError(entry.audio, f"{lasts}: longer than a window of {self.window:g} s")
            waves.append(self._heard(wave, mix(seed, number)))
            if entry.text:
                segments.append(TimedText(entry.text, place / self.sample_rate, min(end, most) / self.sample_rate))
            place = end
        wave = torch.cat(waves)[:most]
        return TrainingWindow(wave, index, self.entries[index], 0, seed, segments, stamped=stamped)

    def _stretch(self, index: int, seed: int, stamped: bool) -> TrainingWindow:
        """A recording from an entry on, as far as the window reaches.

        Speakers may talk over each other, but written times never run backwards, which decoding would not allow: a
        segment begins no sooner than the one before ends, and joins it where it ends no later.
        """
        first = self.entries[index]
        begin = stop = first.start or 0.0
        segments: list[TimedText] = []
        tokens, place = self.tokens, index
        while place in self._sizes:
            entry, tokens = self.entries[place], tokens - self._sizes[place]
            start = entry.start or 0.0
            end = start + entry.duration
            if start >= begin + self.window or (segments and tokens < 0):
                break
            if end > begin + self.window:
                if stamped and entry.text:
                    segments.append(TimedText(entry.text, max(start, stop) - begin, None))
                    stop = begin + self.window
                break
            if entry.text and segments and end <= stop:
                segments[-1] = replace(segments[-1], text=f"{segments[-1].text} {entry.text}")
            elif entry.text:
                segments.append(TimedText(entry.text, max(start, stop) - begin, end - begin))
            stop, place = max(stop, end), self._following.get(place, -1)
        wave = audio.load(first.audio, self.sample_rate, start=begin, end=stop)[:]
        return TrainingWindow(self._heard(wave, seed), index, first, 0, seed, segments, stamped=stamped)

    def _heard(self, wave: Tensor, seed: int) -> Tensor:
        """(S,) -> (S,): with noise over it, through another microphone, without its high frequencies, in training."""
        if not self.training:
            return wave
        draws = np.random.default_rng(mix(seed, 4))
        if draws.random() < self.augment.noise:
            wave = mix_at_snr(wave, noise(len(wave), draws), NOISE_DB, 1.0, draws)
        wave = random_eq(wave, seed, self.augment.microphone, self.sample_rate)
        return low_pass(wave, seed, self.augment.band, self.sample_rate)

    def _previous(self, index: int, draws: Random) -> str:
        """What was said before: in a recording, the entries before; for a clip, another of its language."""
        if self._in_recording(index):
            texts: list[str] = []
            place = index
            while place in self._before and sum(map(len, texts)) < 8 * self.tokens:
                place = self._before[place]
                texts.insert(0, self.entries[place].text or "")
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
        """Noise of a random level and color, dull to sharp."""
        generator = torch.Generator().manual_seed(draws.getrandbits(62))
        white = torch.randn(max(self.min_samples, round(seconds * self.sample_rate)) + 1, generator=generator)
        color = draws.uniform(-0.9, 0.9)
        return (white[1:] + color * white[:-1]) * 10 ** (draws.uniform(*LEVELS) / 20)


def _following(entries: Sequence[Entry], known: Sequence[Entry]) -> dict[int, int]:
    """Entry -> the one that follows it in the same recording, with none of the known between them.

    A recording is a file of which entries are spans.
    """
    places = {_span(entry): i for i, entry in enumerate(entries) if entry.start is not None}
    others = {_span(entry) for entry in known if entry.start is not None} - places.keys()
    order = sorted([*places, *others])
    return {places[a]: places[b] for a, b in pairwise(order) if a[0] == b[0] and a in places and b in places}


def _span(entry: Entry) -> tuple[str, float, float]:
    """File, start and length, by which spans are told apart and ordered."""
    return str(entry.audio), entry.start or 0.0, entry.duration
