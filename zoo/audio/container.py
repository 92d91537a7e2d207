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

from zoo.audio import mpeg
from zoo.audio.integrity import TAGS
from zoo.audio.resampling import BLOCK
from zoo.audio.samples import mp3_preroll, to_float, to_mono
from zoo.errors import AudioError

# Demuxers that read the duration from an index or header; the others guess it from the bit rate.
INDEXED = ("mp4", "matroska", "avi", "asf", "wv", "flac")
NO_SEEK = ("ogg",)  # after a seek, time stamps of FLAC in Ogg are wrong by some frames: read from the start
TAIL = 2**16  # bytes of anything else that may stand behind the last frame of an MP3, such as zeros
FAULTS = (av.FFmpegError, IndexError)  # IndexError: PyAV found a track that is not in the header
# Demuxers of recordings. Playlists, scripts and generators (hls, concat, sbg, ...) open other files or never end.
RECORDINGS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,gsm,loas,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,"
    "mxf,nut,ogg,oma,rm,tak,truehd,tta,voc,w64,wav,webm,wtv,wv,xwma"
)
PREROLL = 0.25  # seconds decoded before a span and dropped: overlapping transforms need the frames before
SHORT = 0.5  # seconds by which a complete recording may end before its stated duration (padding, rounding)


class ContainerSource:
    """A recording that ffmpeg can read.

    `samples` is always None: a container states its duration with a precision of a millisecond at best. Time 0 is the
    start of the track. The position of a later span comes from the time stamps of the container (Matroska and WebM
    round them to milliseconds), or from counting samples if the time stamps are wrong.
    """

    samples: int | None = None

    def __init__(self, path: str, soundfile_error: str, *, seek: bool = True) -> None:
        """soundfile_error: why soundfile cannot read the file. seek: False = ffmpeg would seek to wrong places, so read
        from the start. Raises AudioError if ffmpeg cannot read it either.
        """
        self.path = path
        try:
            options = {"protocol_whitelist": "file", "format_whitelist": RECORDINGS}
            self._container = av.open(f"file:{path}", metadata_errors="ignore", options=options)
        except av.ArgumentError as error:  # ffmpeg's answer to a format that is not on the list
            reason = (
                "is not audio: ffmpeg takes it for text, a playlist, a script or another format that zoo does not read"
            )
            raise AudioError(path, reason) from error
        except (av.FFmpegError, UnicodeError) as error:
            reasons = f"soundfile: {soundfile_error.rstrip('.')}; ffmpeg: {_reason(error)}"
            raise AudioError(path, f"is not audio, or damaged ({reasons})") from error
        try:
            self._open_track()
            self._seek = seek and self._container.format.name not in NO_SEEK
        except BaseException:
            self._container.close()
            raise

    def _open_track(self) -> None:
        if not self._container.streams.audio:
            raise AudioError(self.path, "has no audio track")
        self._track = self._container.streams.audio[0]
        self._tick = float(self._track.time_base or 0)  # seconds per unit of the time stamps
        self._origin = (self._track.start_time or 0) * self._tick  # time stamp of the first sample, in seconds
        decoder = self._track.codec_context
        if decoder is None or not decoder.sample_rate or not decoder.channels:  # None: ffmpeg does not have the codec
            raise AudioError(self.path, "has an audio track that cannot be decoded")
        self.rate: int = decoder.sample_rate
        self.channels: int = decoder.channels

    def blocks(self, first: int, last: int | None) -> Iterator[Tensor]:
        """See Source."""
        begin = first / self.rate - self._preroll()
        seek = begin > 0 and self._seek  # AVI cannot seek to a negative time
        try:
            if seek:
                self._container.seek(int((begin + self._origin) * av.time_base))
            yield from _join_frames(self._frames(first, last, after_seek=seek))
        except FAULTS as error:
            raise AudioError(self.path, f"is truncated or damaged ({_reason(error)})") from error

    def _preroll(self) -> float:
        """Seconds to decode before a span."""
        return max(PREROLL, mp3_preroll(self.rate)) if self._track.codec_context.name.startswith("mp3") else PREROLL

    def _frames(self, first: int, last: int | None, *, after_seek: bool) -> Iterator[Tensor]:
        """The samples (S,) of each frame within [first, last).

        after_seek: the position comes from the time stamps of the frames, not from counting samples.
        """
        position, end_time = 0, 0.0
        for frame in self._decoded(first, after_seek=after_seek):
            if frame.sample_rate != self.rate:
                raise AudioError(self.path, f"changes its sample rate from {self.rate} to {frame.sample_rate} Hz")
            time = None if frame.time is None else frame.time - self._origin
            if after_seek and position < first and time is not None:  # for each frame: some time stamps may be wrong
                position = round(time * self.rate)
            begin, position = position, position + frame.samples
            end_time = (begin / self.rate if time is None else time) + frame.samples / self.rate
            wave = _samples(self.path, frame)[max(0, first - begin) : None if last is None else max(0, last - begin)]
            if len(wave):
                yield wave  # (S,)
            if last is not None and position >= last:
                return
        stated = self._stated_duration()
        if stated is not None and (last is None or last > position) and end_time < stated - SHORT:
            raise AudioError(self.path, f"is truncated: it ends after {end_time:.2f} of {stated:.2f} s")

    def _decoded(self, first: int, *, after_seek: bool) -> Iterator[Any]:
        """All frames from the current position. After a seek, frames before sample `first` that cannot be decoded are
        skipped: it may stop in the middle of a frame of an MPEG program stream. Tags in an MP3, and what stands behind
        its last frame, are skipped too.
        """
        behind = 0  # bytes since the last frame that cannot be decoded
        fault: av.FFmpegError | None = None  # their error
        for packet in self._container.demux(self._track):
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                if after_seek and packet.pts is not None and self._seconds(packet.pts) < first / self.rate:
                    continue
                if self._container.format.name != "mp3" or mpeg.frame_bytes(bytes(packet)[:4]):
                    raise
                if not bytes(packet).startswith(TAGS):
                    behind, fault = behind + packet.size, error
                if behind > TAIL:
                    raise
            else:
                if frames and fault is not None:
                    raise fault
                yield from frames

    def _seconds(self, time_stamp: int) -> float:
        """Seconds since the first sample."""
        return time_stamp * self._tick - self._origin

    def _stated_duration(self) -> float | None:
        """Seconds from an index or header; None if ffmpeg has to guess, or if the video may be longer."""
        if not any(name in self._container.format.name for name in INDEXED):
            return None
        if self._track.duration is not None:
            return self._track.duration * self._tick
        if self._container.duration is not None and len(self._container.streams) == 1:
            return self._container.duration / av.time_base
        return None

    def count(self) -> int:
        """Samples per channel: from the stated duration, else from the time stamps of all packets, without decoding."""
        stated = self._stated_duration()
        if stated is not None:
            return round(stated * self.rate)
        end = total = 0.0
        try:
            for packet in self._container.demux(self._track):
                duration = (packet.duration or 0) * self._tick
                total += duration
                if packet.pts is not None:
                    end = max(end, self._seconds(packet.pts) + duration)
        except FAULTS as error:
            raise AudioError(self.path, f"is truncated or damaged ({_reason(error)})") from error
        if self._container.format.name == "ogg":  # the time stamps start again with each stream of a chain
            end = total
        return round(end * self.rate)

    def close(self) -> None:
        self._container.close()


def _samples(path: str, frame: Any) -> Tensor:
    """A decoded frame as mono float32: (S,)."""
    data: np.ndarray = frame.to_ndarray()  # (C, S) planar, (1, S * C) packed
    if not frame.format.is_planar:
        data = data.reshape(-1, frame.layout.nb_channels).T  # (C, S)
    return to_mono(to_float(path, torch.from_numpy(data)).T)  # (S,)


def _join_frames(frames: Iterator[Tensor]) -> Iterator[Tensor]:
    """Frames of about a thousand samples, joined to blocks of about BLOCK samples: fewer calls for the next steps."""
    parts: list[Tensor] = []
    size = 0
    for frame in frames:
        parts.append(frame)
        size += len(frame)
        if size >= BLOCK:
            yield torch.cat(parts)
            parts, size = [], 0
    if parts:
        yield torch.cat(parts)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
