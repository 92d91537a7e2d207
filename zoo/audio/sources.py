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

from zoo.audio import integrity
from zoo.audio.resampling import BLOCK
from zoo.audio.samples import mp3_preroll, to_mono
from zoo.errors import AudioError, MissingDependencyError, install

UNKNOWN = 2**62  # libsndfile returns 2**63 - 1 for a FLAC that was written to a pipe
LOSSY_SLACK = 2304  # two MPEG frames: only some encoders include their delay in the stated length
TAIL_TAGS = 2**17  # bytes after the last MPEG frame that may be tags, a cover picture or read-ahead


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
        return _open_container(path, error.error_string)
    try:
        source.require_whole()
    except AudioError:
        source.close()
        raise
    if source.samples is not None or (source.format == "MP3" and find_spec("av") is None):
        return source  # such an MP3 probably has a constant bit rate, so the guess is right; blocks() checks it
    source.close()  # ffmpeg reads to the end of the file; libsndfile would stop at the length that it guessed
    return _open_container(path, "its header does not state its length")


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


class SequentialFile(soundfile.SoundFile):
    """A file that is read without seeks if it is an MP3.

    After each read, soundfile seeks to its current position. An MP3 frame may use bits from earlier frames, and a seek
    drops them: the next block would start with noise.
    """

    def seekable(self) -> bool:
        """Whether soundfile may seek after a read; explicit calls of `seek` always work."""
        return self.format != "MP3" and super().seekable()


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
        self.samples: int | None = self._file.frames
        if self.samples > UNKNOWN or (self.format == "MP3" and not integrity.mp3_states_length(self._descriptor)):
            self.samples = None

    def require_whole(self) -> None:
        """Raises AudioError for a file that is visibly truncated; see `integrity`."""
        if missing := integrity.missing_bytes(self._file.extra_info):
            raise AudioError(self.path, f"is truncated: its header states {missing} bytes more than the file has")
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
        if self.samples is None:
            if position >= self._file.frames:
                self._require_end()
        elif position < end - (LOSSY_SLACK if self.format in ("MP3", "OGG") else 0):
            raise self._truncated(position, "no more data")

    def _decode_start(self, first: int) -> int:
        """The sample to start decoding at, so that all samples from `first` on are right."""
        if self.format == "MP3":
            return max(0, first - round(mp3_preroll(self.rate) * self.rate))
        if self._file.subtype == "VORBIS":  # after a seek into the last page, libsndfile's position is wrong
            return min(first, integrity.last_ogg_page(self._descriptor))
        return first

    def _truncated(self, position: int, cause: str) -> AudioError:
        stated = self._file.frames
        reason = f"is truncated or damaged: decoding stopped near sample {position} of {stated} ({cause.rstrip('.')})"
        return AudioError(self.path, reason)

    def _require_end(self) -> None:
        """Raises AudioError if libsndfile stopped at the length that it guessed, before the end of the MP3 file."""
        left = os.fstat(self._descriptor).st_size - os.lseek(self._descriptor, 0, os.SEEK_CUR)
        if left > TAIL_TAGS:
            raise AudioError(
                self.path,
                f"is an MP3 of variable bit rate without a length header; {left} bytes would be lost; "
                f"install PyAV to read all of it: {install('video')}",
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


def _open_container(path: str, soundfile_error: str) -> AudioSource:
    """Open a file with PyAV. soundfile_error: why soundfile cannot read it."""
    if find_spec("av") is not None:
        from zoo.audio.container import ContainerSource

        return ContainerSource(path, soundfile_error)
    with Path(path).open("rb") as file:
        head = file.read(256)
    if CONTAINER.match(head):
        raise MissingDependencyError(
            f"{path}: soundfile cannot read this file ({soundfile_error}); videos and other containers need PyAV: "
            f"{install('video')}"
        )
    raise AudioError(path, f"is not audio that soundfile can read ({soundfile_error.rstrip('.')})")
