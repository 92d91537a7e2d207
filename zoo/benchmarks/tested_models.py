"""Who sits the exam: the models that were asked for, and the baselines that each has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from zoo import loading, registry
from zoo.encoder import Encoder

CHANCE = "chance"
SPECTRAL = ("mfcc", "logmel")
OF_EVERY_RUN = ("model", "best", "last", "run")


@dataclass(frozen=True)
class TestedModel:
    """name: as it appears in tables. role: "model" or "baseline"."""

    name: str
    role: str
    encoder: Encoder


def tested_models(
    models: Sequence[str | Path | Encoder], *, baselines: bool = True, device: str = "auto", dtype: str = "float32"
) -> list[TestedModel]:
    """Models under distinct names, then MFCC, log-mel, and each architecture once with random weights.

    models: encoders, or what zoo.load takes, as it is or as "NAME=SOURCE".
    Raises what zoo.load raises.
    """
    found: list[TestedModel] = []
    for source in models:
        if isinstance(source, Encoder):
            name, encoder = source.name or source.family, source
        else:
            name, path = named(source)
            encoder = loading.load(path, device=device, dtype=dtype)
        taken = {subject.name for subject in found}
        found.append(
            TestedModel(name if name not in taken else f"{name} ({encoder.fingerprint()[:6]})", "model", encoder)
        )
    if not baselines:
        return found
    asked = {subject.encoder.fingerprint() for subject in found}
    for name in SPECTRAL:
        encoder = loading.load(name, device=device)
        if encoder.fingerprint() not in asked:
            found.append(TestedModel(name, "baseline", encoder))
    for subject in [s for s in found if s.role == "model"]:
        fresh = untrained(subject.encoder)
        if fresh is not None and fresh.fingerprint() not in asked:
            asked.add(fresh.fingerprint())
            found.append(TestedModel(f"{subject.name}, untrained", "baseline", fresh))
    return found


def named(source: str | Path) -> tuple[str, str | Path]:
    """Name in tables, and what to load: of "NAME=SOURCE" both; a registered name as it is; of a path its last part,
    behind its folder's where every run has one of that name.
    """
    before, equals, after = str(source).partition("=")
    if equals and before and not Path(source).exists():
        return before, after
    if not Path(source).exists():
        return str(source), source
    place = Path(source).resolve()
    name = place.name
    while place.name in OF_EVERY_RUN and place.parent.name:
        place = place.parent
        name = f"{place.name}/{name}"
    return name, source


def untrained(encoder: Encoder, seed: int = 0) -> Encoder | None:
    """The same architecture with fresh weights that depend on the seed alone; None where there are no weights."""
    if not any(True for _ in encoder.parameters()):
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = registry.build(encoder.family, asdict(encoder.config), encoder.name)
    return fresh.to(encoder.device).eval()
