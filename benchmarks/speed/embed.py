"""HuBERT Base embedding speed of zoo, transformers and torchaudio: same random weights, same clips, one process.

    python benchmarks/speed/embed.py [--rounds 3] [--out benchmarks/results/speed-embed-DATE.md]

64 real clips of 1 to 15 s (LibriSpeech and LJSpeech readings under ZOO_DATA/read, cut to fixed lengths). Each system
gets all 64 as 16 kHz waveforms in the same order and returns the last layer, mean pooled over real frames:

  zoo           model.embed(clips): sorts and batches by itself; fp32, bfloat16, int8
  transformers  HubertModel on batches of 8 in file order, padded by its own feature extractor, attention mask given;
                fp32 and bfloat16 autocast
  torchaudio    hubert_base on the same batches of 8 with lengths; fp32

Rounds are interleaved: after a warm-up of each system, every system runs once per round. The report has medians and
ranges. It also has the peak matrix-product speed of this machine in each number format, the arithmetic that the clips
need, and the share of the peak that zoo reaches.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torchaudio
import transformers
from inputs import processor
from rich.console import Console
from torch import Tensor
from torchaudio.models.wav2vec2.utils import import_huggingface_model

import zoo
from zoo import audio, loading
from zoo.models.hubert.model import HuBERT
from zoo.nn.conv import WaveformFrontend
from zoo.nn.linear import Linear
from zoo.nn.precision import to_dtype

DATA = Path(os.environ.get("ZOO_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
RATE = 16_000
BATCH = 8


def clips(count: int = 64) -> list[Tensor]:
    """Clips of 1 to 15 s from the `read` recordings, in a fixed random order."""
    rows = [json.loads(line) for line in (DATA / "read" / "manifest.jsonl").read_text().splitlines()]
    speech = torch.cat([audio.load(DATA / "read" / row["audio"], RATE)[:] for row in rows])
    generator = torch.Generator().manual_seed(0)
    lengths = (torch.linspace(1, 15, count)[torch.randperm(count, generator=generator)] * RATE).long().tolist()
    starts = torch.randint(0, len(speech) - 15 * RATE, (count,), generator=generator).tolist()
    return [speech[start : start + length].clone() for start, length in zip(starts, lengths, strict=True)]


def in_batches(waves: list[Tensor]) -> list[list[Tensor]]:
    return [waves[i : i + BATCH] for i in range(0, len(waves), BATCH)]


def pooled(frames: Tensor, counts: Tensor) -> Tensor:
    return torch.stack([x[:n].float().mean(0) for x, n in zip(frames, counts.tolist(), strict=True)])


def run_transformers(model: transformers.HubertModel, waves: list[Tensor], bf16: bool) -> Tensor:
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    out = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        for batch in in_batches(waves):
            x = extractor([w.numpy() for w in batch], sampling_rate=RATE, padding=True, return_tensors="pt")
            frames = model(x.input_values, attention_mask=x.attention_mask).last_hidden_state
            out.append(pooled(frames, model._get_feat_extract_output_lengths(x.attention_mask.sum(1))))
    return torch.cat(out)


def run_torchaudio(model: torch.nn.Module, waves: list[Tensor]) -> Tensor:
    out = []
    with torch.inference_mode():
        for batch in in_batches(waves):
            frames, counts = model(*audio.pad(batch))
            out.append(pooled(frames, counts))
    return torch.cat(out)


def ceiling(dtype: str) -> float:
    """GFLOP/s of zoo's fastest product of (2048, 768) by (768, 3072) in this format."""
    x, linear = torch.randn(2048, 768), product(dtype)
    x = x.bfloat16() if dtype == "bfloat16" else x.to(torch.int8) if dtype == "int8" else x
    times = []
    with torch.no_grad():
        for _ in range(60):
            start = time.perf_counter()
            linear(x)
            times.append(time.perf_counter() - start)
    return 2 * 2048 * 768 * 3072 / statistics.median(times[10:]) / 1e9


def product(dtype: str) -> Callable[[Tensor], Tensor]:
    if dtype == "int8":
        weight = torch.randint(-127, 127, (3072, 768), dtype=torch.int8)
        return lambda x: torch._int_mm(x, weight.t())
    linear = Linear(768, 3072)
    return linear.bfloat16() if dtype == "bfloat16" else linear


