"""Whether reduced precision is right on this machine: a fixed clip in float32 and in fewer bits, twice.

`zoo.load` runs this once for each model structure, precision and machine, and keeps the result in the cache folder.
Where the embedding is too far from that of float32, or two runs differ, it gives the model in float32 and warns. The
variable ZOO_SELFTEST=0 turns this off. A right result counts for every model of the structure, because a wrong kernel
depends on shapes. A wrong result counts for the same weights only: weights can be the cause, as in an overflow.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from zoo.encoder import Encoder
from zoo.errors import ZooError
from zoo.io.atomic import replacing_file
from zoo.io.cache import cache_folder
from zoo.nn.precision import cpu_description

VERSION = 2  # raised when the same machine would get another answer
SECONDS = 3.0
FLOORS = {"bfloat16": 0.99, "float16": 0.99, "int8": 0.97}
"""Lowest cosine between the embedding in reduced precision and the one in float32."""
_SWITCH = "ZOO_SELFTEST"
_DIRT = 16  # blocks of NaN that are freed before each run; what reads memory that it did not write finds them


@dataclass(frozen=True)
class SelfTest:
    """cosine: of the embedding in `dtype` to that in float32; repeats: whether two runs gave the same bytes.

    seconds, exact_seconds: of one embedding of three seconds of audio, in `dtype` and in float32.
    """

    model: str
    dtype: str
    device: str
    cosine: float
    repeats: bool
    seconds: float
    exact_seconds: float

    @property
    def reason(self) -> str:
        """What is wrong; empty where nothing is."""
        floor = FLOORS[self.dtype]
        if math.isnan(self.cosine):
            return "the embedding is not finite"
        if not self.repeats:
            return f"two runs over the same clip differ (cosine to float32 {self.cosine:.4f})"
        if self.cosine < floor:
            return f"the cosine to float32 is {self.cosine:.4f}, and at least {floor} is expected"
        return ""


@dataclass(frozen=True)
class Reference:
    """The embedding of the fixed clip in float32 (D,), how long it took, and the fingerprint of the model."""

    vector: Tensor
    seconds: float
    fingerprint: str

    @property
    def is_comparable(self) -> bool:
        """Whether a cosine to this vector has a meaning: not where weights give zeros, infinities or NaN."""
        return bool(self.vector.isfinite().all() and self.vector.any())


def is_on() -> bool:
    """Whether `zoo.load` checks reduced precision: unless ZOO_SELFTEST is 0."""
    return os.environ.get(_SWITCH, "1") != "0"


def reference(model: Encoder) -> Reference:
    """What the model gives in float32, which it must be in."""
    vector, seconds = _embed(model)
    return Reference(vector, seconds, model.fingerprint())


def compare(model: Encoder, exact: Reference, dtype: str) -> SelfTest:
    """The model, now in `dtype`, against its own embedding in float32."""
    first, _ = _embed(model)
    again, seconds = _embed(model)
    cosine = torch.cosine_similarity(first.double(), exact.vector.double(), dim=0)
    return SelfTest(
        model=model.name or model.family,
        dtype=dtype,
        device=model.device.type,
        cosine=float(cosine),
        repeats=torch.equal(first, again),
        seconds=seconds,
        exact_seconds=exact.seconds,
    )


def recall(model: Encoder, dtype: str, device: torch.device) -> SelfTest | None:
    """The remembered result for this model, which is in float32, this precision and machine; None if there is none."""
    right = _read(_path(model, dtype, device), dtype)
    return right or _read(_path(model, dtype, device, model.fingerprint()), dtype)


def remember(result: SelfTest, model: Encoder, exact: Reference, dtype: str, device: torch.device) -> None:
    """Keep a result in the cache folder. A folder that cannot be written is no error: the test then runs again."""
    path = _path(model, dtype, device, exact.fingerprint if result.reason else "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing_file(path) as partial:
            partial.write_text(json.dumps(asdict(result)), encoding="utf-8")
    except OSError:
        return


def machine(device: torch.device) -> dict[str, str]:
    """What a wrong kernel may depend on: processor, instruction sets, libraries and their settings."""
    facts = {
        "processor": _processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "oneDNN limit": os.environ.get("ONEDNN_MAX_CPU_ISA", "none"),
    }
    if device.type == "cuda":
        facts["GPU"] = torch.cuda.get_device_name(device)
    return facts


def run(load: Callable[[], Encoder], cast: Callable[[Encoder], Encoder], dtype: str) -> SelfTest:
    """Test one model in one precision, whatever is remembered. load: it in float32; cast: brings it to `dtype`.

    Raises ZooError for a model whose embedding is zero or not finite in float32.
    """
    model = load()
    _embed(model)  # the first run of all is slow
    exact = reference(model)
    if not exact.is_comparable:
        raise ZooError(f"{model.name or model.family}: the embedding in float32 is zero or not finite")
    return compare(cast(model), exact, dtype)


def _embed(model: Encoder) -> tuple[Tensor, float]:
    """The embedding (D,) of the fixed clip and its time, after memory was filled with NaN."""
    clip = _clip(model.sample_rate, model.min_samples)
    dirt = [torch.full((1 << 18,), float("nan")) for _ in range(_DIRT)]
    del dirt
    start = time.perf_counter()
    vector = model.embed(clip, model.sample_rate)
    return vector, time.perf_counter() - start


def _clip(sample_rate: int, min_samples: int) -> Tensor:
    """Three seconds (S,), or more if the model needs them: two gliding tones and noise, under a slow envelope."""
    count = max(int(SECONDS * sample_rate), min_samples)
    times = torch.arange(count, dtype=torch.float64) / sample_rate
    tones = torch.sin(2 * torch.pi * (150 + 40 * times) * times) + 0.5 * torch.sin(2 * torch.pi * 900 * times)
    noise = torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    envelope = 0.1 + 0.4 * torch.sin(torch.pi * times / (count / sample_rate)) ** 2
    return (envelope * (0.5 * tones + 0.2 * noise)).clamp(-1, 1).float()


def _read(path: Path, dtype: str) -> SelfTest | None:
    """The result in a file; None if there is none, or if it is damaged."""
    try:
        result = SelfTest(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    is_whole = result.dtype == dtype and isinstance(result.cosine, float) and isinstance(result.repeats, bool)
    return result if is_whole else None


def _path(model: Encoder, dtype: str, device: torch.device, fingerprint: str = "") -> Path:
    """File of the result for a structure, or, with a fingerprint, for a structure with these weights."""
    facts = {
        "version": VERSION,
        "family": model.family,
        "config": repr(model.config),
        "dtype": dtype,
        "device": device.type,
        "machine": machine(device),
        "threads": torch.get_num_threads(),
        "fingerprint": fingerprint,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder("selftest", f"{digest}.json")


def _processor() -> str:
    """Name of the processor, and its instructions for few bits."""
    name, flags = cpu_description()
    chosen = sorted(flag for flag in flags if "bf16" in flag or "amx" in flag or "vnni" in flag)
    return f"{name} ({' '.join(chosen) or 'no instructions for few bits'})"
