"""Convert the argument `waves` to a list of clips at the model's sample rate.

Legend: B clips, S samples.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zoo.audio.reading import collect, load, load_open, require_rate
from zoo.audio.resampling import BLOCK, resample, resample_blocks, whole_rate
from zoo.audio.samples import ACCEPTED, check, to_float
from zoo.audio.spool import SpooledWave
from zoo.errors import AudioError

Clip = Tensor | SpooledWave  # both: len(clip) in samples, clip[a:b] -> (b - a,) float32

MAX_CHANNELS = 16  # a second axis up to this size is taken for channels: no batch has clips this short


def as_clips(waves: Any, sample_rate: int | None, target_rate: int) -> tuple[list[Clip], bool]:
    """Checked mono float32 clips at `target_rate` on the CPU, and whether `waves` was a single clip.

    waves: one of these, or a list, tuple, Series, generator or other iterable of them (see `to_list`):
        a path (str or Path); the file has its own rate: `load`;
        a binary file open for reading, such as io.BytesIO; it has its own rate too: `load_open`;
        a 1-D tensor or NumPy array: float16/32/64, bfloat16, or int8/16/32, uint8 (scaled to [-1, 1));
        a SpooledWave, which has its own rate;
        a row {"array": ..., "sampling_rate": ...} of Hugging Face datasets, which has its own rate;
    or a 2-D tensor or array: a batch (B, S) of clips of equal length. Stereo as (2, S) looks the same as two clips and
    is treated as two clips: average the channels first, or pass the file.
    sample_rate: of all arrays in `waves`. Without any array, it must be the rate that each recording has of its own.
    Errors name an item by its path or its index: "waveform 0" is the first. Clips may share memory with the caller's
    arrays; they are never modified.

    Raises AudioError for an array without sample_rate, a wrong shape or type, an empty list or clip, NaN or infinity,
    integers in float format, another sample rate than stated, and for files as `load` does.
    """
    waves = to_list(waves)
    items = _items(waves)
    if items is None:
        return [_clip(_name(None, waves), waves, _rates([waves], sample_rate, target_rate))], True
    rates = _rates(items, sample_rate, target_rate)
    return [_clip(_name(i, wave), wave, rates) for i, wave in enumerate(items)], False


def as_clip(wave: Any, sample_rate: int | None, target_rate: int) -> Clip:
    """One clip. Arguments and errors as for `as_clips`; a list or a batch raises AudioError as well."""
    wave = to_list(wave)
    if _items(wave) is not None:
        raise AudioError("waveform", "is a list or a batch; pass one recording at a time here")
    return _clip(_name(None, wave), wave, _rates([wave], sample_rate, target_rate))


_NOT_ITERATED = (str, bytes, bytearray, os.PathLike, Mapping, set, frozenset, Tensor, np.ndarray, list, tuple)


def to_list(waves: Any) -> Any:
    """An array of strings or objects, or an iterable, as a list; anything else unchanged.

    Sets (they have no order) and files are not converted. Raises AudioError for a table.
    """
    if isinstance(waves, np.ndarray) and waves.dtype.kind in "OUT":
        return waves.tolist()
    if hasattr(waves, "columns"):
        raise AudioError("waves", f"a {type(waves).__name__} is a table; pass the column with the clips")
    keep = isinstance(waves, _NOT_ITERATED) or hasattr(waves, "read") or not isinstance(waves, Iterable)
    return waves if keep else list(waves)


def pad(clips: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Clips of different lengths as one batch.

    clips: (S_i,) float32 each.
    Returns (B, S) float32, zero after the end of each clip, and lengths (B,) int64.
    Raises AudioError for an empty list.
    """
    if not len(clips):
        raise AudioError("clips", "the list is empty")
    lengths = torch.tensor([len(clip) for clip in clips])  # (B,)
    return pad_sequence(list(clips), batch_first=True), lengths  # (B, S)


def _items(waves: Any) -> Sequence[Any] | None:
    """The items of a list or a batch; None for a single waveform."""
    if isinstance(waves, (list, tuple)):
        return _check_list(waves)
    return _check_batch(waves) if isinstance(waves, (Tensor, np.ndarray)) and waves.ndim == 2 else None


def _check_list(waves: Sequence[Any]) -> Sequence[Any]:
    if not waves:
        raise AudioError("waves", "the list is empty")
    if any(isinstance(wave, (int, float, np.number, list, tuple)) for wave in waves):
        raise AudioError(
            "waves",
            "a list must hold one array or path per clip: convert lists of numbers to arrays first, and pass the "
            "sample rate as the next argument, as in embed(wave, 16000)",
        )
    return waves


