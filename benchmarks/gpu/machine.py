"""The machine that runs the measurements: packages, facts, clocks, peak memory, and waits for the GPU."""

from __future__ import annotations

import gc
import importlib
import platform
import statistics
import subprocess
import sys
import time
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = ("torchaudio", "numpy", "scipy", "safetensors", "tokenizers", "yaml", "rich", "accelerate")
"""What the modules of zoo used here import. Without one of them, the cases that need it fail, and say so."""
REPLACEABLE = ("soundfile", "omegaconf", "omegaconf.errors", "jiwer")
"""Imported by zoo for files, YAML and error rates, none of which occur here: a stand-in is enough."""
OPTIONAL = ("transformers",)


class StandIn(types.ModuleType):
    """A module that is not installed. Whatever is imported from it is an exception class, so it can be subclassed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        attribute = type(name, (Exception,), {"__module__": self.__name__})
        setattr(self, name, attribute)
        return attribute


def missing_packages() -> dict[str, str]:
    """Package -> what follows from its absence. Puts stand-ins in the place of replaceable ones."""
    missing: dict[str, str] = {}
    for name in (*REQUIRED, *OPTIONAL, *REPLACEABLE):
        try:
            importlib.import_module(name)
        except ImportError as error:
            missing[name] = f"cases that need it are left out ({error})"
            if name in REPLACEABLE:
                sys.modules[name] = StandIn(name)
                missing[name] = "replaced by a stand-in: nothing here uses it"
    return {name: consequence for name, consequence in missing.items() if "." not in name}


@dataclass
class Machine:
    """device; peak: measured rate of a bfloat16 matrix product, FLOP/s, 0 until it is measured."""

    device: torch.device
    peak: float = 0.0

    @property
    def is_gpu(self) -> bool:
        return self.device.type == "cuda"

    def synchronize(self) -> None:
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def free(self) -> None:
        """Give unused memory back, so that one case does not take it from the next."""
        if self.is_gpu:
            gc.collect()
            torch.cuda.empty_cache()

    def reset_peak_memory(self) -> None:
        if self.is_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        elif Path("/proc/self/clear_refs").exists():
            Path("/proc/self/clear_refs").write_text("5")

    def peak_memory(self) -> float:
        """GiB since the last reset: allocated on the GPU; on a CPU the resident set of the process."""
        if self.is_gpu:
            return torch.cuda.max_memory_allocated(self.device) / 2**30
        status = Path("/proc/self/status")
        lines = status.read_text().splitlines() if status.exists() else []
        kibibytes = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
        return kibibytes[0] / 2**20 if kibibytes else 0.0

    def measure(self, run: Callable[[], Any], *, rounds: int, seconds: float, warm: bool = False) -> Measured:
        """Time `run` after a warm-up: `rounds` times, fewer once `seconds` have passed. warm: it has run before."""
        if not warm:
            run()
        self.synchronize()
        self.reset_peak_memory()
        times: list[float] = []
        began = time.perf_counter()
        while len(times) < rounds and (not times or time.perf_counter() - began < seconds):
            start = time.perf_counter()
            run()
            self.synchronize()
            times.append(time.perf_counter() - start)
        return Measured(times, self.peak_memory())

    def count_waits(self, run: Callable[[], Any]) -> int | None:
        """How often Python waits for the GPU in `run`; None on a CPU."""
        if not self.is_gpu:
            return None
        self.synchronize()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                run()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing CUDA" in str(warning.message) for warning in caught)

    def facts(self) -> dict[str, str]:
        """Commit, processor, GPU and versions."""
        commit = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
        try:
            found = subprocess.run(commit, capture_output=True, text=True).stdout.strip()
        except OSError:  # no git
            found = ""
        facts = {"commit": found or "unknown", "python": platform.python_version(), "torch": torch.__version__}
        facts["threads"] = str(torch.get_num_threads())
        transformers = sys.modules.get("transformers")
        facts["transformers"] = transformers.__version__ if transformers else "not installed"
        if self.is_gpu:
            properties = torch.cuda.get_device_properties(self.device)
            facts["gpu"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
            facts["cuda"] = str(torch.version.cuda)
            facts["cudnn"] = str(torch.backends.cudnn.version())
        else:
            facts["gpu"] = "none: a rehearsal on the CPU"
        return facts


@dataclass(frozen=True)
class Measured:
    """times: seconds of each round; memory: peak, GiB."""

    times: list[float]
    memory: float

    @property
    def seconds(self) -> float:
        return statistics.median(self.times)

    def row(self) -> dict[str, float]:
        """Columns of a table."""
        return {
            "seconds": self.seconds,
            "fastest": min(self.times),
            "slowest": max(self.times),
            "GiB": self.memory,
        }
