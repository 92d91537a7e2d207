"""HuBERT pre-training steps against transformers and torchaudio: same sizes, same audio, same masks, same targets.

    python benchmarks/speed/pretrain.py [--rounds 3] [--layers 12] [--out benchmarks/results/speed-pretrain-DATE.md]

One step is forward, backward and an AdamW update on a batch of random audio: waveform front end, `layers` blocks of
width 768, cosine logits of 500 units at temperature 0.1 on masked frames. In fp32 and in bfloat16 (autocast).

  transformers  HubertModel with mask_time_indices, with our head and loss, because it has no pre-training
  torchaudio    hubert_pretrain_base without layerdrop, with its own masks and head; also computes unmasked logits
  zoo           the Pretrain task

Each round runs every system once, after one warm-up step each. The table has medians with their range. All systems keep
memory between steps, as zoo.train.fit does (zoo/train/malloc.py); --as-is uses the default malloc settings.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
import torchaudio
import transformers
from batches import UNITS, unit_batch
from inputs import processor
from rich.console import Console
from torch import Tensor, nn

from zoo.models.hubert.heads import UnitHead
from zoo.models.hubert.model import HuBERT, HubertConfig
from zoo.recipes.hubert.config import LossConfig
from zoo.recipes.hubert.task import Pretrain, UnitBatch
from zoo.train.malloc import set_malloc_options

BASE = {  # torchaudio.models.hubert_pretrain_base, which fixes the number of layers
    "extractor_mode": "group_norm",
    "extractor_conv_bias": False,
    "encoder_embed_dim": 768,
    "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 128,
    "encoder_pos_conv_groups": 16,
    "encoder_num_heads": 12,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 3072,
    "encoder_ff_interm_dropout": 0.0,
    "encoder_dropout": 0.1,
    "encoder_layer_norm_first": False,
    "encoder_layer_drop": 0.0,
    "mask_prob": 0.8,
    "mask_selection": "static",
    "mask_other": 0.0,
    "mask_length": 10,
    "no_mask_overlap": False,
    "mask_min_space": 1,
    "mask_channel_prob": 0.0,
    "mask_channel_selection": "static",
    "mask_channel_other": 0.0,
    "mask_channel_length": 10,
    "no_mask_channel_overlap": False,
    "mask_channel_min_space": 1,
    "skip_masked": False,
    "skip_nomask": False,
    "num_classes": UNITS,
    "final_dim": 256,
    "feature_grad_mult": 0.1,
}


class Transformers(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.model = transformers.HubertModel(transformers.HubertConfig(num_hidden_layers=layers, layerdrop=0.0))
        self.head = UnitHead(768, 256, (UNITS,), 0.1)

    def forward(self, batch: UnitBatch) -> Tensor:
        states = self.model(batch.waves, mask_time_indices=batch.masked).last_hidden_state
        (logits,) = self.head(states[batch.masked])
        return F.cross_entropy(logits, batch.targets[batch.masked][:, 0])


class Torchaudio(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        base = inspect.signature(torchaudio.models.hubert_pretrain_model).parameters
        self.model = torchaudio.models.hubert_pretrain_model(
            **{name: BASE.get(name) for name in base} | {"encoder_num_layers": layers}
        )

    def forward(self, batch: UnitBatch) -> Tensor:
        masked, _, penalty = self.model(batch.waves, batch.targets[..., 0], batch.lengths)
        # As in fairseq, the logit of the target is the first one, so the correct class is always 0.
        return F.cross_entropy(masked.float(), torch.zeros(len(masked), dtype=torch.int64)) + 0 * penalty


class Zoo(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.task = Pretrain(HuBERT(HubertConfig(layers=layers, layerdrop=0.0, units=(UNITS,))), LossConfig())

    def forward(self, batch: UnitBatch) -> Tensor:
        output = self.task(batch)
        return output.loss / output.count


def stepper(module: nn.Module, bf16: bool) -> Callable[[UnitBatch], None]:
    optimizer = torch.optim.AdamW(module.parameters(), 1e-4, fused=True)
    module.train()

    def step(batch: UnitBatch) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = module(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--as-is", action="store_true", help="use the default malloc settings")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    memory_kept = not options.as_is and set_malloc_options()
    torch.manual_seed(0)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    batch = unit_batch(options.clips, options.seconds)
    systems = {
        f"{name} {'bf16' if bf16 else 'fp32'}": stepper(make(options.layers), bf16)
        for name, make in (("transformers", Transformers), ("torchaudio", Torchaudio), ("zoo", Zoo))
        for bf16 in (False, True)
    }
    times: dict[str, list[float]] = {name: [] for name in systems}
    for turn in range(options.rounds + 1):
        for name, step in systems.items():
            began = time.perf_counter()
            step(batch)
            if turn:  # the first is the warm-up
                times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(values) for name, values in times.items()}
    seconds = options.clips * options.seconds
    lines = [
        f"# HuBERT pre-training steps, {time.strftime('%Y-%m-%d')}",
        "",
        f"`python benchmarks/speed/pretrain.py --rounds {options.rounds} --layers {options.layers} "
        f"--clips {options.clips} --seconds {options.seconds:g}{' --as-is' if options.as_is else ''}`",
        "",
        f"commit {commit}, {processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, transformers "
        f"{transformers.__version__}, torchaudio {torchaudio.__version__}; {options.layers} layers of Base, "
        f"{seconds:g} s of audio a step; medians of {options.rounds} interleaved rounds; memory is "
        f"{'kept' if memory_kept else 'not kept'} between steps.",
        "",
        "| system | s a step (min to max) | x real time | vs transformers fp32 | vs its bf16 | vs torchaudio bf16 |",
        "|-|-|-|-|-|-|",
    ]
    for name, values in times.items():
        median = medians[name]
        ratios = [medians[peer] / median for peer in ("transformers fp32", "transformers bf16", "torchaudio bf16")]
        lines.append(
            f"| {name} | {median:.2f} ({min(values):.2f} to {max(values):.2f}) | {seconds / median:.1f} | "
            + " | ".join(f"{ratio:.2f}" for ratio in ratios)
            + " |"
        )
    Console().print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
