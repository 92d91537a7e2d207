"""Word times: the positions that the decoder's alignment heads attend to while the decoder writes each word.

attention (A heads, U tokens, T positions) -> normalize over tokens -> median over time -> mean over heads
-> the cheapest monotone path from the first token and position to the last (dynamic time warping) -> word borders

As in openai-whisper's timing.py; in addition borders never decrease and lie inside the audio.

Legend: W windows, A alignment heads, U tokens, T positions of 20 ms.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.whisper.decoding.options import DecodingOptions
from zoo.models.whisper.decoding.rules import Ids
from zoo.text.transcript import Word

POSITION_SECONDS = 0.02
LOGITS = 1 << 26  # numbers in memory at once: 256 MiB
MEDIAN = 7  # positions
LONGEST_TYPICAL = 0.7  # s, of a word in running speech
SENTENCE_ENDS = (".", "。", "!", "！", "?", "？")  # noqa: RUF001
BEFORE = "\"'“¿([{-"  # marks that belong to the next word
AFTER = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001 marks that belong to the word before


class Splitter(Ids, Protocol):
    """The part of a WhisperTokenizer that word times need."""

    @property
    def languages(self) -> dict[str, int]: ...

    def split_to_words(self, ids: Sequence[int], language: str = "en") -> tuple[list[str], list[list[int]]]: ...


def find_words(
    model: Any,
    states: Any,
    texts: Sequence[Sequence[Sequence[int]]],
    languages: Sequence[str],
    seconds: Sequence[float],
    options: DecodingOptions,
) -> list[list[list[Word]]]:
    """Words of each segment of each window, with times from the window's start.

    states: from the model's `encode_windows`; texts: for each window the ids of its segments, without specials;
    seconds: length of each window. The words of a segment add up to its text. Times never decrease and lie within
    0 ... seconds.
    """
    tokenizer = model.tokenizer
    with_text = [w for w, segments in enumerate(texts) if any(segments)]
    words: list[list[list[Word]]] = [[[] for _ in segments] for segments in texts]
    if not with_text:
        return words
    prompts = [_prompt(tokenizer, [t for ids in texts[w] for t in ids], languages[w], options) for w in with_text]
    count = max(1, LOGITS // (max(map(len, prompts)) * model.config.vocab_size))
    for first in range(0, len(with_text), count):
        group = with_text[first : first + count]
        with torch.no_grad():
            group_states = states.select(group)
            logits, scores, pads = _attend(model, group_states, prompts[first : first + count])
        for i, w in enumerate(group):
            words[w] = _align(
                tokenizer, logits[i, pads[i] :], scores[i, :, pads[i] :], texts[w], languages[w], seconds[w]
            )
    return words


def _align(
    tokenizer: Splitter, logits: Tensor, scores: Tensor, texts: Sequence[Sequence[int]], language: str, seconds: float
) -> list[list[Word]]:
    """Words of each segment of one window. logits (U, V), scores (A, U, T): of its prompt, without padding."""
    text = [token for segment in texts for token in segment]
    begin = len(logits) - len(text) - 2  # row of <|notimestamps|>, which predicts the first word
    size = max(1, min(scores.shape[-1], round(seconds / POSITION_SECONDS)))
    starts = _token_starts(scores[..., :size], begin)
    probabilities = logits[begin : begin + len(text), : tokenizer.eot].softmax(-1)
    probabilities = probabilities.gather(1, torch.tensor(text, device=probabilities.device)[:, None])[:, 0]
    words, first = [], 0
    for segment in texts:
        last = first + len(segment)
        part = slice(first, last)
        words.append(_words(tokenizer, segment, language, starts[first : last + 1], probabilities[part].tolist()))
        first = last
    _cut_pauses([word for segment in words for word in segment])
    merged = [_merge_marks(segment) for segment in words]
    _clamp_times([word for segment in merged for word in segment], seconds)
    return merged


def _prompt(tokenizer: Splitter, text: Sequence[int], language: str, options: DecodingOptions) -> list[int]:
    start = [tokenizer.sot]
    if tokenizer.languages:
        task = tokenizer.translate if options.task == "translate" else tokenizer.transcribe
        start += [tokenizer.languages[language], task]
    return [*start, tokenizer.no_timestamps, *text, tokenizer.eot]


def _attend(model: Any, states: Any, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, list[int]]:
    """Logits (W, U, V) and scores (W, A, U, T) of prompts aligned to the right, and the padding of each prompt."""
    size = max(map(len, prompts))
    pads = [size - len(prompt) for prompt in prompts]
    device = model.device
    padded = [[model.tokenizer.sot] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
    cache = model.decoder.new_cache(len(prompts), size, torch.tensor(pads))
    tokens = torch.tensor(padded, device=device)
    cross = model.decoder.cross(states)
    logits, scores = model.decoder(tokens, cross, cache, last_only=False, need_attention=True)
    return logits, scores, pads


def _token_starts(scores: Tensor, begin: int) -> list[float]:
    """Start of each text token and of the end token in seconds: U - begin - 1 numbers.

    scores (A, U, T): before the softmax; begin: row that predicts the first word.
    """
    weights = scores.softmax(-1)  # (A, U, T)
    spread, mean = torch.std_mean(weights, dim=-2, keepdim=True, correction=0)
    weights = median_filter((weights - mean) / spread.clamp(min=1e-12), MEDIAN)
    matrix = weights.mean(0)[begin:-1]  # (U', T): row i predicts text token i, the last one the end token
    return [position * POSITION_SECONDS for position in warp(-matrix.double())]


def median_filter(x: Tensor, width: int) -> Tensor:
    """Running median over the last dimension, mirrored at its ends. A dimension that is too short stays as it is."""
    if x.shape[-1] <= width // 2:
        return x
    padded = F.pad(x, (width // 2, width // 2), mode="reflect")
    return padded.unfold(-1, width, 1).median(-1).values


def warp(cost: Tensor) -> list[int]:
    """cost (U, T) float64 -> the position at which the cheapest monotone path enters each row.

    The path goes from corner to corner. A step advances in time, in text, or in both. Row by row: the cheapest path to
    (u, t) enters the row at some k <= t and follows it: total(u, t) = sum(u, ..t) + min_k (entry(k) - sum(u, ..k - 1)).
    """
    rows, size = cost.shape
    totals = [cost[0].cumsum(0)]
    for u in range(1, rows):
        above = totals[-1]
        entry = torch.minimum(above, F.pad(above[:-1], (1, 0), value=torch.inf))
        run = cost[u].cumsum(0)
        totals.append(run + (entry - run + cost[u]).cummin(0).values)
    table = torch.stack(totals).tolist()
    starts, t = [0] * rows, size - 1
    for u in range(rows - 1, 0, -1):
        row, above = table[u], table[u - 1]
        while t > 0 and row[t - 1] <= min(above[t - 1], above[t]):
            t -= 1
        starts[u] = t
        if t > 0 and above[t - 1] < above[t]:
            t -= 1
    return starts


def _words(
    tokenizer: Splitter, text: Sequence[int], language: str, starts: Sequence[float], probabilities: Sequence[float]
) -> list[Word]:
    """Words with the times of their tokens; a word ends where the next begins."""
    names, parts = tokenizer.split_to_words(text, language)
    words, first = [], 0
    for name, part in zip(names, parts, strict=True):
        last = first + len(part)
        words.append(Word(name, starts[first], starts[last], sum(probabilities[first:last]) / len(part)))
        first = last
    return words


def _cut_pauses(words: Sequence[Word]) -> None:
    """Shorten words beside a pause to at most twice the median word. In place."""
    lengths = sorted(word.end - word.start for word in words if word.end > word.start)
    longest = 2 * min(LONGEST_TYPICAL, lengths[len(lengths) // 2] if lengths else 0.0)
    if not longest:
        return
    for before, word in itertools.pairwise(words):
        if word.end - word.start > longest:
            if word.text.strip() in SENTENCE_ENDS:
                word.end = word.start + longest
            elif before.text.strip() in SENTENCE_ENDS:
                word.start = word.end - longest
    words[0].start = max(words[0].start, words[0].end - longest)
    words[-1].end = min(words[-1].end, words[-1].start + longest)


def _merge_marks(words: Sequence[Word]) -> list[Word]:
    """Attach punctuation to the word beside it. The word keeps its times and its probability."""
    merged: list[Word] = []
    opening: list[Word] = []
    for word in words:
        mark = word.text.strip()
        if mark and mark in BEFORE and word.text.startswith(" "):
            opening.append(word)
        elif mark and mark in AFTER and merged and not opening and not merged[-1].text.endswith(" "):
            merged[-1].text += word.text
        else:
            word.text = "".join(mark.text for mark in opening) + word.text
            merged.append(word)
            opening = []
    return [*merged, *opening]


def _clamp_times(words: Sequence[Word], seconds: float) -> None:
    """Make times never decrease and lie within 0 ... seconds. In place."""
    previous_end = 0.0
    for word in words:
        word.start = min(max(word.start, previous_end), seconds)
        word.end = min(max(word.end, word.start), seconds)
        previous_end = word.end
