"""Opened recordings as streams of mono blocks: soundfile first, PyAV for what soundfile cannot read.

The content decides, never the extension. Legend: S samples, C channels.
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
from zoo.audio.samples import fold, mp3_settle
from zoo.errors import AudioError, MissingDependencyError

UNKNOWN = 2**62  # libsndfile says 2**63 - 1 for a FLAC whose encoder wrote to a pipe
LOSSY_SLACK = 2304  # two MPEG frames: encoders disagree on whether the stated length counts their delay
TAIL_TAGS = 2**17  # bytes after the last MPEG frame that may be tags, a cover picture or read-ahead


class AudioSource(Protocol):
    """An open recording.

    samples: per channel; None where the file does not tell it for certain.
    """

    rate: int
    channels: int
    samples: int | None

    def blocks(self, first: int, last: int | None) -> Iterator[Tensor]:
        """Samples [first, last) in consecutive (S_k,) float32 blocks, channels folded; None reads to the end.

        Raises AudioError where the recording breaks off before the length its header states.
        """

    def count(self) -> int:
        """Samples per channel, read or decoded from the whole file where `samples` is None."""

    def close(self) -> None: ...


def open_source(path: str) -> AudioSource:
    """The recording at `path`.

    Raises AudioError for a missing or unreadable file, a folder, a file that is empty, cut or no audio;
    MissingDependencyError for a container that needs PyAV where PyAV is not installed.
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
        return source  # such an MP3 is likely of constant bit rate and guessed right; blocks() notices where it is not
    source.close()  # ffmpeg reads to the end, where libsndfile would stop at the length it guessed
    return _open_container(path, "its header does not state its length")


def require_file(path: str) -> None:
    """AudioError unless `path` is a readable file that is not empty."""
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        raise AudioError(path, "no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise AudioError(path, f"cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    if stat.S_ISDIR(found.st_mode):
        raise AudioError(path, "is a folder; pass the files in it, one by one or as a list")
    if not stat.S_ISREG(found.st_mode):
        raise AudioError(path, "is not a regular file")
    if not os.access(path, os.R_OK):
        raise AudioError(path, "may not be read by this user (permission denied)")
    if not found.st_size:
        raise AudioError(path, "is empty (0 bytes)")


class Straight(soundfile.SoundFile):
    """A file of which MP3 is read straight on.

    After each read soundfile seeks to where it is. An MP3 frame may keep its bits in frames before it, and a seek drops
    them: the next block would begin with noise.
    """

    def seekable(self) -> bool:
        """Whether soundfile may seek on its own account; `seek` works in any case."""
        return self.format != "MP3" and super().seekable()


class SoundFileSource:
    """A recording that libsndfile reads (wav, flac, ogg, mp3, aiff, au, caf, ...)."""

    def __init__(self, path: str) -> None:
        """Raises soundfile.LibsndfileError for what libsndfile cannot read."""
        self.path = path
        # By descriptor: given a path, soundfile would let the extension .raw decide.
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            self._file = Straight(self._descriptor, closefd=False)
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
        """AudioError for a file that is visibly cut; see `integrity`."""
        if missing := integrity.missing_bytes(self._file.extra_info):
            raise AudioError(self.path, f"is truncated: its header promises {missing} bytes more than the file has")
        if self.format == "OGG" and integrity.ends_inside_ogg_page(self._descriptor):
            raise AudioError(self.path, "is truncated: the file ends in the middle of an Ogg page")

    def blocks(self, first: int, last: int | None) -> Iterator[Tensor]:
        """See Source."""
        here, end = self._before(first), self._file.frames if last is None else last
        step = max(1, BLOCK // self.channels)
        try:
            if here:
                self._file.seek(here)
            while here < end:
                block = self._file.read(min(step, end - here), dtype="float32", always_2d=True)  # (S, C)
                if not len(block):
                    break
                begin, here = here, here + len(block)
                if here > first:
                    yield fold(torch.from_numpy(block[max(0, first - begin) :]))  # (S,)
        except soundfile.LibsndfileError as error:
            raise self._cut(here, error.error_string) from error
        if self.samples is None:
            if here >= self._file.frames:
                self._require_end()
        elif here < end - (LOSSY_SLACK if self.format in ("MP3", "OGG") else 0):
            raise self._cut(here, "no more data")

    def _before(self, first: int) -> int:
        """The sample to decode from, so that all is right from sample `first` on."""
        if self.format == "MP3":
            return max(0, first - round(mp3_settle(self.rate) * self.rate))
        if self._file.subtype == "VORBIS":  # after a seek into the last page, libsndfile is off by what its end lacks
            return min(first, integrity.last_ogg_page(self._descriptor))
        return first

    def _cut(self, here: int, cause: str) -> AudioError:
        promised = self._file.frames
        reason = f"is truncated or damaged: decoding stopped near sample {here} of {promised} ({cause.rstrip('.')})"
        return AudioError(self.path, reason)

    def _require_end(self) -> None:
        """AudioError where libsndfile, at the end of its guess, has not come to the end of the MP3 file."""
        left = os.fstat(self._descriptor).st_size - os.lseek(self._descriptor, 0, os.SEEK_CUR)
        if left > TAIL_TAGS:
            raise AudioError(
                self.path,
                f"is a variable-bit-rate MP3 without a length header, of which {left} bytes would be lost; "
                "install PyAV to read it whole: pip install 'audiozoo[video]'",
            )

    def count(self) -> int:
        """See Source."""
        return self._file.frames if self.samples is None else self.samples

    def close(self) -> None:
        self._file.close()
        os.close(self._descriptor)


# How containers begin that ffmpeg reads and libsndfile does not.
CONTAINER = re.compile(
    rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |FLV|0&\xb2u\x8ef\xcf\x11|\0\0\x01\xba|G.{187}G"  # mp4 mkv avi flv wmv mpg ts
    rb"|\xff[\xf0\xf1\xf8\xf9]|\x0bw|wvpk|MAC |#!AMR|OggS|fLaC",  # aac ac3 wv ape amr, Ogg video, FLAC of no length
    re.DOTALL,
)


def _open_container(path: str, objection: str) -> AudioSource:
    """Through PyAV; `objection` is what soundfile has against the file."""
    if find_spec("av") is not None:
        from zoo.audio.container import ContainerSource

        return ContainerSource(path, objection)
    with Path(path).open("rb") as file:
        head = file.read(256)
    if CONTAINER.match(head):
        raise MissingDependencyError(
            f"{path}: soundfile cannot read this file ({objection}); videos and other containers need PyAV: "
            "pip install 'audiozoo[video]'"
        )
    raise AudioError(path, f"is not audio that soundfile can read ({objection.rstrip('.')})")
