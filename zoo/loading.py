"""Models with their weights: a registered name, a directory, a file or a repository of the hub becomes an encoder.

    "hubert"            a registered name           registry -> packaged checkpoint, or importers
    "runs/mine/best"    our checkpoint directory    checkpoint.read -> registry.restore
    "hubert.pt"         foreign weights             importers.read -> registry.restore
    "hf:owner/name"     a repository of the hub     fetched, then as one of the two before

Heavy imports wait: `import zoo` is cheap.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.cards import PACKAGED
from zoo.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from zoo.encoder import Encoder


def load(source: str | Path, device: str = "auto", dtype: str = "float32") -> Encoder:
    """A model with its weights, in eval mode.

    source: a registered name ("hubert": the small one inside this package; "hubert-base": published weights, cached by
            huggingface_hub), "hf:owner/name", a directory (ours, or Hugging Face layout) or a file (fairseq .pt).
    device: "auto" (the GPU where there is one), "cpu", "cuda", "cuda:1", ...
    dtype:  "float32", "bfloat16", "float16", "int8" (CPU, linear layers only), or "auto": bfloat16 where the device
            multiplies it natively, else float32. Results are float32 in any case.

    Reduced precision is tested once for each model structure and machine (`zoo.selftest`): where it is wrong, the model
    comes in float32, with a warning.

    Raises UnknownModelError, ConfigError, or CheckpointError (missing, damaged, unsupported, no network and no cache).
    """
    from zoo.nn.precision import resolve_device, resolve_dtype

    target = resolve_device(device)
    precision, _ = resolve_dtype(dtype, target)
    model = _load_weights(source).to(target).eval()
    if precision == "float32" or model.num_layers == 0:
        return model
    return _in_reduced_precision(model, precision, target, source)


def _in_reduced_precision(model: Encoder, dtype: str, device: torch.device, source: str | Path) -> Encoder:
    """The model in `dtype`; in float32, with a warning, where that precision is wrong on this machine."""
    from zoo import selftest
    from zoo.nn.precision import to_dtype

    if not selftest.is_on():
        return to_dtype(model, dtype)
    result = selftest.recall(model, dtype, device)
    if result is None:
        exact = selftest.reference(model)
        model = to_dtype(model, dtype)
        result = selftest.compare(model, exact, dtype)
        selftest.remember(result, model, dtype, device)
    elif not result.reason:
        model = to_dtype(model, dtype)
    if not result.reason:
        return model
    warnings.warn(
        f"{source}: {dtype} is wrong on this machine: {result.reason}. It is loaded in float32 instead; "
        "`zoo selftest` tells more",
        stacklevel=4,
    )
    return _load_weights(source).to(device).eval()


def _load_weights(source: str | Path) -> Encoder:
    from zoo.checkpoint import is_checkpoint
    from zoo.io.paths import expand_path

    path = expand_path(source)
    if isinstance(source, str) and _names_a_model(source, path):
        return _load_registered(source)
    if is_checkpoint(path):
        return load_checkpoint(path)
    return load_foreign(source)


def _names_a_model(source: str, path: Path) -> bool:
    """Whether `source` means an entry of the table. Raises CheckpointError for a path where nothing is."""
    if registry.is_registered(source):
        return True
    if source.startswith("hf:") or path.exists():
        return False
    if path.suffix or len(path.parts) > 1:
        hint = ""
        if len(path.parts) == 2:
            hint = f"; a repository of the hub is written hf:{source}"
        elif len(path.parts) == 1:  # a dot is in names too: whisper-tiny.en
            near = registry.near_names(source, cutoff=0.75)
            hint = f", and no model is called so; did you mean {', '.join(near)}?" if near else ""
        raise CheckpointError(f"{source}: no such file or directory{hint}")
    return True


def _load_registered(name: str) -> Encoder:
    card = registry.info(name)
    if card.parameters == 0:
        return registry.create(name)
    if card.source is None:
        train = f"; `{card.recipe}` trains it" if card.recipe else ""
        raise CheckpointError(
            f"{name} has no published weights{train}; zoo.create({name!r}) gives the untrained architecture"
        )
    if card.source == PACKAGED:
        return load_checkpoint(registry.ASSETS / card.name)
    model = load_foreign(card.source)
    model.name = name
    return model


def load_checkpoint(directory: str | Path) -> Encoder:
    """The model of one of our checkpoint directories, on the CPU, in float32 and evaluation mode.

    Raises CheckpointError as `checkpoint.read`, and when config, weights and this version of the model do not fit.
    """
    from zoo import checkpoint

    found = checkpoint.read(directory)
    model = registry.restore(
        found.family,
        found.config,
        found.tensors,
        name=found.name,
        provenance=found.provenance,
        source=str(found.path),
    )
    model.load_assets(found.path)
    now = checkpoint.plain(model.preprocessing())
    changed = [
        f"{key} {old!r}, now {now.get(key)!r}" for key, old in found.preprocessing.items() if now.get(key) != old
    ]
    if changed:
        warnings.warn(
            f"{found.path}: preprocessing is not what it was when the model was saved ({'; '.join(changed)}): zoo has "
            f"changed since, or the record was edited, which has no effect (edit `config` instead)",
            stacklevel=2,
        )
    return model


def load_foreign(source: str | Path) -> Encoder:
    """The model of "hf:owner/name[@revision]", of a directory or of a file, on the CPU, in float32 and eval mode.

    Raises CheckpointError: cannot be fetched, damaged, of no known layout, or asking for what zoo does not implement;
    missing, unexpected and misshapen tensors are listed.
    """
    from zoo import importers
    from zoo.checkpoint import is_checkpoint
    from zoo.importers import hub
    from zoo.io.paths import expand_path

    origin: dict[str, Any] = {"source": str(source)}
    path = expand_path(source)
    name = path.stem
    if hub.is_hub(source):
        path = hub.fetch(str(source))
        name = hub.parse(str(source))[0].partition("/")[2]
        origin["revision"] = path.name  # the cache names each snapshot by its commit
    if is_checkpoint(path):
        return load_checkpoint(path)
    foreign = importers.read(str(source), path)
    model = registry.restore(
        foreign.family,
        foreign.config,
        foreign.tensors,
        name=name,
        provenance=origin | {"layout": foreign.layout} | foreign.notes,
        source=str(source),
    )
    if foreign.tokenizer is not None:
        model.tokenizer = foreign.tokenizer
    return model


def convert(source: str | Path, destination: str | Path) -> Encoder:
    """Write what `zoo.load` takes, registered names too, as one of zoo's own checkpoint directories; returns the model.

    Raises as `zoo.load`, and CheckpointError when `destination` holds anything but a checkpoint.
    """
    model = load(source, device="cpu")
    model.save(destination)
    return model


def open_encoder(model: str | Path | Encoder, device: str, dtype: str) -> tuple[Encoder, str, str]:
    """The encoder, the number format it computes in, and why that one."""
    from zoo.encoder import Encoder
    from zoo.nn.precision import dtype_of, resolve_device, resolve_dtype

    if isinstance(model, Encoder):
        numbers = next((str(p.dtype).removeprefix("torch.") for p in model.parameters()), "float32")
        return model, numbers, "as it was loaded"
    target = resolve_device(device)
    numbers, why = resolve_dtype(dtype, target)
    encoder = load(model, device=str(target), dtype=numbers)
    weights = next(encoder.parameters(), None)
    if weights is None:
        numbers, why = "float32", "it has no weights"
    elif numbers != "float32" and dtype_of(encoder) == "float32":
        numbers, why = "float32", f"{numbers} is wrong on this machine"
    return encoder, numbers, why
