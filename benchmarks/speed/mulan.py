"""MuLan's audio towers against torchvision's ResNet-50 and transformers' AST: same random weights, same spectrograms.

    python benchmarks/speed/mulan.py [--rounds 5] [--batch 8] [--out benchmarks/results/speed-mulan-DATE.md]

One batch of 10 s log-mel windows (1000 frames; 64 mels for ResNet-50, 128 for AST), one process. The peers are built
like ours: a ResNet-50 with one input channel and no stride in its first convolution, an AST of 1000 frames.

  torchvision   ResNet-50 in eval mode: fp32, bfloat16 autocast, and both with model and input channels-last
  transformers  ASTModel with its default attention: fp32 and bfloat16 autocast
  zoo           ResNetTower and ASTTower, fp32 and cast to bfloat16

Each round runs every system once, after one warm-up each. The table has medians with their range. Below are the GFLOP
of a clip, and the share of this machine's peak speed of matrix products.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
import transformers
from embed import ceiling
from inputs import processor
from rich.console import Console
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from zoo.checkpoint import assign
from zoo.importers.towers import ast_tensors, resnet_tensors
from zoo.models.mulan.audio import ASTTower, ResNetTower

FRAMES = 1000
System = Callable[[Tensor], Tensor]


def randomize(model: nn.Module) -> None:
    """Random normalization weights, as after training. Fresh ones would hide errors in folding them."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2)


def resnets() -> dict[str, System]:
    theirs = torchvision.models.resnet50().eval()
    randomize(theirs)
    first = theirs.conv1.weight.detach().sum(1, keepdim=True)
    theirs.conv1 = nn.Conv2d(1, 64, 7, 1, 3, bias=False)
    theirs.conv1.weight = nn.Parameter(first)
    theirs.fc = nn.Identity()
    tower = ResNetTower(frames=FRAMES, level=0.0, spread=1.0).eval()
    assign(tower, resnet_tensors(theirs.state_dict()), source="torchvision")
    last = copy.deepcopy(theirs).to(memory_format=torch.channels_last)

    def peer(bf16: bool, channels_last: bool) -> System:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        model = last if channels_last else theirs

        def run(mel: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                return model(mel[:, None].contiguous(memory_format=layout))

        return run

    return {
        "torchvision fp32": peer(False, False),
        "torchvision bf16 autocast": peer(True, False),
        "torchvision fp32, channels-last": peer(False, True),
        "torchvision bf16 autocast, channels-last": peer(True, True),
    } | ours(tower)


def asts() -> dict[str, System]:
    theirs = transformers.ASTModel(transformers.ASTConfig(max_length=FRAMES)).eval()
    tower = ASTTower(frames=FRAMES, level=0.0, spread=1.0).eval()
    assign(tower, ast_tensors(theirs.state_dict(), frames=FRAMES), source="transformers")

    def peer(bf16: bool) -> System:
        def run(mel: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                return theirs(mel).pooler_output

        return run

    return {"transformers fp32": peer(False), "transformers bf16 autocast": peer(True)} | ours(tower)


def ours(tower: ResNetTower | ASTTower) -> dict[str, System]:
    def run(tower: nn.Module) -> System:
        return lambda mel: tower(mel, torch.full((len(mel),), FRAMES))

    return {"zoo float32": run(tower), "zoo bfloat16": run(copy.deepcopy(tower).bfloat16())}


def measure(systems: dict[str, System], mel: Tensor, rounds: int) -> tuple[dict[str, list[float]], dict[str, Tensor]]:
    """The seconds of each round and the output, by system."""
    with torch.no_grad():
        results = {name: run(mel).float() for name, run in systems.items()}  # the warm-up
        times: dict[str, list[float]] = {name: [] for name in systems}
        for _ in range(rounds):
            for name, run in systems.items():
                start = time.perf_counter()
                run(mel)
                times[name].append(time.perf_counter() - start)
    return times, results


def count_gflop(reference: System, mel: Tensor) -> float:
    """GFLOP of one clip in the matrix products and convolutions of the reference (multiply-add = 2)."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        reference(mel[:1])
    return counter.get_total_flops() / 1e9


def report(title: str, systems: dict[str, System], mel: Tensor, rounds: int) -> list[str]:
    """A Markdown table, and the share of the ceiling. The first system is the reference."""
    times, results = measure(systems, mel, rounds)
    exact, *_ = results.values()
    base, autocast, *_ = (statistics.median(values) for values in times.values())
    gflop = count_gflop(next(iter(systems.values())), mel)
    lines = [
        f"## {title}: {len(mel)} clips of {mel.shape[1]} frames, {mel.shape[2]} mels",
        "",
        "| system | clips a second (min to max) | vs fp32 peer | vs its bf16 autocast | cosine to fp32 peer, min |",
        "|-|-|-|-|-|",
    ]
    for name, values in times.items():
        median, (slow, fast) = statistics.median(values), (len(mel) / max(values), len(mel) / min(values))
        cosine = torch.cosine_similarity(results[name], exact, dim=-1).min()
        lines.append(
            f"| {name} | {len(mel) / median:.2f} ({slow:.2f} to {fast:.2f}) | {base / median:.2f} | "
            f"{autocast / median:.2f} | {cosine:.5f} |"
        )
    lines += ["", f"{gflop:.1f} GFLOP a clip."]
    for dtype in ("float32", "bfloat16"):
        reached = gflop * len(mel) / statistics.median(times[f"zoo {dtype}"])
        top = ceiling(dtype)
        lines.append(
            f"{dtype}: {reached:.0f} of the {top:.0f} GFLOP/s of a matrix product, {100 * reached / top:.0f} %."
        )
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = [
        f"# MuLan's audio towers, {time.strftime('%Y-%m-%d')}",
        "",
        f"`python benchmarks/speed/mulan.py --rounds {options.rounds} --batch {options.batch}`",
        "",
        f"commit {commit}, {processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, torchvision "
        f"{torchvision.__version__}, transformers {transformers.__version__}; medians of {options.rounds} interleaved "
        "rounds.",
        "",
    ]
    for title, build, mels in (("ResNet-50", resnets, 64), ("AST", asts, 128)):
        lines += report(title, build(), torch.randn(options.batch, FRAMES, mels), options.rounds)
    Console().print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
    if options.out:
        options.out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