def work(waves: list[Tensor], model: zoo.Encoder) -> float:
    """GFLOP of the matrix products and convolutions for these clips without padding. Multiply and add count as two."""
    assert isinstance(model, HuBERT)
    frontend = model.frontend
    assert isinstance(frontend, WaveformFrontend)
    total = 0.0
    d, f, c = model.config.dim, model.config.ffn_dim, model.config.conv_dim
    for wave in waves:
        length, channels = len(wave), 1
        for k, s in zip(frontend.kernels, frontend.strides, strict=True):
            length, work_in, channels = (length - k) // s + 1, channels * k, c
            total += 2 * length * work_in * c
        position = model.config.position_kernel * d // model.config.position_groups * d
        per_frame = c * d + position + model.num_layers * (4 * d * d + 2 * d * f + 2 * d * length)
        total += 2 * length * per_frame
    return total / 1e9


def systems() -> tuple[dict[str, Callable[[list[Tensor]], Tensor]], zoo.Encoder]:
    """The systems to time, all with the same random weights, and the fp32 encoder of zoo."""
    torch.manual_seed(0)
    reference = transformers.HubertModel(transformers.HubertConfig(feat_proj_layer_norm=True)).eval()
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder)
        Path(folder, "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
        zoos = {dtype: to_dtype(loading.load_foreign(folder), dtype) for dtype in ("float32", "bfloat16", "int8")}
    audio_model = import_huggingface_model(reference).eval()
    table: dict[str, Callable[[list[Tensor]], Tensor]] = {
        "transformers fp32": lambda waves: run_transformers(reference, waves, False),
        "transformers bf16 autocast": lambda waves: run_transformers(reference, waves, True),
        "torchaudio fp32": lambda waves: run_torchaudio(audio_model, waves),
    }
    for dtype, model in zoos.items():
        table[f"zoo {dtype}"] = partial(model.embed, sample_rate=RATE)
    return table, zoos["float32"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table, model = systems()
    waves = clips()
    seconds = sum(map(len, waves)) / RATE
    results = {name: run(waves) for name, run in table.items()}  # warm-up; the outputs are compared below
    times: dict[str, list[float]] = {name: [] for name in table}
    for _ in range(options.rounds):
        for name, run in table.items():
            start = time.perf_counter()
            run(waves)
            times[name].append(time.perf_counter() - start)
    lines = report(times, results, seconds, work(waves, model), waves, model)
    Console().print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


def report(
    times: dict[str, list[float]],
    results: dict[str, Tensor],
    seconds: float,
    gflop: float,
    waves: list[Tensor],
    model: zoo.Encoder,
) -> list[str]:
    """The result as Markdown lines."""
    exact = torch.stack([model.embed(w, RATE) for w in waves])
    base = statistics.median(times["transformers fp32"])
    autocast = statistics.median(times["transformers bf16 autocast"])
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = [
        f"# HuBERT Base, {len(waves)} clips of 1 to 15 s, {seconds:.0f} s of speech, {time.strftime('%Y-%m-%d')}",
        "",
        "`python benchmarks/speed/embed.py`",
        "",
        f"commit {commit}, {processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, transformers "
        f"{transformers.__version__}, torchaudio {torchaudio.__version__}; medians of {len(times['zoo float32'])} "
        "interleaved rounds.",
        "",
        "| system | seconds (min to max) | x real time | vs transformers fp32 | vs its bf16 | cosine to exact, min |",
        "|-|-|-|-|-|-|",
    ]
    for name, values in times.items():
        middle = statistics.median(values)
        cosine = torch.cosine_similarity(results[name], exact, dim=-1).min()
        lines.append(
            f"| {name} | {middle:.2f} ({min(values):.2f} to {max(values):.2f}) | {seconds / middle:.1f} | "
            f"{base / middle:.2f} | {autocast / middle:.2f} | {cosine:.5f} |"
        )
    lines += [
        "",
        "Exact: zoo in fp32, one clip at a time.",
        "",
        f"Arithmetic without padding: {gflop:.0f} GFLOP. Share of the peak matrix-product speed of this machine:",
        "",
    ]
    for dtype in ("float32", "bfloat16", "int8"):
        top, reached = ceiling(dtype), gflop / statistics.median(times[f"zoo {dtype}"])
        lines.append(f"- {dtype}: {reached:.0f} of {top:.0f} GFLOP/s, {100 * reached / top:.0f} %")
    return lines


if __name__ == "__main__":
    main()
