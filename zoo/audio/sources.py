"""Open recordings as streams of mono blocks, with soundfile, or with PyAV if soundfile cannot read the file.

The content of the file decides, not its extension. Legend: S samples, C channels.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import soundfile
import torch
from torch import Tensor

from zoo.audio import integrity, mpeg
from zoo.audio.resampling import BLOCK
from zoo.audio.samples import mp3_preroll, to_mono
from zoo.errors import AudioError, MissingDependencyError, install

UNKNOWN = 2**62  # libsndfile returns 2**63 - 1 for a FLAC that was written to a pipe
LOSSY_SLACK = 2304  # two MPEG frames: only some encoders include their delay in the stated length


class AudioSource(Protocol):
    """An open recording.

    samples: per channel; None if the file does not state it reliably.
    """

    rate: int
    channels: int
    samples: int | None

    def blocks(self, first: int, last: int | None) -> Iterator[Tensor]:
        """Samples [first, last) as consecutive mono blocks (S_k,) float32; last = None reads to the end.

        Raises AudioError if the recording ends before the length that its header states.
        """

    def count(self) -> int:
        """Samples per channel; if `samples` is None, from reading or decoding the whole file."""

    def close(self) -> None: ...


def open_source(path: str) -> AudioSource:
    """The recording at `path`.

    Raises AudioError for a missing or unreadable file, a folder, a file that is empty, truncated or not audio;
    MissingDependencyError for a container that needs PyAV if PyAV is not installed.
    """
    require_file(path)
    try:
        source = SoundFileSource(path)
    except soundfile.LibsndfileError as error:
        _refuse_joined_wav(path)
        return _open_container(path, error.error_string)
    try:
        source.require_whole()
    except AudioError:
        source.close()
        raise
    if source.samples is not None or (source.is_mpeg and find_spec("av") is None):
        return source  # such an MP3 probably has a constant bit rate, so the guess is right; blocks() checks it
    source.close()  # ffmpeg reads to the end of the file; libsndfile would stop at the length that it guessed
    reason = "its header does not state the length of all of it"
    return _open_container(path, reason, is_audio=True, seek=source.ffmpeg_seeks)


def require_file(path: str) -> None:
    """Raises AudioError unless `path` is a readable file that is not empty."""
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        raise AudioError(path, "no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise AudioError(path, f"cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(path, "is a folder; pass the files in it, one by one or as a list")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(path, "is not a regular file")
    if not os.access(path, os.R_OK):
        raise AudioError(path, "cannot be read by this user (permission denied)")
    if not status.st_size:
        raise AudioError(path, "is empty (0 bytes)")


def _refuse_joined_wav(path: str) -> None:
    """Raises AudioError for several WAV files in one, which libsndfile refuses; ffmpeg would read only the first."""
    with Path(path).open("rb") as file:
        if integrity.joined_wav(file.fileno()):
            reason = "is several WAV files joined by `cat`; join their audio instead, or pass them one by one"
            raise AudioError(path, reason)


class SequentialFile(soundfile.SoundFile):
    """A file that is read without seeks if it is MPEG audio.

    After each read, soundfile seeks to its current position. An MPEG frame may use bits from earlier frames, and a seek
    drops them: the next block would start with noise.
    """

    def seekable(self) -> bool:
        """Whether soundfile may seek after a read; explicit calls of `seek` always work."""
        return not self.is_mpeg and super().seekable()

    @property
    def is_mpeg(self) -> bool:
        """Whether the codec is MP3 or a relative of it, in a file of its own or in another one such as WAV."""
        return self.subtype.startswith("MPEG")


class SoundFileSource:
    """A recording that libsndfile can read (wav, flac, ogg, mp3, aiff, au, caf, ...)."""

    def __init__(self, path: str) -> None:
        """Raises soundfile.LibsndfileError for a file that libsndfile cannot read."""
        self.path = path
        # By descriptor: with a path, soundfile would decide by the extension for .raw files.
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            self._file = SequentialFile(self._descriptor, closefd=False)
        except BaseException:
            os.close(self._descriptor)
            raise
        self.format: str = self._file.format
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.is_mpeg = self._file.is_mpeg
        # ffmpeg finds places in an MP3 by its length header, right or wrong, and in a WAV by the bit rate.
        self.ffmpeg_seeks = not self.is_mpeg
        if self.format == "MP3":
            self.ffmpeg_seeks = not mpeg.has_length_header(self._descriptor)
        self.samples: int | None = self._file.frames if self._states_length() else None

    def _states_length(self) -> bool:
        """Whether `frames` of libsndfile is the length of all of the file."""
        if self.is_mpeg:
            return self.format == "MP3" and mpeg.states_length(self._descriptor)
        if self.format == "OGG":
            status = os.fstat(self._descriptor)
            return not integrity.ogg_is_chained(self.path, status.st_size, status.st_mtime_ns)
        if self._file.frames == 0 and integrity.wav_states_zero(self._descriptor):
            return False
        return self._file.frames <= UNKNOWN

    def require_whole(self) -> None:
        """Raises AudioError for a file that is visibly truncated; see `integrity`."""
        if missing := integrity.missing_bytes(self._file.extra_info):
            raise AudioError(self.path, f"is truncated: its header states {missing} bytes more than the file has")
        if lost := integrity.lost_wav_bytes(self._descriptor):
            reason = f"has {lost} bytes behind the audio whose size its header states; correct the size, or remove them"
            raise AudioError(self.path, reason)
        if self.format == "OGG" and integrity.ends_inside_ogg_page(self._descriptor):
            raise AudioError(self.path, "is truncated: the file ends in the middle of an Ogg page")

    def blocks(self, first: int, last: int | None) -> Iterator[Tensor]:
        """See Source."""
        position, end = self._decode_start(first), self._file.frames if last is None else last
        step = max(1, BLOCK // self.channels)
        try:
            if position:
                self._file.seek(position)
            while position < end:
                block = self._file.read(min(step, end - position), dtype="float32", always_2d=True)  # (S, C)
                if not len(block):
                    break
                begin, position = position, position + len(block)
                if position > first:
                    yield to_mono(torch.from_numpy(block[max(0, first - begin) :]))  # (S,)
        except soundfile.LibsndfileError as error:
            raise self._truncated(position, error.error_string) from error
        slack = LOSSY_SLACK if self.is_mpeg or self._file.subtype in ("VORBIS", "OPUS") else 0
        if self.samples is not None and position < end - slack:
            raise self._truncated(position, "no more data")
        if self.is_mpeg and position >= self._file.frames:
            self._require_end()

    def _decode_start(self, first: int) -> int:
        """The sample to start decoding at, so that all samples from `first` on are right."""
        if self.is_mpeg:
            return max(0, first - round(mp3_preroll(self.rate) * self.rate))
        if self._file.subtype == "VORBIS":  # after a seek into the last page, libsndfile's position is wrong
            return min(first, integrity.last_ogg_page(self._descriptor))
        return first

    def _truncated(self, position: int, cause: str) -> AudioError:
        stated = self._file.frames
        reason = f"is truncated or damaged: decoding stopped near sample {position} of {stated} ({cause.rstrip('.')})"
        return AudioError(self.path, reason)

    def _require_end(self) -> None:
        """Raises AudioError if libsndfile stopped at the length that it was told or guessed, before the last frame."""
        place = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        if not mpeg.frames_follow(self._descriptor, place):
            return
        left = os.fstat(self._descriptor).st_size - place
        if self.samples is None:
            raise AudioError(
                self.path,
                f"is an MP3 without a length header, or with a wrong one; {left} bytes would be lost; "
                f"install PyAV to read all of it: {install('video')}",
            )
        raise AudioError(
            self.path, f"goes on behind the length that its header states; {left} bytes would be lost; encode it again"
        )

    def count(self) -> int:
        """See Source."""
        return self._file.frames if self.samples is None else self.samples

    def close(self) -> None:
        self._file.close()
        os.close(self._descriptor)


# The first bytes of containers that ffmpeg can read and libsndfile cannot.
CONTAINER = re.compile(
    rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |FLV|0&\xb2u\x8ef\xcf\x11|\0\0\x01\xba|G.{187}G"  # mp4 mkv avi flv wmv mpg ts
    rb"|\xff[\xf0\xf1\xf8\xf9]|\x0bw|wvpk|MAC |#!AMR|OggS|fLaC",  # aac ac3 wv ape amr, Ogg video, FLAC of no length
    re.DOTALL,
)


def _open_container(path: str, reason: str, *, is_audio: bool = False, seek: bool = True) -> AudioSource:
    """Open a file with PyAV.

    reason: why not with soundfile. is_audio: it is known to be audio. seek: see ContainerSource.
    """
    if find_spec("av") is not None:
        from zoo.audio.container import ContainerSource

        return ContainerSource(path, reason, seek=seek)
    with Path(path).open("rb") as file:
        head = file.read(256)
    if is_audio or CONTAINER.match(head):
        raise MissingDependencyError(
            f"{path}: soundfile cannot read this file ({reason}); videos and other containers need PyAV: "
            f"{install('video')}"
        )
    raise AudioError(path, f"is not audio that soundfile can read ({reason.rstrip('.')})")
