"""Whisper decoding with random weights and a fixed number of tokens, against `generate` of transformers (SDPA)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.machine import Machine, Measured
from benchmarks.gpu.models import create
from benchmarks.gpu.sections import Case, Row, Section
from benchmarks.gpu.sizes import Size
from zoo.models.whisper.decoding import DecodingOptions, DecodingRequest, decode

BEAMS = 5
PROMPT = 4  # start, language, task, no timestamps


def cases(machine: Machine, size: Size) -> list[Case]:
    found = []
    for name, counts in size.decode.items():
        for windows in counts:
            case = f"{name}, {windows} windows"
            found.append(Case(f"{case}, zoo", partial(ours, case, name, windows, 1, machine, size)))
            peer = partial(theirs, case, name, windows, 1, machine, size)
            found.append(Case(f"{case}, transformers", peer, needs=("transformers",)))
    windows = size.decode[size.beam][-1]
    case = f"{size.beam}, {windows} windows, {BEAMS} beams"
    found.append(Case(f"{case}, zoo", partial(ours, case, size.beam, windows, BEAMS, machine, size)))
    peer = partial(theirs, case, size.beam, windows, BEAMS, machine, size)
    return [*found, Case(f"{case}, transformers", peer, needs=("transformers",))]


def ours(case: str, name: str, windows: int, beams: int, machine: Machine, size: Size) -> list[Row]:
    model: Any = create(f"whisper-{name}", machine, size)
    model = model.bfloat16()
    states = model.encode_mel(torch.randn(windows, 3_000, model.config.mels, device=machine.device))
    options = DecodingOptions(
        temperatures=(0.0,),
        timestamps=False,
        suppress_tokens=(model.tokenizer.eot,),  # so that every window gets all its tokens
        max_tokens=size.tokens,
        compression_ratio_threshold=None,
        logprob_threshold=None,
        no_speech_threshold=None,
        repetition_stop=False,
    )
    options = replace(options, beam_size=beams)
    requests = [DecodingRequest(language="en")] * windows

    def run() -> Any:
        return decode(model, states, requests, options)

    lengths = {len(decoded.tokens) for decoded in run()}
    if lengths != {size.tokens}:
        raise RuntimeError(f"{size.tokens} tokens were asked for, but windows have {sorted(lengths)}")
    measured = machine.measure(run, rounds=size.rounds, seconds=size.round_seconds, warm=True)
    waits = machine.count_waits(run)
    return [row(case, "zoo bfloat16", windows, measured, size, waits)]


def theirs(case: str, name: str, windows: int, beams: int, machine: Machine, size: Size) -> list[Row]:
    """The plain generation loop: without the rules of Whisper, which zoo applies."""
    import transformers

    from benchmarks.gpu import peers

    config: Any = create(f"whisper-{name}", Machine(torch.device("meta")), size).config
    with torch.device(machine.device):
        model = peers.whisper(config).to(machine.device, torch.bfloat16)
    spectra = torch.randn(windows, config.mels, 3_000, device=machine.device, dtype=torch.bfloat16)
    prompt = torch.full((windows, PROMPT), 257, device=machine.device)
    with torch.inference_mode():
        encoder_outputs = model.get_encoder()(spectra)

    def run() -> Any:
        with torch.inference_mode():
            return transformers.GenerationMixin.generate(
                model,
                encoder_outputs=encoder_outputs,
                decoder_input_ids=prompt,
                max_new_tokens=size.tokens,
                min_new_tokens=size.tokens,
                do_sample=False,
                num_beams=beams,
            )

    measured = machine.measure(run, rounds=size.rounds, seconds=size.round_seconds)
    waits = machine.count_waits(run)
    return [row(case, "transformers bfloat16", windows, measured, size, waits)]


def row(case: str, system: str, windows: int, measured: Measured, size: Size, waits: int | None) -> Row:
    return {
        "case": case,
        "system": system,
        "tokens a second": windows * size.tokens / measured.seconds,
        "ms a step": 1e3 * measured.seconds / size.tokens,
        **measured.row(),
        "waits a step": None if waits is None else waits / size.tokens,
    }


DECODE = Section("decode", "Whisper decoding, encoder states given", cases)
