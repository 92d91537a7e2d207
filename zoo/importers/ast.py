"""Hugging Face directories of ASTModel and ASTForAudioClassification."""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError
from zoo.importers.hf import license_of, processor_of
from zoo.importers.source import Foreign, ForeignSource, read_weights
from zoo.importers.towers import ast_arguments, ast_tensors
from zoo.models.ast.model import AstConfig


def read(source: ForeignSource) -> Foreign:
    """The AST of a Hugging Face directory; its classifier is left out.

    Raises CheckpointError for what is missing, damaged, unexpected or not implemented.
    """
    config = ast_arguments(source.content, source=str(source.path / "config.json"))
    config["frames"] = source.content.get("max_length", 1024)
    config |= _preprocessing(source, config)
    weights = read_weights(source.path)
    tensors = ast_tensors(
        weights, mels=config["mels"], stride=config["stride"], frames=config["frames"], source=source.name
    )
    notes: dict[str, Any] = {}
    if left_out := [name for name in weights if name.startswith("classifier.")]:
        notes["left_out"] = left_out
    if license := license_of(source.path / "README.md"):
        notes["license"] = license
    named = {f"tower.{name}": tensor for name, tensor in tensors.items()}
    return Foreign("ast", config, named, "Hugging Face", notes)


def _preprocessing(source: ForeignSource, config: dict[str, Any]) -> dict[str, Any]:
    """sample_rate, level and spread, of AudioSet without a description of the feature extractor.

    Raises CheckpointError if spectrograms of the feature extractor do not fit the model.
    """
    settings = processor_of(source.path)
    if settings is None:
        return {}
    for theirs, ours in (("num_mel_bins", "mels"), ("max_length", "frames")):
        if settings.get(theirs, config[ours]) != config[ours]:
            raise CheckpointError(
                f"{source.path}: the feature extractor has {theirs} {settings[theirs]}, the model {config[ours]}"
            )
    level, spread = settings.get("mean", AstConfig.level), 2 * settings.get("std", AstConfig.spread / 2)
    if not settings.get("do_normalize", True):
        level, spread = 0.0, 1.0
    return {"sample_rate": settings.get("sampling_rate", 16_000), "level": level, "spread": spread}