def _check_batch(waves: Any) -> Any:
    """`waves` unchanged. Raises AudioError unless it can be a batch (B, S)."""
    clips, samples = waves.shape
    if not clips:
        raise AudioError("waves", "the batch is empty")
    if 0 < samples <= MAX_CHANNELS and clips > samples:
        raise AudioError(
            "waves",
            f"shape {tuple(waves.shape)} looks like (samples, channels), but a 2-D array is a batch (B, S) of "
            "mono clips; average the channels first: waves.mean(1)",
        )
    return waves


def _name(index: int | None, wave: Any) -> str:
    if isinstance(wave, (str, os.PathLike)):
        return os.fspath(wave)
    return "waveform" if index is None else f"waveform {index}"


@dataclass(frozen=True)
class _Rates:
    """Sample rates in Hz: of arrays; of recordings that have their own, None = any; of the result."""

    arrays: int | None
    own: int | None
    target: int


def _rates(items: Iterable[Any], sample_rate: int | None, target_rate: int) -> _Rates:
    """sample_rate: of the arrays if there are any, otherwise of the recordings."""
    has_arrays = any(isinstance(item, (Tensor, np.ndarray)) for item in items)
    return _Rates(sample_rate, None if has_arrays else sample_rate, target_rate)


def _clip(item: str, wave: Any, rates: _Rates) -> Clip:
    """One item as a checked clip at the target rate."""
    if isinstance(wave, (str, os.PathLike)):
        return load(wave, rates.target, expected_rate=rates.own)
    if hasattr(wave, "read"):
        return load_open(item, wave, rates.target, expected_rate=rates.own)
    if isinstance(wave, SpooledWave):
        require_rate(item, wave.sample_rate, rates.own)
        return _at_rate(item, wave, rates.target)
    if isinstance(wave, Mapping):
        samples, rate = _row(item, wave)
        require_rate(item, rate, rates.own)
        return _array(item, samples, rate, rates.target)
    return _array(item, wave, rates.arrays, rates.target)


def _row(item: str, row: Mapping[str, Any]) -> tuple[Any, int]:
    """Samples and rate in a row of Hugging Face datasets."""
    if "array" not in row or "sampling_rate" not in row:
        hint = 'pass row["audio"]' if "audio" in row else 'only {"array": ..., "sampling_rate": ...} is; pass an array'
        raise AudioError(item, f"a {type(row).__name__} is not a waveform; {hint}")
    samples = row["array"]
    if isinstance(samples, list):
        try:
            samples = np.asarray(samples)
        except ValueError:
            raise AudioError(item, "the array of this row holds lists, not numbers; pass one mono clip") from None
    return samples, whole_rate(row["sampling_rate"], item)


def _array(item: str, wave: Any, sample_rate: int | None, target_rate: int) -> Clip:
    """An array as a checked clip at target_rate."""
    if isinstance(wave, np.ndarray):
        wave = _tensor(item, wave)
    if not isinstance(wave, Tensor):
        kind = type(wave).__name__
        raise AudioError(item, f"a {kind} is not a waveform; pass a 1-D tensor or array, a path, or a list of them")
    if wave.ndim != 1:
        raise AudioError(item, f"has shape {tuple(wave.shape)}; one mono clip is 1-D, and a batch is 2-D (B, S)")
    if sample_rate is None:
        raise AudioError(
            item, f"an array has no sample rate: pass sample_rate=... (it will be resampled to {target_rate} Hz)"
        )
    if not len(wave):
        raise AudioError(item, "is empty (zero samples)")
    return resample(check(item, to_float(item, wave)), sample_rate, target_rate)  # (S,)


def _at_rate(item: str, wave: SpooledWave, target_rate: int) -> Clip:
    """A spooled wave at another rate, spooled again if it is long; the same object if the rate is right already."""
    if not len(wave):
        raise AudioError(item, "is empty (zero samples)")
    if wave.sample_rate == target_rate:
        return wave
    blocks = (check(item, wave[a : a + BLOCK], a) for a in range(0, len(wave), BLOCK))
    return collect(resample_blocks(blocks, wave.sample_rate, target_rate), whole_rate(target_rate))


def _tensor(item: str, wave: np.ndarray) -> Tensor:
    """An array as a tensor; any byte order, strides and write protection."""
    if wave.dtype.kind == "f" and wave.dtype.itemsize > 8:
        wave = wave.astype(np.float64)  # torch has no long double
    if wave.dtype.kind not in "fiub":
        raise AudioError(item, f"{wave.dtype} samples are not audio; pass {ACCEPTED}")
    wave = np.asarray(wave, dtype=wave.dtype.newbyteorder("="), order="C")
    return torch.from_numpy(wave if wave.flags.writeable else wave.copy())
