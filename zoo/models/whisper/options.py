"""Options of a transcription, from keyword arguments; hints for the names that other libraries use."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from zoo.audio.vad import VoiceActivity
from zoo.errors import ConfigError
from zoo.models.whisper.config import check_padding
from zoo.models.whisper.decoding import DecodingOptions
from zoo.validation import check_types

MODES = ("batched", "sequential")
_WORDS = "put the words into prompt, for example prompt='Zoo, HuBERT, MuLan'"
_NOT_FOR_ONE_WINDOW = "windows are chosen by mode and vad"
HINTS = {  # names of openai-whisper, faster-whisper and transformers
    "initial_prompt": "it is called prompt here",
    "prompt_ids": "it is called prompt here, and takes a text or ids",
    "hotwords": f"not supported; {_WORDS}",
    "keywords": f"not supported; {_WORDS}",
    "carry_initial_prompt": 'not supported; prompt precedes each window in mode="batched"',
    "vad_filter": 'it is called vad here: "auto", "silero", "energy" or "none"',
    "vad_parameters": "give vad=zoo.audio.vad.VoiceActivity(detector, threshold=..., min_silence=...)",
    "return_timestamps": "timestamps are on by default; word_timestamps=True adds those of words",
    "return_token_timestamps": "word_timestamps=True gives the times of words",
    "without_timestamps": "give timestamps=False",
    "condition_on_prev_tokens": "it is called condition_on_previous_text here",
    "num_beams": "it is called beam_size here",
    "beams": "it is called beam_size here",
    "temperatures": "it is called temperature here, and takes one number or several",
    "log_prob_threshold": "it is called logprob_threshold here",
    "max_new_tokens": "it is called max_tokens here",
    "max_length": "it is called max_tokens here",
    "sample_len": "it is called max_tokens here",
    "num_return_sequences": "it is called best_of here",
    "suppress_numerals": "not supported; give the ids of the tokens in suppress_tokens",
    "chunk_length": _NOT_FOR_ONE_WINDOW,
    "chunk_length_s": _NOT_FOR_ONE_WINDOW,
    "stride_length_s": _NOT_FOR_ONE_WINDOW,
    "clip_timestamps": "not supported; cut the recording, or list spans with start and end in a manifest",
    "multilingual": "not supported; a recording has one language",
    "language_detection_threshold": "not supported; see model.detect_language",
    "language_detection_segments": "not supported; see model.detect_language",
    "hallucination_silence_threshold": "not supported; vad leaves silence out",
    "repetition_penalty": "not supported; repetition_stop ends loops",
    "no_repeat_ngram_size": "not supported; repetition_stop ends loops",
    "fp16": 'give the number format to zoo.load, for example dtype="float16"',
    "compute_type": 'give the number format to zoo.load, for example dtype="float16"',
    "device": "give the device to zoo.load",
    "verbose": "give progress, a function that gets the seconds that are done",
    "log_progress": "give progress, a function that gets the seconds that are done",
    "generate_kwargs": "give its entries as options of transcribe",
    "highlight_words": "give it to the transcript: transcript.to_srt(highlight_words=True)",
    "max_words_per_line": "give it to the transcript: transcript.to_srt(max_words_per_line=...)",
}


@dataclass(frozen=True)
class LongformOptions:
    """How recordings are transcribed; `decoding` has the options for each window.

    mode: "batched" cuts recordings at pauses into windows of at most 30 s, which are decoded independently of each
        other. Speech that a text misses at its end is decoded again. "sequential" begins each window at the end of the
        last segment of the window before, as published.
    condition_on_previous_text: gives each window the text so far; "sequential" only.
    batch_size: windows decoded together at most, None = as many as memory and cores allow, see `BatchScheduler`.
    padding: "30s", "none" or None for the padding of the model.
    Raises ConfigError for values that are unknown, of a wrong type, or do not go together.
    """

    mode: str = "batched"
    vad: VoiceActivity = field(default_factory=VoiceActivity)
    condition_on_previous_text: bool = False
    word_timestamps: bool = False
    batch_size: int | None = None
    padding: str | None = None
    decoding: DecodingOptions = field(default_factory=DecodingOptions)

    def __post_init__(self) -> None:
        check_types(self)
        if self.mode not in MODES:
            raise ConfigError(f"mode {self.mode!r} is unknown; choose one of {', '.join(MODES)}")
        if self.condition_on_previous_text and self.mode != "sequential":
            raise ConfigError(
                'condition_on_previous_text needs mode="sequential": in mode "batched" windows have no previous text'
            )
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size {self.batch_size}: at least 1")
        if self.padding is not None:
            check_padding(self.padding)

    @classmethod
    def of(cls, *, vad: str | VoiceActivity = "auto", temperature: Any = None, **options: Any) -> LongformOptions:
        """From the keyword arguments of `transcribe`. Raises ConfigError, naming the option."""
        own_names = {f.name for f in fields(cls)} - {"decoding", "vad"}
        decoding_names = {f.name for f in fields(DecodingOptions)} - {"temperatures"}
        unknown = sorted(options.keys() - own_names - decoding_names)
        if unknown:
            raise _unknown(
                unknown[0], own_names | decoding_names | {"language", "prefix", "prompt", "temperature", "vad"}
            )
        decoding = {name: value for name, value in options.items() if name in decoding_names}
        if temperature is not None:
            decoding["temperatures"] = _numbers(temperature)
        if "suppress_tokens" in decoding:
            decoding["suppress_tokens"] = _suppressed(decoding["suppress_tokens"])
        activity = vad if isinstance(vad, VoiceActivity) else VoiceActivity(vad)
        own = {name: value for name, value in options.items() if name in own_names}
        return cls(vad=activity, decoding=DecodingOptions(**decoding), **own)


def _unknown(name: str, known: set[str]) -> ConfigError:
    """The error for an option that does not exist, with a hint."""
    if name in HINTS:
        return ConfigError(f"unknown option {name!r}: {HINTS[name]}")
    similar = get_close_matches(name, known, n=1)
    hint = f"did you mean {similar[0]}? Options are" if similar else "options are"
    return ConfigError(f"unknown option {name!r}; {hint} {', '.join(sorted(known))}")


def _numbers(temperature: Any) -> tuple[float, ...]:
    several = temperature if isinstance(temperature, (tuple, list)) else (temperature,)
    try:
        return tuple(float(number) for number in several)
    except (TypeError, ValueError):
        raise ConfigError(f"temperature {temperature!r}: give a number, or a list of them to try in turn") from None


def _suppressed(tokens: Any) -> tuple[int, ...]:
    if tokens is None:
        return ()
    ids = to_ids("suppress_tokens", tokens)
    if any(token < 0 for token in ids):
        raise ConfigError(
            f"suppress_tokens {tokens!r}: ids are 0 or more; what -1 means elsewhere is suppress_non_speech=True, the "
            "default here"
        )
    return ids


def to_ids(name: str, values: Any) -> tuple[int, ...]:
    """Ids of tokens as a tuple. Raises ConfigError, naming the option, for anything else."""
    expected = f"{name} {values!r}: give ids of tokens, for example [50, 361]"
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise ConfigError(expected)
    try:
        return tuple(operator.index(value) for value in values)
    except TypeError:
        raise ConfigError(expected) from None
