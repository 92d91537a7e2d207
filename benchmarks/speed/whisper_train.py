"""Whisper training steps against transformers: same size, same spectra, same tokens.

    python benchmarks/speed/whisper_train.py [--rounds 3] [--size tiny] [--out benchmarks/results/FILE.md]

One step is forward, backward and an AdamW update on a batch of random spectra and tokens: windows of 30 s, and texts of
the usual length. In fp32 and in bfloat16 (autocast).

  transformers        WhisperForConditionalGeneration in training mode, attention by SDPA (its default)
  zoo                 the Transcribe task
  zoo, short windows  the same without padding to 30 s (padding "none"); --seconds is their length

Rounds are interleaved (every system once, then again) after one warm-up each; the median is reported, with the range.
Losses are compared first: both start from the same weights. All systems keep memory between steps, like zoo.train.fit
(zoo/train/malloc.py); with --as-is malloc has its default settings, for all of them.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from batches import RATE, speech_batch
from inputs import processor
from rich.console import Console
from torch import Tensor, nn

import zoo
from zoo.models.whisper.model import Whisper
from zoo.recipes.whisper.config import WhisperTuneConfig
from zoo.recipes.whisper.data import SpeechBatch
from zoo.recipes.whisper.task import Transcribe
from zoo.recipes.whisper.vocabulary import train_tokenizer
from zoo.text.languages import LANGUAGES
from zoo.train.malloc import set_malloc_options


class Transformers(nn.Module):
    """A Whisper of transformers with the sizes of ours."""

    def __init__(self, model: Whisper) -> None:
        super().__init__()
        c = model.config
        self.model = transformers.WhisperForConditionalGeneration(
            transformers.WhisperConfig(
                vocab_size=c.vocab_size,
                num_mel_bins=c.mels,
                d_model=c.dim,
                encoder_layers=c.encoder_layers,
                decoder_layers=c.decoder_layers,
                encoder_attention_heads=c.heads,
                decoder_attention_heads=c.decoder_heads,
                encoder_ffn_dim=4 * c.dim,
                decoder_ffn_dim=4 * c.dim,
            )
        )

    def forward(self, batch: SpeechBatch) -> Tensor:
        mel = batch.mel.transpose(1, 2)  # (B, N, M)
        return self.model(input_features=mel, decoder_input_ids=batch.tokens, labels=batch.targets).loss


class Zoo(nn.Module):
    def __init__(self, model: Whisper) -> None:
        super().__init__()
        self.task = Transcribe(model, WhisperTuneConfig())

    def forward(self, batch: SpeechBatch) -> Tensor:
        output = self.task(batch)
        return output.loss / output.count


def as_ours(peer: Transformers, tokenizer: Path) -> Whisper:
    """Our Whisper with the same weights."""
    with tempfile.TemporaryDirectory() as folder:
        peer.model.save_pretrained(folder)
        (Path(folder) / "tokenizer.json").write_bytes(tokenizer.read_bytes())
        model = zoo.load(folder, device="cpu")
    assert isinstance(model, Whisper)
    return model


def stepper(module: nn.Module, batch: SpeechBatch, bf16: bool) -> Callable[[], float]:
    optimizer = torch.optim.AdamW(module.parameters(), 1e-5, fused=True)
    module.train()

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = module(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--seconds", type=float, default=6.0, help="of the short windows")
    parser.add_argument("--as-is", action="store_true", help="leave malloc as it is")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    keeps_memory = not options.as_is and set_malloc_options()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    sized = zoo.create(f"whisper-{options.size}")
    assert isinstance(sized, Whisper)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Path(folder) / "tokenizer.json"
        train_tokenizer(["a text"], 256, LANGUAGES[:99]).save(tokenizer)
        batch = speech_batch(sized, options.windows, options.tokens, sized.config.audio_ctx)
        short = speech_batch(sized, options.windows, options.tokens, round(options.seconds * 50))
        systems: dict[str, tuple[Callable[[], float], SpeechBatch]] = {}
        for bf16 in (False, True):
            peer = Transformers(sized)
            name = "bf16" if bf16 else "fp32"
            for system, module, inputs in (
                ("transformers", peer, batch),
                ("zoo", Zoo(as_ours(peer, tokenizer)), batch),
                (f"zoo, windows of {options.seconds:g} s", Zoo(as_ours(peer, tokenizer)), short),
            ):
                systems[f"{system} {name}"] = stepper(module, inputs, bf16), inputs
    losses = {name: step() for name, (step, _) in systems.items()}  # the warm-up
    difference = max(abs(losses[f"transformers {name}"] - losses[f"zoo {name}"]) for name in ("fp32", "bf16"))
    times: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(options.rounds):
        for name, (step, _) in systems.items():
            began = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(values) for name, values in times.items()}
    memory = "kept" if keeps_memory else "not kept"
    lines = [
        f"# Whisper training steps, {time.strftime('%Y-%m-%d')}",
        "",
        f"`python benchmarks/speed/whisper_train.py --rounds {options.rounds} --size {options.size} --windows "
        f"{options.windows} --tokens {options.tokens} --seconds {options.seconds:g}{' --as-is' * options.as_is}`",
        "",
        f"commit {commit}, {processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, transformers "
        f"{transformers.__version__}; {options.size}, {options.windows} windows of 30 s and texts of {options.tokens} "
        f"tokens a step; medians of {options.rounds} interleaved rounds; memory is {memory} "
        f"between steps. Losses of the first step differ by at most {difference:.1e}.",
        "",
        "| system | s a step (min to max) | x real time | vs transformers fp32 | vs its bf16 |",
        "|-|-|-|-|-|",
    ]
    for name, values in times.items():
        middle, seconds = medians[name], float(systems[name][1].lengths.sum()) / RATE
        ratios = [medians[f"transformers {peer}"] / middle for peer in ("fp32", "bf16")]
        lines.append(
            f"| {name} | {middle:.2f} ({min(values):.2f} to {max(values):.2f}) | {seconds / middle:.1f} | "
            + " | ".join(f"{ratio:.2f}" for ratio in ratios)
            + " |"
        )
    Console().print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
