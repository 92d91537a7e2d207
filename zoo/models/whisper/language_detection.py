"""Language of whole recordings, from up to 30 s of their speech, or from more where that is not certain.

    |..ss.....sssss...sssssss....|  spans of speech -> [ss.sssss.sssssss] one window without the long pauses

Legend: W windows, L languages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zoo import audio
from zoo.audio import Clip
from zoo.audio.vad import Span, VoiceActivity, join
from zoo.errors import ConfigError
from zoo.models.whisper.config import check_padding
from zoo.models.whisper.decoding.language import probabilities
from zoo.models.whisper.decoding.rows import DecoderRows
from zoo.models.whisper.segmenters import JOIN_SECONDS, RATE
from zoo.nn.eval_mode import eval_mode

CERTAIN = 0.5  # probability of a language above which no further windows are heard
MORE_WINDOWS = 3  # further windows of a recording, spread over all of it
BATCH = 4  # windows
SpeechWindow = list[Span]
"""Stretches of a recording, at most one window together."""


def detect_language(
    model: Any,
    waves: Any,
    sample_rate: int | None = None,
    *,
    vad: str | VoiceActivity = "auto",
    padding: str | None = None,
) -> dict[str, float] | list[dict[str, float]]:
    """Probability of each language that the model knows, the likeliest first.

    waves, sample_rate: as for `Encoder.encode`. vad, padding: as for `transcribe`.

    The first 30 s of speech decide. If no language reaches a probability of 0.5 there, up to three more windows are
    heard, and the mean decides. `transcribe` identifies a language in the same way. A recording without speech is
    taken as a whole.

    Returns {code: probability} for a single input, else a list. Raises ConfigError for an English-only model, for one
    without a tokenizer and for an unknown option; AudioError, naming the item.
    """
    tokenizer = model.tokenizer
    if tokenizer is None or not tokenizer.languages:
        reason = "has no tokenizer" if tokenizer is None else "is English-only"
        raise ConfigError(f"{model.name or model.family} {reason}; use a multilingual model to detect languages")
    activity = vad if isinstance(vad, VoiceActivity) else VoiceActivity(vad)
    activity.check()
    padding = model.padding if padding is None else padding
    check_padding(padding)
    clips, single = audio.as_clips(waves, sample_rate, RATE)
    spans = [activity.spans(activity.probabilities(clip), len(clip)) or [(0, len(clip))] for clip in clips]
    codes = list(tokenizer.languages)
    found = []
    for row in language_probabilities(model, clips, spans, padding):
        ranked = row.sort(descending=True, stable=True)
        indices, values = ranked.indices.tolist(), ranked.values.tolist()
        found.append({codes[i]: value for i, value in zip(indices, values, strict=True)})
    return found[0] if single else found


def language_probabilities(
    model: Any, clips: Sequence[Clip], spans: Sequence[Sequence[Span]], padding: str, batch_size: int | None = None
) -> Tensor:
    """(recordings, L), in the order of the tokenizer's languages. spans: of speech, at least one for each recording."""
    longest = model.config.audio_ctx * model.hop
    speech = [speech_windows(parts, longest) for parts in spans]
    beginnings = [(clip, windows[0]) for clip, windows in zip(clips, speech, strict=True)]
    first = _of_windows(model, beginnings, padding, batch_size)
    found = first.clone()
    for i, clip in enumerate(clips):
        if len(speech[i]) == 1 or float(first[i].max()) >= CERTAIN:
            continue
        chosen = [speech[i][0], *spread(speech[i][1:], MORE_WINDOWS)]
        more = _of_windows(model, [(clip, window) for window in chosen[1:]], padding, batch_size)
        rows = torch.cat([first[i : i + 1], more])  # (W, L)
        lengths = torch.tensor([_samples(window) for window in chosen], dtype=rows.dtype)  # (W,)
        found[i] = (rows * lengths[:, None]).sum(0) / lengths.sum()
    return found


def speech_windows(spans: Sequence[Span], longest: int) -> list[SpeechWindow]:
    """Speech in windows of `longest` samples, the last one shorter. Pauses of more than JOIN_SECONDS are left out."""
    windows: list[SpeechWindow] = [[]]
    room = longest
    for start, stop in join(list(spans), JOIN_SECONDS * RATE):
        while start < stop:
            if not room:
                windows.append([])
                room = longest
            end = min(stop, start + room)
            windows[-1].append((start, end))
            room -= end - start
            start = end
    return windows


def spread(windows: Sequence[SpeechWindow], count: int) -> list[SpeechWindow]:
    """At most `count` of the windows, evenly spaced."""
    count = min(count, len(windows))
    return [windows[(2 * i + 1) * len(windows) // (2 * count)] for i in range(count)]


def _samples(window: SpeechWindow) -> int:
    return sum(stop - start for start, stop in window)


def cut(clip: Clip, window: SpeechWindow) -> Tensor:
    """The samples of a window."""
    return torch.cat([clip[start:stop] for start, stop in window])


def _of_windows(
    model: Any, windows: Sequence[tuple[Clip, SpeechWindow]], padding: str, batch_size: int | None
) -> Tensor:
    """(W, L) on the CPU, in batches, so that memory does not grow with the number of recordings."""
    sot, languages = model.tokenizer.sot, model.tokenizer.languages
    size = batch_size or BATCH
    rows = []
    with torch.no_grad(), eval_mode(model):
        for first in range(0, len(windows), size):
            batch = [cut(clip, window) for clip, window in windows[first : first + size]]
            cross = model.decoder.cross(_encode(model, batch, padding))
            _, logits = DecoderRows(model.decoder, cross, [[sot]] * len(batch), sot, 0).begin()
            rows.append(probabilities(logits, languages).cpu())
    return torch.cat(rows)


def _encode(model: Any, waves: Sequence[Tensor], padding: str) -> Any:
    """Encoder states as in `longform.encode_batch`, so that a single window gets the same probabilities there."""
    if padding == "none":
        return model.encode_windows(waves, padding=padding)
    mels = [model.mel_of(wave.to(model.device)) for wave in waves]
    return model.encode_mel(pad_sequence(mels, batch_first=True))
