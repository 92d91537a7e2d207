"""What several benchmarks share: the name of the processor, and features to cluster."""

from __future__ import annotations

import platform
from pathlib import Path

import torch
from torch import Tensor


def processor() -> str:
    """Name and relevant vector extensions of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    extensions = {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"} & set(
        fields.get("flags", "").split()
    )
    return f"{fields.get('model name', platform.processor())} ({', '.join(sorted(extensions))})"


def mixture(rows: int, width: int, groups: int = 500, latent: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(groups, generator=generator).pow(3) + 0.02
    group = torch.multinomial(share, rows, True, generator=generator)
    shape = torch.randn(latent, width, generator=generator) * torch.arange(1, latent + 1).pow(-0.5)[:, None]
    centers = 1.2 * torch.randn(groups, latent, generator=generator)
    spread = 0.6 + torch.rand(groups, 1, generator=generator)
    x = (centers[group] + spread[group] * torch.randn(rows, latent, generator=generator)) @ shape
    return x + 0.3 * torch.randn(rows, width, generator=generator)
