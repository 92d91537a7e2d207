"""Decodes a batch of windows from encoder states to text, at rising temperatures for windows that fail.

Legend: W windows, G candidates a window, U tokens.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from zoo.errors import ConfigError
from zoo.models.whisper.decoding.beam import beam_search
from zoo.models.whisper.decoding.language import identify
from zoo.models.whisper.decoding.options import Decoded, DecodingOptions, DecodingRequest
from zoo.models.whisper.decoding.repetition import cut_loop
from zoo.models.whisper.decoding.rows import DecoderRows, Rows
from zoo.models.whisper.decoding.rules import Ids, Rules
from zoo.models.whisper.decoding.sampling import Hypothesis, sample, uniform_numbers

STAMP_SECONDS = 0.02


class SpeechTokenizer(Ids, Protocol):
    """The part of a WhisperTokenizer that decoding needs."""

    @property
    def languages(self) -> dict[str, int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


RowsOf = Callable[[Sequence[int], list[list[int]], int], Rows]
"""(indices of the windows, their prompts, maximum steps; 0 = the prompts are only read) -> rows."""


@dataclass
class Search:
    """What all attempts at one batch share."""

    rows_of: RowsOf
    tokenizer: SpeechTokenizer
    vocabulary: int
    context: int
    options: DecodingOptions
    device: torch.device

    def __post_init__(self) -> None:
        options = self.options
        check_beam(options.beam_size, self.vocabulary)
        initial = options.max_initial_timestamp
        self.rules = Rules(
            self.tokenizer,
            self.vocabulary,
            timestamps=options.timestamps,
            max_initial=None if initial is None else round(initial / STAMP_SECONDS),
            suppress_blank=options.suppress_blank,
            suppress_non_speech=options.suppress_non_speech,
            suppress=options.suppress_tokens,
            device=self.device,
        )

    def prompt(self, request: DecodingRequest) -> list[int]:
        """Ids before the transcript: <|startofprev|> text <|startoftranscript|> <|en|> <|transcribe|> prefix.

        Only the end of the earlier text is used, as much as fits in half the context. Raises ConfigError for a prefix
        that is longer.
        """
        half, tokenizer = self.context // 2, self.tokenizer
        check_prefix(request.prefix, self.context, tokenizer.eot)
        previous = [tokenizer.sot_prev, *request.prompt[-(half - 1) :]] if request.prompt and half > 1 else []
        return [*previous, *start_sequence(tokenizer, request.language, self.options), *request.prefix]

    def _max_tokens(self, request: DecodingRequest, prompt: Sequence[int]) -> int:
        """Maximum tokens of a transcript. It must fit after its prompt, and with <|notimestamps|> and the end token
        when word times are computed.
        """
        start = len(start_sequence(self.tokenizer, request.language, self.options)) + self.options.timestamps
        room = min(self.context + 1 - len(prompt), self.context - 1 - start - len(request.prefix))
        return max(1, min(self.options.max_tokens or self.context // 2, room))

    def attempt(self, windows: Sequence[int], requests: Sequence[DecodingRequest], temperature: float) -> list[Decoded]:
        """Decode the windows with these indices at one temperature."""
        options, prompts = self.options, [self.prompt(request) for request in requests]
        limits = torch.tensor([self._max_tokens(*pair) for pair in zip(requests, prompts, strict=True)])
        prefixes = [request.prefix for request in requests]
        rows = self.rows_of(windows, prompts, int(limits.max()))
        logits, at_start = rows.begin()
        no_speech = at_start.softmax(1)[:, self.tokenizer.no_speech].tolist()
        if temperature == 0 and options.beam_size > 1:
            patience = options.patience or 1.0
            candidates = beam_search(
                rows,
                logits,
                self.rules,
                limits,
                beam_size=options.beam_size,
                patience=patience,
                prefixes=prefixes,
            )
        else:
            uniform = None
            if temperature > 0:
                starts = [request.start for request in requests]
                uniform = uniform_numbers(starts, options.samples, int(limits.max()), options.seed)
            candidates = sample(
                rows,
                logits,
                self.rules,
                limits,
                temperature=temperature,
                uniform=uniform,
                repetition_stop=options.repetition_stop,
                prefixes=prefixes,
            )
        return [
            self._decoded(best(hypotheses, options.length_penalty), request, temperature, silence)
            for hypotheses, request, silence in zip(candidates, requests, no_speech, strict=True)
        ]

    def _decoded(
        self, hypothesis: Hypothesis, request: DecodingRequest, temperature: float, no_speech: float
    ) -> Decoded:
        tokens = hypothesis.tokens
        if self.options.repetition_stop:
            tokens = cut_loop(tokens, self.tokenizer.timestamp_begin)
        return Decoded(
            tokens=tokens,
            text=self.tokenizer.decode([t for t in tokens if t < self.tokenizer.eot]).strip(),
            language=request.language or "en",
            language_probability=1.0,
            temperature=temperature,
            log_probability=hypothesis.score / (len(hypothesis.tokens) + 1),
            no_speech=no_speech,
            compression_ratio=compression_ratio(self.tokenizer.decode(hypothesis.tokens).strip()),
            looped=hypothesis.looped,
        )


def decode(
    model: Any,
    states: Any,
    requests: Sequence[DecodingRequest],
    options: DecodingOptions,
    temperatures: Sequence[float] | None = None,
) -> list[Decoded]:
    """Decode windows from their encoder states.

    model: a Whisper; states: from its `encode_windows`; requests: one for each window; temperatures: tried in turn
    instead of those of the options.
    Raises ConfigError for options that the model does not support.
    """
    with torch.no_grad():
        cross = model.decoder.cross(states)  # of all windows; None after the first search

        def rows_of(windows: Sequence[int], prompts: list[list[int]], steps: int) -> Rows:
            nonlocal cross
            whole = len(windows) == len(requests)
            chosen = cross if whole else None
            if chosen is None:
                chosen = model.decoder.cross(states.select(windows))
            if whole and steps:
                cross = None  # the search drops ended windows from it
            return DecoderRows(model.decoder, chosen, prompts, model.tokenizer.sot, steps)

        config = model.config
        search = Search(rows_of, model.tokenizer, config.vocab_size, config.text_ctx, options, model.device)
        return search_all(search, requests, temperatures)


def search_all(
    search: Search, requests: Sequence[DecodingRequest], temperatures: Sequence[float] | None = None
) -> list[Decoded]:
    """Identify unknown languages, then try one temperature after the other.

    If every attempt at a window failed, the likeliest one is used, and one that repeats itself only if all do, as in
    faster-whisper. openai-whisper uses the last one.
    """
    requests, probabilities = _with_languages(search, requests)
    attempts: list[list[Decoded]] = [[] for _ in requests]
    pending = list(range(len(requests)))
    for temperature in temperatures or search.options.temperatures:
        decoded = search.attempt(pending, [requests[w] for w in pending], temperature)
        for w, result in zip(pending, decoded, strict=True):
            attempts[w].append(result)
        pending = [w for w in pending if attempts[w][-1].failed(search.options)]
        if not pending:
            break
    results = [tried[-1] for tried in attempts]
    for w in pending:
        results[w] = max(attempts[w], key=lambda one: (not one.repeats(search.options), one.log_probability))
    for result, probability in zip(results, probabilities, strict=True):
        result.language_probability = probability
    return results


def _with_languages(search: Search, requests: Sequence[DecodingRequest]) -> tuple[list[DecodingRequest], list[float]]:
    """The requests, each with a language, and the probability of the language (1 if the request has one)."""
    languages = search.tokenizer.languages
    unknown = [w for w, request in enumerate(requests) if request.language is None]
    requests, probabilities = list(requests), [1.0] * len(requests)
    if unknown and languages:
        _, logits = search.rows_of(unknown, [[search.tokenizer.sot]] * len(unknown), 0).begin()
        for w, (code, probability) in zip(unknown, identify(logits, languages), strict=True):
            requests[w], probabilities[w] = replace(requests[w], language=code), probability
    return requests, probabilities


def check_beam(beam_size: int, vocabulary: int) -> None:
    """Raises ConfigError for more beams than tokens."""
    if beam_size >= vocabulary:
        raise ConfigError(f"beam_size {beam_size}: the vocabulary has {vocabulary} tokens")


def check_prefix(prefix: Sequence[int], context: int, eot: int) -> None:
    """Raises ConfigError for a prefix that leaves no room for a transcript."""
    size, most = sum(token < eot for token in prefix), context // 2 - 4
    if size > most:
        raise ConfigError(f"prefix: {size} tokens; at most {most} leave room for a transcript")


def start_sequence(tokenizer: SpeechTokenizer, language: str | None, options: DecodingOptions) -> list[int]:
    """<|startoftranscript|>, language and task of a multilingual model, and <|notimestamps|> without timestamps."""
    sequence = [tokenizer.sot]
    if tokenizer.languages:
        task = tokenizer.translate if options.task == "translate" else tokenizer.transcribe
        sequence += [tokenizer.languages[language or "en"], task]
    return sequence if options.timestamps else [*sequence, tokenizer.no_timestamps]


def best(hypotheses: Sequence[Hypothesis], length_penalty: float | None) -> Hypothesis:
    """The best by score / length, or by score / ((5 + length) / 6) ** penalty (Wu et al. 2016, eq. 14)."""

    def value(hypothesis: Hypothesis) -> float:
        length = len(hypothesis.tokens)
        return hypothesis.score / (max(length, 1) if length_penalty is None else ((5 + length) / 6) ** length_penalty)

    return max(hypotheses, key=value)


def compression_ratio(text: str) -> float:
    """Size of the text divided by its size after zlib; it is large for a text that repeats itself."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))
