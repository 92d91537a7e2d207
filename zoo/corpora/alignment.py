"""Convert eSpeak's phone events to phone segments that cover the waveform.

Four properties of the events are corrected with the waveform:
* the event of a stop comes at its release, so its closure (zeros in the waveform) is part of the phone before;
* an l after a vowel is rendered as the end of the vowel, and has no duration;
* markers of pauses, liaison and foreign words look like phones;
* stress is part of the symbol.
All boundaries are exact to the sample except one: between a vowel and its l, the formants glide and there is no
boundary. Here the l gets the last 40 % (on spectrograms, the middle of the glide is 34 to 48 % before the end).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from zoo.corpora.espeak import SAMPLE_RATE, Utterance

SILENCE = "sil"
STOPS = frozenset(["p", "b", "t", "d", "k", "ɡ", "c", "q", "ʔ", "tʃ", "dʒ", "ts", "dz", "pf", "tɕ", "t̪", "d̪"])  # noqa: RUF001
Segment = tuple[int, int, str]  # first sample, end, symbol

_RENAMED = {"ss": "s", "aa": "aː"}  # noqa: RUF001  # symbols that eSpeak does not write in IPA
_FUSED, _FUSED_SHARE = "l", 0.4
_QUIET = 8  # of 32768; eSpeak's silence is zeros, except for the last samples of a decay
_LONGEST_CLOSURE = int(0.15 * SAMPLE_RATE)
_SHORTEST_PAUSE = int(0.03 * SAMPLE_RATE)
_SHORTEST_SOUND = int(0.01 * SAMPLE_RATE)


def segments(utterance: Utterance) -> list[Segment]:
    """Phones and silences, without gaps, from sample 0 to the end."""
    total = len(utterance.wave)
    loud = np.abs(utterance.wave.astype(np.int32)) > _QUIET
    marks = [(0, ""), *((min(sample, total), _plain(symbol)) for sample, symbol in utterance.phones), (total, "")]
    spans = [(a, b, symbol) for (a, symbol), (b, _) in pairwise(marks) if b > a or symbol == _FUSED]
    result: list[Segment] = []
    cursor = (
        0  # samples covered so far; earlier than the start of the event if a closure or an onset is not covered yet
    )
    for (_, end, symbol), (_, _, following) in zip(spans, [*spans[1:], (total, total, "")], strict=True):
        sounding = np.flatnonzero(loud[cursor:end])
        if not symbol and len(sounding) and not _after_phone(result):  # the onset of the next phone
            _append(result, cursor, cursor + int(sounding[0]), SILENCE)
            cursor += int(sounding[0])
            continue
        edge = cursor + int(sounding[-1]) + 1 if len(sounding) else cursor
        _add_phone(result, cursor, edge, end, symbol)
        cursor = result[-1][1] if result else cursor
        if cursor < end and not (following in STOPS and end - cursor <= _LONGEST_CLOSURE):
            if end - cursor >= _SHORTEST_PAUSE:
                _append(result, cursor, end, SILENCE)
            else:
                _extend(result, end)
            cursor = end
    if cursor < total:
        _append(result, cursor, total, SILENCE)
    return result


def _add_phone(result: list[Segment], start: int, edge: int, end: int, symbol: str) -> None:
    """Add a phone that sounds up to `edge`; samples after the edge may be a closure or a pause."""
    if symbol == _FUSED and edge - start < _SHORTEST_SOUND and _after_phone(result):
        first, _, vowel = result[-1]
        cut = edge - round(_FUSED_SHARE * (edge - first))
        result[-1] = (first, cut, vowel)
        _append(result, cut, edge, symbol)
    elif edge == start:  # a stop may be only a closure; other phones without sound are pauses
        _append(result, start, end, symbol if symbol in STOPS else SILENCE)
    elif symbol:
        _append(result, start, edge, symbol)
    else:  # a glide between phones, not a pause
        _extend(result, edge)


def _after_phone(result: list[Segment]) -> bool:
    return bool(result) and result[-1][2] != SILENCE


def _append(result: list[Segment], start: int, end: int, symbol: str) -> None:
    if symbol == SILENCE and result and result[-1][2] == SILENCE:
        _extend(result, end)
    elif end > start:
        result.append((start, end, symbol))


def _extend(result: list[Segment], end: int) -> None:
    start, _, symbol = result[-1]
    result[-1] = (start, end, symbol)


def _plain(symbol: str) -> str:
    """ˈoʊ -> oʊ, ə- -> ə; (en) marks a foreign word and is not a phone."""
    symbol = "" if symbol.startswith("(") else symbol.strip("ˈˌ-")
    return _RENAMED.get(symbol, symbol)
