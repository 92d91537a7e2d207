"""Read a file as a checked mono clip at a given sample rate, or read only its header.

Legend: S samples.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

import torch
from torch import Tensor

from zoo.audio.files import expand_user
from zoo.audio.resampling import BLOCK, resample, resample_blocks, whole_rate
from zoo.audio.samples import check
from zoo.audio.sources import AudioSource, open_source
from zoo.audio.spool import SpooledWave
from zoo.errors import AudioError

SPOOL_SECONDS = 1800.0  # half an hour: 115 MB at 16 kHz
MAX_SECONDS = 1e9  # as in manifests
LATE = 0.1  # seconds by which `end` may be after the end of the file: annotations are rounded, encoders pad


@dataclass(frozen=True)
class AudioInfo:
    """The header of a recording. samples: per channel; duration: seconds."""

    sample_rate: int
    channels: int
    samples: int
    duration: float


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """Rate, channels and length of a recording, without decoding it.

    Exact for wav, flac, ogg and for mp3 with a length header. For other containers the length is the stated duration;
    if there is none (a recorded stream), it comes from the time stamps of all packets. For mp3 without a length header
    it is an estimate, unless PyAV is installed.
    Raises AudioError and MissingDependencyError as `load` does, except for damage that only decoding can detect.
    """
    item = expand_user(path)
    with closing(open_source(item)) as source:
        rate, samples = whole_rate(source.rate, item), source.count()
        return AudioInfo(rate, source.channels, samples, samples / rate)


def load(
    path: str | os.PathLike[str],
    sample_rate: int,
    *,
    start: float | None = None,
    end: float | None = None,
    spool_seconds: float = SPOOL_SECONDS,
    expected_rate: int | None = None,
) -> Tensor | SpooledWave:
    """A recording, or a span of it, as mono float32 at `sample_rate`.

    start, end: seconds; the span is cut at the rate of the file, then resampled like a file.
    spool_seconds: a longer recording is returned as a SpooledWave, to limit memory.
    expected_rate: Hz that the file must have; None = any.
    Returns (S,) tensor or SpooledWave; both have len() and slices.
    Raises AudioError, naming the path, for a file that is missing, a folder, unreadable, not audio, empty or truncated
    (if `integrity` can detect it), that has NaN, infinity or integers in float format, another rate than
    expected, or that does not cover the span;
    MissingDependencyError for a container if PyAV is not installed.
    """
    item = expand_user(path)
    with closing(open_source(item)) as source:
        require_rate(item, whole_rate(source.rate, item), expected_rate)
        first, last = _span(item, source, start, end)
        decoded = _checked(item, source.blocks(first, last), first, last, source.rate)
        seconds = math.inf if last is None else (last - first) / source.rate
        if last is not None and last - first <= BLOCK and seconds <= spool_seconds:
            return resample(torch.cat(list(decoded)), source.rate, sample_rate)  # fast path for most files: one block
        blocks = resample_blocks(decoded, source.rate, sample_rate)
        to_disk = last is not None and seconds > spool_seconds
        try:
            return collect(blocks, whole_rate(sample_rate), 0.0 if to_disk else spool_seconds)
        except AudioError as error:
            if error.item == item:
                raise
            raise AudioError(error.item, f"{error.reason}; {item} needs it") from error  # the temporary folder


def require_rate(item: str, rate: int, expected: int | None) -> None:
    """Raises AudioError for a recording whose own sample rate is not the expected one; None = any."""
    if expected is not None and rate != whole_rate(expected):
        reason = f"has a sample rate of {rate} Hz, not {expected}; leave sample_rate out, since a recording has its own"
        raise AudioError(item, reason)


def load_open(item: str, file: BinaryIO, sample_rate: int, *, expected_rate: int | None = None) -> Tensor | SpooledWave:
    """The recording in an open file, on disk or in memory, from its current position; see `load`.

    The file is copied to a temporary file first: decoders need to seek, and some open the file themselves.
    Raises AudioError, naming the item, as `load` does, and if the file cannot be read or copied.
    """
    with tempfile.NamedTemporaryFile(prefix="zoo-") as copy:
        try:
            shutil.copyfileobj(file, copy)
            copy.flush()
        except TypeError:
            raise AudioError(item, "is open in text mode; open it in mode 'rb'") from None
        except (OSError, ValueError) as error:  # ValueError: a closed file
            raise AudioError(item, f"cannot be read or copied to {tempfile.gettempdir()} ({error})") from error
        if not copy.tell():
            raise AudioError(item, "is empty; if the file was read or written before, rewind it with seek(0)")
        try:
            return load(copy.name, sample_rate, expected_rate=expected_rate)
        except AudioError as error:
            named = item if error.item == copy.name else error.item
            raise AudioError(named, error.reason.replace(copy.name, item)) from error


def collect(blocks: Iterable[Tensor], sample_rate: int, spool_seconds: float = SPOOL_SECONDS) -> Tensor | SpooledWave:
    """Blocks of one waveform as a tensor, or as a SpooledWave once they exceed `spool_seconds`."""
    blocks, parts, total = iter(blocks), [], 0
    for block in blocks:
        parts.append(block)
        total += len(block)
        if total > spool_seconds * sample_rate:
            return SpooledWave(chain(parts, blocks), sample_rate)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _span(item: str, source: AudioSource, start: float | None, end: float | None) -> tuple[int, int | None]:
    """Seconds to samples [first, last); last is None if only decoding can find the end of the file."""
    if start is None and end is None:
        return 0, source.samples
    begin = 0.0 if start is None else start
    if not 0 <= begin < MAX_SECONDS or not (end is None or begin < end < MAX_SECONDS):
        raise AudioError(item, f"the span from {start} to {end} s is not valid; 0 <= start < end is required")
    first = round(begin * source.rate)
    last = source.samples if end is None else round(end * source.rate)
    if source.samples is None or last is None:
        return first, last
    if first >= source.samples or last > source.samples + LATE * source.rate:
        raise _outside(item, start, end, source.samples / source.rate)
    return first, min(last, source.samples)


def _checked(item: str, blocks: Iterator[Tensor], first: int, last: int | None, rate: int) -> Iterator[Tensor]:
    """The blocks, unchanged. Raises AudioError for bad samples, for no samples, and for fewer samples than the span."""
    position = first
    for block in blocks:
        yield check(item, block, position)
        position += len(block)
    if position == first:
        raise _outside(item, first / rate, None, None) if first else AudioError(item, "has no samples")
    if last is not None and position < last - LATE * rate:
        raise _outside(item, first / rate, last / rate, position / rate)


def _outside(item: str, start: float | None, end: float | None, duration: float | None) -> AudioError:
    length = "" if duration is None else f", which lasts {duration:.3f} s"
    until = "its end" if end is None else f"{end:g} s"
    return AudioError(item, f"the span from {start or 0:g} s to {until} is outside the recording{length}")
