"""Audio in: whatever a caller holds (a path, array, open file, a list of them) becomes checked mono float32 clips.

    path -> sources (soundfile | PyAV) -> fold to mono, scale, check -> resample -> Tensor | SpooledWave
    array ------------------------------> scale, check -------------^

What happens to the sound, in full:

* Channels are folded by their mean. Opposite-phase channels therefore cancel; pick a channel yourself if that matters.
* Integers become floats in [-1, 1) by full range: int8 / 2**7, int16 / 2**15, int32 / 2**31, (uint8 - 128) / 2**7.
* Resampling is torchaudio's windowed sinc with its defaults (Hann, 6 zero crossings, rolloff 0.99); see `resampling`.
* Nothing else: no normalization, no trimming, no dither.

Recordings are decoded block by block, and those longer than `spool_seconds` end in a temporary file (`SpooledWave`), so
memory is bounded by the block and the spool limit and not by the recording. All functions may be called from threads.
"""

from zoo.audio.clips import Clip, as_clip, as_clips, pad, to_list
from zoo.audio.reading import AudioInfo, load, probe
from zoo.audio.resampling import resample
from zoo.audio.spool import SpooledWave

__all__ = ["AudioInfo", "Clip", "SpooledWave", "as_clip", "as_clips", "load", "pad", "probe", "resample", "to_list"]
