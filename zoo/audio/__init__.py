"""Audio input: paths, arrays, open files or lists of them become checked mono float32 clips.

    path -> sources (soundfile | PyAV) -> mix to mono, scale, check -> resample -> Tensor | SpooledWave
    array ------------------------------> scale, check --------------^

All processing steps:

* Channels are averaged. Channels of opposite phase cancel; if that matters, choose a channel yourself.
* Integers become floats in [-1, 1) by full range: int8 / 2**7, int16 / 2**15, int32 / 2**31, (uint8 - 128) / 2**7.
* Resampling is torchaudio's windowed sinc with its defaults (Hann, 6 zero crossings, rolloff 0.99); see `resampling`.
* Nothing else: no normalization, no trimming, no dither.

Recordings are decoded block by block. Recordings longer than `spool_seconds` are written to a temporary file
(`SpooledWave`), so memory use does not depend on the length. All functions are thread-safe.
"""

from zoo.audio.clips import Clip, as_clip, as_clips, pad, to_list
from zoo.audio.reading import AudioInfo, load, probe
from zoo.audio.resampling import resample
from zoo.audio.spool import SpooledWave

__all__ = ["AudioInfo", "Clip", "SpooledWave", "as_clip", "as_clips", "load", "pad", "probe", "resample", "to_list"]
