"""The models under test: the requested models, and the baselines to compare them with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from zoo import loading, registry
from zoo.encoder import Encoder

CHANCE = "chance"
SPECTRAL = ("mfcc", "logmel")
GENERIC_FOLDERS = ("model", "best", "last", "run")
"""Folder names that every training run has. A model in one of them is named with the folder above."""


@dataclass(frozen=True)
class TestedModel:
    """name: as in tables. role: "model" or "baseline"."""

    name: str
    role: str
    encoder: Encoder


def load_tested_models(
    models: Sequence[str | Path | Encoder], *, baselines: bool = True, device: str = "auto", dtype: str = "float32"
) -> list[TestedModel]:
    """Models under distinct names, then MFCC, log-mel, and each architecture once with random weights.

    models: encoders, or what zoo.load takes, as it is or as "NAME=SOURCE".
    Raises what zoo.load raises.
    """
    tested: list[TestedModel] = []
    for source in models:
        if isinstance(source, Encoder):
            name, encoder = source.name or source.family, source
        else:
            name, path = parse_source(source)
            encoder = loading.load(path, device=device, dtype=dtype)
        used_names = {model.name for model in tested}
        unique_name = name if name not in used_names else f"{name} ({encoder.fingerprint()[:6]})"
        tested.append(TestedModel(unique_name, "model", encoder))
    if not baselines:
        return tested
    fingerprints = {model.encoder.fingerprint() for model in tested}
    for name in SPECTRAL:
        encoder = loading.load(name, device=device)
        if encoder.fingerprint() not in fingerprints:
            tested.append(TestedModel(name, "baseline", encoder))
    for model in [each for each in tested if each.role == "model"]:
        fresh = untrained(model.encoder)
        if fresh is not None and fresh.fingerprint() not in fingerprints:
            fingerprints.add(fresh.fingerprint())
            tested.append(TestedModel(f"{model.name}, untrained", "baseline", fresh))
    return tested


def parse_source(source: str | Path) -> tuple[str, str | Path]:
    """The name in tables, and what to load.

    "NAME=SOURCE" gives both. A registered name stays as it is. A path gets the name of its last part; if that is one of
    GENERIC_FOLDERS, the name of the folder above is added before it.
    """
    before, equals, after = str(source).partition("=")
    if equals and before and not Path(source).exists():
        return before, after
    if not Path(source).exists():
        return str(source), source
    path = Path(source).resolve()
    name = path.name
    while path.name in GENERIC_FOLDERS and path.parent.name:
        path = path.parent
        name = f"{path.name}/{name}"
    return name, source


def untrained(encoder: Encoder, seed: int = 0) -> Encoder | None:
    """The same architecture with new random weights that depend on the seed only. None if it has no weights."""
    if not any(True for _ in encoder.parameters()):
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = registry.build(encoder.family, asdict(encoder.config), encoder.name)
    return fresh.to(encoder.device).eval()
