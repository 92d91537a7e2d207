"""Convert samples to mono floats: scale integers, average channels, check values.

Legend: S samples, C channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.errors import AudioError

# For each integer type: the value of silence, and the full range.
INTEGER_SCALE = {
    torch.uint8: (128.0, 2.0**7),
    torch.int8: (0.0, 2.0**7),
    torch.int16: (0.0, 2.0**15),
    torch.int32: (0.0, 2.0**31),
}

ACCEPTED = "floats in [-1, 1], int16, int32, int8 or uint8"

# Float audio is never 36 dB above full scale, and 16-bit audio below 64 is silence (-54 dBFS). So samples above 64 are
# integers. Between 1 and 64 there are valid floats (loud mixes, standardized waveforms) and very quiet integers. They
# are taken for integers only if all values are whole numbers.
LOUDEST = 64.0
LOUDEST_WHOLE = 4.0


def to_float(item: str, samples: Tensor) -> Tensor:
    """Samples of any accepted type as float32 on the CPU; integers scaled by their full range, floats as they are.

    Accepted: float16, bfloat16, float32, float64, uint8, int8, int16, int32. 24-bit samples in an int32 must be
    left-justified, as soundfile and ffmpeg return them.
    Raises AudioError for any other type, also for int64 (its range is not known), sparse and meta tensors.
    """
    if samples.is_meta:
        raise AudioError(item, "is on the meta device, where tensors have no values; make it on the CPU or a GPU")
    if samples.layout != torch.strided:
        raise AudioError(item, f"is a tensor of layout {samples.layout}; pass a dense one, such as x.to_dense()")
    samples = samples.detach().cpu()
    if samples.dtype in INTEGER_SCALE:
        silence, scale = INTEGER_SCALE[samples.dtype]
        return (samples.float() - silence) / scale
    if not samples.is_floating_point():
        name = str(samples.dtype).removeprefix("torch.")
        raise AudioError(item, f"{name} samples are not audio; pass {ACCEPTED}")
    return samples.float()


def to_mono(samples: Tensor) -> Tensor:
    """Mean over channels.

    samples: (S, C) float.
    Returns (S,).
    """
    if samples.shape[1] == 1:
        return samples[:, 0]  # (S,)
    if samples.shape[1] == 2:
        return (samples[:, 0] + samples[:, 1]) * 0.5  # (S,); several times faster than mean() over a row of two
    return samples.mean(1)  # (S,)


def check(item: str, wave: Tensor, position: int = 0) -> Tensor:
    """The wave, unchanged, after a check of its samples.

    wave: (S,) float32, a whole waveform or a block that starts at sample `position`; an empty one passes.
    Raises AudioError for NaN or infinity (with the position), and for integers in float format.
    """
    if not len(wave):
        return wave
    low, high = (float(value) for value in torch.aminmax(wave))  # NaN anywhere makes both NaN
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = int((~torch.isfinite(wave)).nonzero()[0])
        raise AudioError(item, f"sample {position + bad} is {float(wave[bad])}: NaN and infinity cannot be encoded")
    peak = max(-low, high)
    if peak > LOUDEST or (peak >= LOUDEST_WHOLE and bool((wave == wave.round()).all())):
        bits = 16 if peak <= 2**15 else 32
        raise AudioError(
            item,
            f"float samples reach {peak:.6g}, but [-1, 1] is expected; this looks like int{bits} samples in float "
            f"format: divide by 2**{bits - 1}, or pass the integers",
        )
    return wave


def mp3_preroll(rate: int) -> float:
    """Seconds of MP3 to decode before a span, and to drop: frames overlap, and use bits from earlier frames.

    MPEG-1 (32 kHz and more) uses up to 511 earlier bytes, at 60 bytes or more per frame. MPEG-2 uses up to 255, and
    stereo of 8 kbit/s at 24 kHz has 3 bytes per frame of 24 ms.
    """
    return 0.3 if rate >= 32_000 else 2.25
