"""What a sample is: scaling of integers, folding of channels, and the checks every clip passes.

Legend: S samples, C channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.errors import AudioError

# Full range of each integer type, and the value that stands for silence.
INTEGER_SCALE = {
    torch.uint8: (128.0, 2.0**7),
    torch.int8: (0.0, 2.0**7),
    torch.int16: (0.0, 2.0**15),
    torch.int32: (0.0, 2.0**31),
}

ACCEPTED = "floats in [-1, 1], int16, int32, int8 or uint8"

# No recording chain yields floats 36 dB above full scale, while 16-bit audio that stays below 64 is silence (-54 dBFS).
# Between 1 and 64 lie legitimate floats (hot mixes, standardized waveforms) and very quiet integers: there, only values
# that are all whole numbers betray the integers.
LOUDEST = 64.0
LOUDEST_WHOLE = 4.0


def to_float(item: str, samples: Tensor) -> Tensor:
    """Samples of any accepted type as float32 on the CPU; integers scaled by their full range, floats as they are.

    Accepted: float16, bfloat16, float32, float64, uint8, int8, int16, int32. 24-bit samples held in an int32 must be
    left-justified, as soundfile and ffmpeg deliver them.
    Raises AudioError for any other type, int64 included: it tells nothing about the range that was meant.
    """
    samples = samples.detach().cpu()
    if samples.dtype in INTEGER_SCALE:
        silence, scale = INTEGER_SCALE[samples.dtype]
        return (samples.float() - silence) / scale
    if not samples.is_floating_point():
        name = str(samples.dtype).removeprefix("torch.")
        raise AudioError(item, f"{name} samples are not audio; pass {ACCEPTED}")
    return samples.float()


def fold(samples: Tensor) -> Tensor:
    """Mean over channels.

    samples: (S, C) float.
    Returns (S,).
    """
    if samples.shape[1] == 1:
        return samples[:, 0]  # (S,)
    if samples.shape[1] == 2:
        return (samples[:, 0] + samples[:, 1]) * 0.5  # (S,); several times faster than mean() over a row of two
    return samples.mean(1)  # (S,)


def check(item: str, wave: Tensor, place: int = 0) -> Tensor:
    """The wave itself, once its samples are known to be finite and in a float's range.

    wave: (S,) float32, a whole or a block that begins at sample `place`; an empty one passes.
    Raises AudioError on NaN or infinity (with the place) and on integers given as floats.
    """
    if not len(wave):
        return wave
    low, high = (float(value) for value in torch.aminmax(wave))  # NaN anywhere makes both NaN
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = int((~torch.isfinite(wave)).nonzero()[0])
        raise AudioError(item, f"sample {place + bad} is {float(wave[bad])}: NaN and infinity cannot be encoded")
    peak = max(-low, high)
    if peak > LOUDEST or (peak >= LOUDEST_WHOLE and bool((wave == wave.round()).all())):
        bits = 16 if peak <= 2**15 else 32
        raise AudioError(
            item,
            f"float samples reach {peak:.6g} where [-1, 1] is expected; this looks like the int{bits} range given as "
            f"float: divide by 2**{bits - 1}, or pass the integers themselves",
        )
    return wave


def mp3_settle(rate: int) -> float:
    """Seconds of MP3 to decode before a span and to drop: so far before a frame may its bits lie, and frames overlap.

    MPEG-1 (from 32 kHz on) reaches back 511 bytes, of which a frame fills at least 60; MPEG-2 reaches back 255, and
    stereo of 8 kbit/s at 24 kHz fills 3 with each frame of 24 ms.
    """
    return 0.3 if rate >= 32_000 else 2.25
