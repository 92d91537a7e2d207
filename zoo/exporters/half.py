"""Checkpoints at half the size, for shipping: weights rounded to float16, the model told of it."""

from __future__ import annotations

from pathlib import Path

import torch

from zoo import checkpoint
from zoo.encoder import Encoder
from zoo.errors import CheckpointError


def save_half(model: Encoder, directory: str | Path) -> None:
    """Round the weights of `model` to float16, in place, and save it; `zoo.load` gives the rounded model in float32.

    What the model carries for its own weights, such as a quantizer, goes on with the rounded ones.
    Raises CheckpointError for weights that float16 cannot hold.
    """
    quantizer = getattr(model, "quantizer", None)
    weights = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    for name, tensor in weights.items():
        if not bool(tensor.half().isfinite().all()):
            raise CheckpointError(
                f"{name}: NaN, infinity or values beyond 65504, which float16 cannot hold; save it whole"
            )
    with torch.no_grad():
        for tensor in weights.values():
            tensor.copy_(tensor.half())
    if quantizer is not None:
        model.attach(quantizer.rebind(model))  # type: ignore[operator]
    model.provenance = dict(model.provenance) | {"stored": "weights rounded to float16"}
    checkpoint.save(model, directory, dtype=torch.float16)
