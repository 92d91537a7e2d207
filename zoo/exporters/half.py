"""Checkpoints of half the size, for packaging: weights are rounded to float16."""

from __future__ import annotations

from pathlib import Path

import torch

from zoo import checkpoint
from zoo.encoder import Encoder
from zoo.errors import CheckpointError


def save_half(model: Encoder, directory: str | Path) -> None:
    """Round the weights of `model` to float16, in place, and save it; `zoo.load` gives the rounded model in float32.

    A quantizer of the model is bound to the rounded weights.
    Raises CheckpointError for weights that float16 cannot represent.
    """
    quantizer = getattr(model, "quantizer", None)
    weights = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    for name, tensor in weights.items():
        if not bool(tensor.half().isfinite().all()):
            raise CheckpointError(
                f"{name}: has NaN, infinity or values beyond 65504, which float16 cannot represent; save it in float32"
            )
    with torch.no_grad():
        for tensor in weights.values():
            tensor.copy_(tensor.half())
    if quantizer is not None:
        model.attach(quantizer.rebind(model))  # type: ignore[operator]
    model.provenance = dict(model.provenance) | {"stored": "weights rounded to float16"}
    checkpoint.save(model, directory, dtype=torch.float16)
