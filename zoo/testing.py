"""The contract of encoders as a function: whether an encoder of your own keeps the promises of zoo.

    zoo.testing.check_encoder(MyEncoder(MyConfig()))

The tests of zoo run the same checks, and more, over every registered model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from zoo import loading
from zoo.encoder import Encoder
from zoo.errors import ZooError

TOLERANCE = 1e-5  # relative to the size of the embeddings, in float32
_PADDING = 999.0  # what the padding is filled with; it must not matter


class ContractError(ZooError, AssertionError):
    """An encoder breaks a promise of the contract."""


def check_encoder(model: Encoder, *, tolerance: float = TOLERANCE, saved: bool = True) -> None:
    """Check that an encoder keeps the contract, with generated audio, in a few seconds for a small model.

    The embedding of a clip does not depend on its batch; padding and other clips do not reach it, nor its gradient; the
    same input gives the same bytes; shapes, layers and frame counts are as stated; windows of long clips join up; a
    checkpoint restores the model (saved: needs a registered family).

    Raises ContractError, naming the promise and the size of the difference.
    """
    was_training = model.training
    try:
        for name, check in PROMISES.items():
            if name != "checkpoint" or saved:
                model.eval()
                check(model, tolerance)
    finally:
        model.train(was_training)


def noise(seconds: float, sample_rate: int, seed: int = 0) -> Tensor:
    """Generated audio (S,) in [-1, 1]: colored noise with a slow envelope."""
    generator = torch.Generator().manual_seed(seed)
    count = round(seconds * sample_rate)
    white = torch.randn(count + 8, generator=generator)
    colored = white.unfold(0, 9, 1).mean(-1)
    envelope = torch.linspace(0, 6.28 * seconds, count).sin().abs() * 0.5 + 0.05
    return (colored * envelope).clamp(-1, 1)


def difference(a: Tensor, b: Tensor) -> float:
    """Largest difference, relative to the root mean square of b where that is above 1."""
    return ((a - b).abs().max() / max(1.0, b.square().mean().sqrt().item())).item()


def _require(holds: bool, promise: str) -> None:
    if not holds:
        raise ContractError(promise)


def _clips(model: Encoder) -> list[Tensor]:
    """Clips of very different lengths, the shortest just long enough for one frame."""
    rate = model.sample_rate
    shortest = noise(2.0, rate, 3)[: model.min_samples]
    return [noise(1.5, rate, 1), noise(0.7, rate, 2) if 0.7 * rate > model.min_samples else shortest, shortest]


def _check_shapes(model: Encoder, tolerance: float) -> None:
    clips = _clips(model)
    layers = model.num_layers + 1
    frames = model.encode(clips, model.sample_rate, layer="all")
    counts = [model.count_frames(len(clip)) for clip in clips]
    expected = (layers, len(clips), max(counts), model.dim)
    _require(tuple(frames.x.shape) == expected, f"encode gives {tuple(frames.x.shape)}, and {expected} is stated")
    _require(frames.lengths.tolist() == counts, f"lengths are {frames.lengths.tolist()}, count_frames says {counts}")
    _require(frames.x.dtype == torch.float32, f"encode gives {frames.x.dtype}, not float32")
    for layer in range(layers):
        single = model.encode(clips, model.sample_rate, layer=layer).x
        gap = difference(single, frames.x[layer])
        _require(gap <= tolerance, f"layer {layer} alone differs by {gap:.2g} from the same layer among all")


def _check_batch(model: Encoder, tolerance: float) -> None:
    clips = _clips(model)
    together = model.embed(clips, model.sample_rate, layer="all", pooling="stats")
    for index, clip in enumerate(clips):
        alone = model.embed(clip, model.sample_rate, layer="all", pooling="stats")
        gap = difference(together[:, index], alone)
        _require(gap <= tolerance, f"clip {index} differs by {gap:.2g} in a batch: padding or other clips reach it")


def _check_padding(model: Encoder, tolerance: float) -> None:
    waves, lengths = _batch(model)
    dirty = waves.clone()
    dirty[1, int(lengths[1]) :] = _PADDING
    with torch.no_grad():
        clean, changed = model(waves, lengths), model(dirty, lengths)
    gap = difference(changed.x, clean.x)
    _require(gap <= tolerance, f"what stands in the padding of a batch changes the frames by {gap:.2g}")
    rest = clean.x[1, int(clean.lengths[1]) :].abs().sum()
    _require(float(rest) == 0, "frames after the end of a clip must be zero")


def _check_gradients(model: Encoder, tolerance: float) -> None:
    waves, lengths = _batch(model)
    waves.requires_grad_()
    frames = model(waves, lengths)
    if not frames.x.requires_grad:
        return  # nothing to learn
    weights = torch.linspace(1, 2, model.dim, device=frames.x.device)  # the norm of a unit vector has no gradient
    (frames.x[1] * weights).square().sum().backward()
    model.zero_grad()
    if waves.grad is None:
        return  # the audio is prepared by code without gradients
    _require(float(waves.grad[0].abs().max()) == 0, "the gradient of one clip reaches another clip of its batch")
    beyond = waves.grad[1, int(lengths[1]) :].abs().max()
    _require(float(beyond) == 0, "the gradient of a clip reaches its padding")


def _check_determinism(model: Encoder, tolerance: float) -> None:
    clips = _clips(model)
    first = model.embed(clips, model.sample_rate)
    model.train()
    second = model.embed(clips, model.sample_rate)
    _require(model.training, "embed must leave the training flag as it was")
    model.eval()
    _require(torch.equal(first, second), "the same input gives other bytes the second time")


def _check_long_clips(model: Encoder, tolerance: float) -> None:
    """A clip of three windows: pooled, encoded and streamed, it must be the same."""
    wave = noise(2.5 * model.window_seconds, model.sample_rate, 5)
    frames = model.encode(wave, model.sample_rate)
    count = model.count_frames(len(wave))
    _require(frames.x.shape[1] == count, f"a long clip gives {frames.x.shape[1]} frames, count_frames says {count}")
    pooled = model.postprocess_pooled(frames.pool()[0], "mean")
    gap = difference(model.embed(wave, model.sample_rate), pooled)
    _require(gap <= tolerance, f"embed of a long clip differs by {gap:.2g} from its pooled frames")
    streamed = torch.cat(list(model.stream(wave, model.sample_rate)))
    gap = difference(streamed, frames.x[0])
    _require(gap <= tolerance, f"stream of a long clip differs by {gap:.2g} from encode")


def _check_checkpoint(model: Encoder, tolerance: float) -> None:
    clip = _clips(model)[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        model.save(path)
        restored = loading.load(path, device=str(model.device))
        same = torch.equal(restored.embed(clip, model.sample_rate), model.embed(clip, model.sample_rate))
    _require(restored.fingerprint() == model.fingerprint(), "a saved checkpoint has another fingerprint")
    _require(same, "a saved checkpoint gives other embeddings")


def _batch(model: Encoder) -> tuple[Tensor, Tensor]:
    """Two clips (2, S) with zeros after the end of the second, and their lengths (2,)."""
    waves = torch.stack([noise(1.5, model.sample_rate, 1), noise(1.5, model.sample_rate, 2)])
    end = max(model.min_samples, int(0.7 * model.sample_rate))
    waves[1, end:] = 0
    lengths = torch.tensor([waves.shape[1], end])
    return waves.to(model.device), lengths.to(model.device)


PROMISES: dict[str, Callable[[Encoder, float], None]] = {
    "shapes": _check_shapes,
    "batch": _check_batch,
    "padding": _check_padding,
    "gradients": _check_gradients,
    "determinism": _check_determinism,
    "long clips": _check_long_clips,
    "checkpoint": _check_checkpoint,
}
"""The checks of `check_encoder` by name: each takes a model in eval mode and a tolerance, and raises ContractError."""
