"""Whatever a caller passes as `waves` becomes a list of clips at the model's rate.

Legend: B clips, S samples.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zoo.audio.reading import collect, load, load_open
from zoo.audio.resampling import BLOCK, resample, resample_blocks, whole_rate
from zoo.audio.samples import ACCEPTED, check, to_float
from zoo.audio.spool import SpooledWave
from zoo.errors import AudioError

Clip = Tensor | SpooledWave  # both: len(clip) in samples, clip[a:b] -> (b - a,) float32

FEW = 16  # no batch has clips this short; a second axis this small holds channels


def as_clips(waves: Any, sample_rate: int | None, target_rate: int) -> tuple[list[Clip], bool]:
    """Checked mono float32 clips at `target_rate` on the CPU, and whether `waves` was a single one.

    waves: one of, or a list, tuple, Series, generator or other iterable (see `to_list`) that mixes,
        a path (str or Path), which carries its own rate: `load`;
        a binary file open for reading, io.BytesIO or other, which does so too: `load_open`;
        a 1-D tensor or NumPy array: float16/32/64, bfloat16, or int8/16/32, uint8 (scaled to [-1, 1));
        a SpooledWave, which carries its own rate as well;
    or a 2-D tensor or array: a batch (B, S) of clips of equal length. Stereo given as (2, S) cannot be told from two
    clips and is taken for them: fold it first, or pass the file.
    sample_rate: of all arrays in `waves`; without arrays it is not needed, and ignored.
    Errors name an item by its path or its place: "waveform 0" is the first. Clips may share memory with the caller's
    arrays, and are never written to.

    Raises AudioError for an array without sample_rate, a wrong shape or type, an empty list or clip, NaN or infinity,
    integers given as floats, and for files as `load` does.
    """
    waves = to_list(waves)
    several = _several(waves)
    if several is None:
        return [_clip(_name(None, waves), waves, sample_rate, target_rate)], True
    return [_clip(_name(i, wave), wave, sample_rate, target_rate) for i, wave in enumerate(several)], False


def as_clip(wave: Any, sample_rate: int | None, target_rate: int) -> Clip:
    """The one clip that `wave` is. Arguments and errors as of `as_clips`; AudioError for a list or a batch as well."""
    wave = to_list(wave)
    if _several(wave) is not None:
        raise AudioError("waveform", "is a list or a batch; pass one recording at a time here")
    return _clip(_name(None, wave), wave, sample_rate, target_rate)


_ONE = (str, bytes, bytearray, os.PathLike, Mapping, set, frozenset, Tensor, np.ndarray, list, tuple)


def to_list(waves: Any) -> Any:
    """A list of what an array of strings or objects holds, or an iterable gives; anything else as it is.

    An iterable is not a set, whose order is nobody's, nor a file, nor a table. Raises AudioError for a table.
    """
    if isinstance(waves, np.ndarray) and waves.dtype.kind in "OUT":
        return waves.tolist()
    if hasattr(waves, "columns"):
        raise AudioError("waves", f"a {type(waves).__name__} is a table; pass the column that holds the clips")
    single = isinstance(waves, _ONE) or hasattr(waves, "read") or not isinstance(waves, Iterable)
    return waves if single else list(waves)


def pad(clips: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Clips of different lengths as one batch.

    clips: (S_i,) float32 each.
    Returns (B, S) float32, zero behind each clip, and lengths (B,) int64. Raises AudioError for an empty list.
    """
    if not len(clips):
        raise AudioError("clips", "the list is empty")
    lengths = torch.tensor([len(clip) for clip in clips])  # (B,)
    return pad_sequence(list(clips), batch_first=True), lengths  # (B, S)


def _several(waves: Any) -> Sequence[Any] | None:
    """The items of a list or a batch; None for a single waveform."""
    if isinstance(waves, (list, tuple)):
        return _items(waves)
    return _require_batch(waves) if isinstance(waves, (Tensor, np.ndarray)) and waves.ndim == 2 else None


def _items(waves: Sequence[Any]) -> Sequence[Any]:
    if not waves:
        raise AudioError("waves", "the list is empty")
    if any(isinstance(wave, (int, float, np.number, list, tuple)) for wave in waves):
        raise AudioError(
            "waves",
            "a list holds one array or path per clip: turn lists of numbers into arrays first, and give the rate "
            "behind them, as in embed(wave, 16000)",
        )
    return waves


def _require_batch(waves: Any) -> Any:
    """waves if it can be a batch (B, S)."""
    clips, samples = waves.shape
    if not clips:
        raise AudioError("waves", "the batch is empty")
    if 0 < samples <= FEW and clips > samples:
        raise AudioError(
            "waves",
            f"shape {tuple(waves.shape)} looks like (samples, channels), but a 2-D array is a batch (B, S) of "
            "mono clips; fold the channels first: waves.mean(1)",
        )
    return waves


def _name(place: int | None, wave: Any) -> str:
    if isinstance(wave, (str, os.PathLike)):
        return os.fspath(wave)
    return "waveform" if place is None else f"waveform {place}"


def _clip(item: str, wave: Any, sample_rate: int | None, target_rate: int) -> Clip:
    """One item as a checked clip at target_rate."""
    if isinstance(wave, (str, os.PathLike)):
        return load(wave, target_rate)
    if hasattr(wave, "read"):
        return load_open(item, wave, target_rate)
    if isinstance(wave, SpooledWave):
        return _at_rate(item, wave, target_rate)
    if isinstance(wave, np.ndarray):
        wave = _tensor(item, wave)
    if not isinstance(wave, Tensor):
        kind = type(wave).__name__
        raise AudioError(item, f"a {kind} is no waveform; pass a 1-D tensor or array, a path, or a list of them")
    if wave.ndim != 1:
        raise AudioError(item, f"has shape {tuple(wave.shape)}; one mono clip is 1-D, and a batch is 2-D (B, S)")
    if sample_rate is None:
        raise AudioError(
            item, f"an array does not carry its sample rate: pass sample_rate=... (it is resampled to {target_rate} Hz)"
        )
    if not len(wave):
        raise AudioError(item, "is empty (zero samples)")
    return resample(check(item, to_float(item, wave)), sample_rate, target_rate)  # (S,)


def _at_rate(item: str, wave: SpooledWave, target_rate: int) -> Clip:
    """A spooled wave at another rate, spooled again if it is long; the same object where the rate is right already."""
    if not len(wave):
        raise AudioError(item, "is empty (zero samples)")
    if wave.sample_rate == target_rate:
        return wave
    blocks = (check(item, wave[a : a + BLOCK], a) for a in range(0, len(wave), BLOCK))
    return collect(resample_blocks(blocks, wave.sample_rate, target_rate), whole_rate(target_rate))


def _tensor(item: str, wave: np.ndarray) -> Tensor:
    """An array as a tensor, whatever its byte order, strides or protection."""
    if wave.dtype.kind == "f" and wave.dtype.itemsize > 8:
        wave = wave.astype(np.float64)  # long double, which torch lacks
    if wave.dtype.kind not in "fiub":
        raise AudioError(item, f"{wave.dtype} samples are not audio; pass {ACCEPTED}")
    wave = np.asarray(wave, dtype=wave.dtype.newbyteorder("="), order="C")
    return torch.from_numpy(wave if wave.flags.writeable else wave.copy())
