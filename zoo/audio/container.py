"""Containers and videos (mp4, m4a, mkv, webm, mov, ts, ...) through PyAV; the first audio track is read.

Legend: S samples, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from zoo.audio.resampling import BLOCK
from zoo.audio.samples import fold, mp3_settle, to_float
from zoo.errors import AudioError

# Demuxers that take the duration from an index or header; the others guess it from the bit rate.
INDEXED = ("mp4", "matroska", "avi", "asf", "wv", "flac")
MISTIMED = ("ogg",)  # after a seek, time stamps of FLAC in Ogg are wrong by frames: it is read from its beginning
FAULTS = (av.FFmpegError, IndexError)  # IndexError: PyAV met a track that no header announced
SETTLE = 0.25  # seconds decoded before a span and dropped: overlapped transforms need the frames before
SHORT = 0.5  # seconds by which a whole recording may end before its stated duration (padding, rounding)


class ContainerSource:
    """A recording that ffmpeg reads.

    `samples` is always None: containers state a duration, to a millisecond at best. Time 0 is the start of the track;
    a span that begins later is placed by the container's time stamps, which Matroska and WebM round to milliseconds, or
    by counting samples where those are wrong.
    """

    samples: int | None = None

    def __init__(self, path: str, objection: str) -> None:
        """objection: why soundfile refused the file. Raises AudioError for what ffmpeg refuses as well."""
        self.path = path
        try:
            # A playlist must not make us open anything but local files.
            self._container = av.open(f"file:{path}", metadata_errors="ignore", options={"protocol_whitelist": "file"})
        except (av.FFmpegError, UnicodeError) as error:
            reasons = f"soundfile: {objection.rstrip('.')}; ffmpeg: {_why(error)}"
            raise AudioError(path, f"is not audio, or damaged ({reasons})") from error
        try:
            self._open_track()
        except BaseException:
            self._container.close()
            raise

    def _open_track(self) -> None:
        if not self._container.streams.audio:
            raise AudioError(self.path, "holds no audio track")
        self._track = self._container.streams.audio[0]
        self._tick = float(self._track.time_base or 0)  # seconds per unit of the time stamps
        self._origin = (self._track.start_time or 0) * self._tick  # time stamp of the first sample, in seconds
        decoder = self._track.codec_context
        if decoder is None or not decoder.sample_rate or not decoder.channels:  # None: a codec that ffmpeg lacks
            raise AudioError(self.path, "has an audio track that cannot be decoded")
        self.rate: int = decoder.sample_rate
        self.channels: int = decoder.channels

    def blocks(self, first: int, last: int | None) -> Iterator[Tensor]:
        """See Source."""
        begin = first / self.rate - self._settle()
        seek = begin > 0 and self._container.format.name not in MISTIMED  # AVI takes no time before its start
        try:
            if seek:
                self._container.seek(int((begin + self._origin) * av.time_base))
            yield from _gathered(self._frames(first, last, sought=seek))
        except FAULTS as error:
            raise AudioError(self.path, f"is truncated or damaged ({_why(error)})") from error

    def _settle(self) -> float:
        """Seconds to decode before a span."""
        return max(SETTLE, mp3_settle(self.rate)) if self._track.codec_context.name.startswith("mp3") else SETTLE

    def _frames(self, first: int, last: int | None, *, sought: bool) -> Iterator[Tensor]:
        """The frames' samples (S,) within [first, last); sought: after a seek, so that time stamps place them."""
        here, ends = 0, 0.0
        for frame in self._decoded(first):
            if frame.sample_rate != self.rate:
                raise AudioError(self.path, f"changes its sample rate from {self.rate} to {frame.sample_rate} Hz")
            time = None if frame.time is None else frame.time - self._origin
            if sought and here < first and time is not None:  # each, since those next to a broken frame may be wrong
                here = round(time * self.rate)
            begin, here = here, here + frame.samples
            ends = (begin / self.rate if time is None else time) + frame.samples / self.rate
            wave = _samples(self.path, frame)[max(0, first - begin) : None if last is None else max(0, last - begin)]
            if len(wave):
                yield wave  # (S,)
            if last is not None and here >= last:
                return
        stated = self._stated_duration()
        if stated is not None and (last is None or last > here) and ends < stated - SHORT:
            raise AudioError(self.path, f"is truncated: it ends after {ends:.2f} of {stated:.2f} s")

    def _decoded(self, first: int) -> Iterator[Any]:
        """All frames from here on. What fails before sample `first` is left out: a seek in an MPEG program stream lands
        in the middle of a frame.
        """
        for packet in self._container.demux(self._track):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                if packet.pts is None or packet.pts * self._tick - self._origin >= first / self.rate:
                    raise
            else:
                yield from frames

    def _stated_duration(self) -> float | None:
        """Seconds from an index or header; None where ffmpeg would have to guess, or where a video may be longer."""
        if not any(name in self._container.format.name for name in INDEXED):
            return None
        if self._track.duration is not None:
            return self._track.duration * self._tick
        if self._container.duration is not None and len(self._container.streams) == 1:
            return self._container.duration / av.time_base
        return None

    def count(self) -> int:
        """Samples per channel: from the stated duration, else from the time stamps of all packets (none is decoded)."""
        stated = self._stated_duration()
        if stated is not None:
            return round(stated * self.rate)
        end = 0.0
        try:
            for packet in self._container.demux(self._track):
                if packet.pts is not None:
                    end = max(end, (packet.pts + (packet.duration or 0)) * self._tick - self._origin)
        except FAULTS as error:
            raise AudioError(self.path, f"is truncated or damaged ({_why(error)})") from error
        return round(end * self.rate)

    def close(self) -> None:
        self._container.close()


def _samples(path: str, frame: Any) -> Tensor:
    """A decoded frame, scaled and folded: (S,) float32."""
    data: np.ndarray = frame.to_ndarray()  # (C, S) planar, (1, S * C) packed
    if not frame.format.is_planar:
        data = data.reshape(-1, frame.layout.nb_channels).T  # (C, S)
    return fold(to_float(path, torch.from_numpy(data)).T)  # (S,)


def _gathered(frames: Iterator[Tensor]) -> Iterator[Tensor]:
    """Frames of about a thousand samples joined to blocks of about BLOCK, so that what follows is called rarely."""
    held: list[Tensor] = []
    size = 0
    for frame in frames:
        held.append(frame)
        size += len(frame)
        if size >= BLOCK:
            yield torch.cat(held)
            held, size = [], 0
    if held:
        yield torch.cat(held)


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
