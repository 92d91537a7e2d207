"""Logits of zoo's Whisper against openai-whisper's, from the same real weights, in float32.

    python -m benchmarks.whisper.parity --weights DIR [--models tiny.en base] [--files 10] [--out FILE.md]

DIR holds openai-whisper files (tiny.en.pt). For each recording of `read`, both models get its transcript. The table has
the largest difference of a logit over all tokens, once with openai-whisper's log-mel for both and once with their own.
For comparison it has the rounding error of openai-whisper: its distance from the same model in float64.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import whisper
from torch import Tensor, nn
from whisper.tokenizer import get_tokenizer

import zoo
from benchmarks.whisper.recordings import utterances
from benchmarks.whisper.systems import heading, publish


def in_float64(path: Path) -> Any:
    """openai-whisper's model in float64; its LayerNorm would compute in float32."""
    model: Any = whisper.load_model(str(path), device="cpu").double()
    norms: list[Any] = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    for norm in norms:
        norm.forward = partial(_layer_norm, norm)
    return model


def _layer_norm(module: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, module.normalized_shape, module.weight, module.bias, module.eps)


def logits_of(model: Any, states: Any, ids: Tensor) -> Tensor:
    """Logits (1, U, V) of tokens (1, U)."""
    cross, cache = model.decoder.cross(states), model.decoder.new_cache(1, ids.shape[1])
    logits: Tensor = model.decoder(ids, cross, cache, last_only=False)[0]
    return logits


def distances(path: Path, files: int) -> tuple[int, dict[str, float]]:
    """Number of tokens, and the largest difference of each comparison."""
    theirs, exact = whisper.load_model(str(path), device="cpu"), in_float64(path)
    ours: Any = zoo.load(path, device="cpu", dtype="float32")
    tokenizer = get_tokenizer(theirs.is_multilingual, language="en", task="transcribe")
    worst = {"zoo, same log-mel": 0.0, "zoo, own log-mel": 0.0, "openai-whisper in float64": 0.0, "largest logit": 0.0}
    tokens = 0
    for item in utterances("read")[:files]:
        ids = torch.tensor([[*tokenizer.sot_sequence, *tokenizer.encode(" " + item.text.lower())]])
        mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(item.wave), theirs.dims.n_mels)  # (N, M)
        with torch.no_grad():
            expected = theirs(mel[None], ids)
            differences = {
                "zoo, same log-mel": logits_of(ours, ours.encode_mel(mel.T[None]), ids) - expected,
                "zoo, own log-mel": logits_of(ours, ours.encode_windows([torch.from_numpy(item.wave)]), ids) - expected,
                "openai-whisper in float64": exact(mel[None].double(), ids) - expected,
                "largest logit": expected,
            }
        worst = {name: max(worst[name], float(value.abs().max())) for name, value in differences.items()}
        tokens += ids.shape[1]
    return tokens, worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    command = "python -m benchmarks.whisper.parity"
    lines = heading("Whisper: logits against openai-whisper", command, "float32, largest difference of a logit.")
    for name in options.models:
        tokens, worst = distances(options.weights / f"{name}.pt", options.files)
        lines += [f"## {name}: {tokens} tokens of {options.files} recordings", "", "| distance from openai-whisper | |"]
        lines += ["|-|-|", *(f"| {comparison} | {value:.1e} |" for comparison, value in worst.items()), ""]
    publish(lines, options.out)


if __name__ == "__main__":
    main()
