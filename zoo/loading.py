"""Load models with their weights, from a registered name, a directory, a file or a hub repository.

    "hubert"            a registered name           registry -> packaged checkpoint, or importers
    "runs/mine/best"    our checkpoint directory    checkpoint.read -> registry.restore
    "hubert.pt"         foreign weights             importers.read -> registry.restore
    "hf:owner/name"     a repository of the hub     downloaded, then as one of the two above

torch is imported inside the functions, so `import zoo` is cheap.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from zoo import registry
from zoo.cards import PACKAGED
from zoo.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from zoo.encoder import Encoder
    from zoo.models.hubert.cards import Name as HubertName
    from zoo.models.hubert.model import HuBERT
    from zoo.models.mulan.cards import Name as MulanName
    from zoo.models.mulan.model import MuLan
    from zoo.models.spectral.cards import Name as SpectralName
    from zoo.models.spectral.model import Spectral
    from zoo.models.wav2vec2.cards import Name as Wav2Vec2Name
    from zoo.models.wavlm.cards import Name as WavLMName
    from zoo.models.wavlm.model import WavLM
    from zoo.models.whisper.cards import Name as WhisperName
    from zoo.models.whisper.model import Whisper
    from zoo.models.whisper_distil.cards import Name as DistilWhisperName


EXPORTED = ("model", "best")
"""Where a recipe puts its model, in its run folder."""


# A type checker knows the class of a name; what a directory or a file holds, only the caller knows.
@overload
def load(source: HubertName | Wav2Vec2Name, device: str = ..., dtype: str | torch.dtype = ...) -> HuBERT: ...
@overload
def load(source: WavLMName, device: str = ..., dtype: str | torch.dtype = ...) -> WavLM: ...
@overload
def load(source: MulanName, device: str = ..., dtype: str | torch.dtype = ...) -> MuLan: ...
@overload
def load(source: SpectralName, device: str = ..., dtype: str | torch.dtype = ...) -> Spectral: ...
@overload
def load(source: WhisperName | DistilWhisperName, device: str = ..., dtype: str | torch.dtype = ...) -> Whisper: ...
@overload
def load(source: str | Path, device: str = ..., dtype: str | torch.dtype = ..., *, wrap: bool = ...) -> Encoder: ...
def load(
    source: str | Path, device: str = "auto", dtype: str | torch.dtype = "float32", *, wrap: bool = False
) -> Encoder:
    """A model with its weights, in eval mode.

    source: a registered name ("hubert": the small one inside this package; "hubert-base": published weights, cached by
            huggingface_hub), "hf:owner/name", a directory (a checkpoint of zoo, the run folder of a recipe, or Hugging
            Face layout) or a file (fairseq .pt).
    device: "auto" (the GPU if there is one), "cpu", "cuda", "cuda:1", ...
    dtype:  "float32", "bfloat16", "float16", "int8" (CPU, linear layers only), or "auto": bfloat16 if the device
            has native bfloat16, else float32. Results are always float32.

    wrap:   let transformers compute the model, for audio models of the hub that zoo does not implement; see `zoo.wrap`.

    Reduced precision is tested once for each model structure and machine (`zoo.selftest`): where it is wrong, the model
    comes in float32, with a warning.

    Raises UnknownModelError, ConfigError, or CheckpointError (missing, damaged, unsupported, no network and no cache).
    """
    import torch

    from zoo.nn.precision import resolve_device, resolve_dtype

    target = resolve_device(device)
    precision, _ = resolve_dtype(dtype, target)
    with torch.inference_mode(False):  # a model outlives the call, and may be trained later
        model = _load_weights(source, wrap).to(target).eval()
        if precision == "float32" or next(model.parameters(), None) is None:
            return model
        return _in_reduced_precision(model, precision, target, source, wrap)


def wrap(model: Any, processor: Any) -> Encoder:
    """A model of transformers as an Encoder, for audio models that zoo does not implement: transformers computes it.

    processor: its feature extractor, or a processor that has one. Clips of one length go through the model together,
    others alone: it never sees padding, so a clip has the same embedding in every batch. The model is used as it is,
    not copied; of a model with a decoder, only the encoder. Layers, shortest clip and frame rate are found by running
    it on noise.

    Raises ConfigError, with the reason, for a model that does not run on audio alone, gives no hidden states, or pads
    every clip to one length, so that real frames cannot be told from padding.
    """
    from zoo.models.wrapped.model import wrap as wrap_model

    return wrap_model(model, processor)


def _in_reduced_precision(model: Encoder, dtype: str, device: torch.device, source: str | Path, wrap: bool) -> Encoder:
    """The model in `dtype`; in float32, with a warning, where that precision is wrong on this machine."""
    from zoo import selftest
    from zoo.nn.precision import to_dtype

    if not selftest.is_on():
        return to_dtype(model, dtype)
    result = selftest.recall(model, dtype, device)
    if result is None:
        exact = selftest.reference(model)
        model = to_dtype(model, dtype)
        if not exact.is_comparable:
            return model
        result = selftest.compare(model, exact, dtype)
        selftest.remember(result, model, exact, dtype, device)
        if not result.reason:
            return model
        model = _load_weights(source, wrap).to(device).eval()
    elif not result.reason:
        return to_dtype(model, dtype)
    warnings.warn(
        f"{source}: {dtype} is wrong on this machine: {result.reason}. It is loaded in float32 instead; "
        "`zoo selftest` tells more",
        stacklevel=3,
    )
    return model


def _load_weights(source: str | Path, wrap: bool = False) -> Encoder:
    if wrap:
        return _load_wrapped(source)
    if isinstance(source, str) and registry.is_registered(source):
        return _load_registered(source)
    if isinstance(source, str) and source.startswith("hf:"):
        return load_foreign(source)

    from zoo.io.paths import expand_path

    path = expand_path(source)
    if isinstance(source, str):
        check_exists(source, path)
    folder = find_checkpoint(path)
    return load_foreign(source) if folder is None else load_checkpoint(folder)


def find_checkpoint(path: Path) -> Path | None:
    """The checkpoint at `path`: the folder itself, or the model of a run folder. None if there is neither.

    Raises CheckpointError for a run folder without a model, and for a checkpoint with a damaged config.yaml.
    """
    from zoo.checkpoint import CONFIG, is_checkpoint, read_header

    exported = [path / name for name in EXPORTED]
    for folder in (path, *exported):
        if is_checkpoint(folder):
            return folder
    for folder in exported:
        if (folder / CONFIG).exists():
            read_header(folder)  # raises, with the reason
    if (path / "checkpoints").is_dir() and not (path / "config.json").exists():
        raise CheckpointError(
            f"{path}: a run folder that has no model yet; the command that trains it goes on, writes one"
        )
    if (path / CONFIG).exists() and not (path / "config.json").exists():
        read_header(path)
    return None


def check_exists(source: str, path: Path) -> None:
    """Raises CheckpointError for a path that does not exist, UnknownModelError for what looks like a name."""
    if not source:
        raise CheckpointError(
            "the name of the model is empty; give a registered name (`zoo list`), a path or hf:owner/name"
        )
    try:
        if path.exists():
            return
    except OSError as error:  # no permission, a name that is too long
        raise CheckpointError(f"{source[:200]}: cannot be looked up ({error.strerror})") from error
    if path.suffix or len(path.parts) > 1 or source.startswith("."):
        hint = ""
        if len(path.parts) == 2:
            hint = f"; for a repository of the hub, write hf:{source}"
        elif len(path.parts) == 1:  # model names may contain a dot too: whisper-tiny.en
            similar = registry.similar_names(source, cutoff=0.75)
            hint = f", and no such model; did you mean {', '.join(similar)}?" if similar else ""
        raise CheckpointError(f"{source}: no such file or directory{hint}")
    registry.info(source)  # raises, with similar names


def _load_registered(name: str) -> Encoder:
    card = registry.info(name)
    if card.parameters == 0:
        return registry.create(name)
    if card.source is None:
        train = f"; `{card.recipe}` trains it" if card.recipe else ""
        raise CheckpointError(
            f"{name} has no published weights{train}; zoo.create({name!r}) builds it with random weights"
        )
    if card.source == PACKAGED:
        return load_checkpoint(registry.ASSETS / card.name)
    model = load_foreign(card.source)
    model.name = name
    return model


def load_checkpoint(directory: str | Path) -> Encoder:
    """The model in one of our checkpoint directories, on the CPU, in float32 and eval mode.

    Raises CheckpointError as `checkpoint.read`, and if config, weights and this version of the model do not fit.
    """
    from zoo import checkpoint

    saved = checkpoint.read(directory)
    model = registry.restore(
        saved.family,
        saved.config,
        saved.tensors,
        name=saved.name,
        provenance=saved.provenance,
        source=str(saved.path),
    )
    model.load_assets(saved.path)
    model.origin = checkpoint.Origin(saved.name, saved.fingerprint, saved.provenance)
    current = checkpoint.plain(model.preprocessing())
    changed = [
        f"{key} {old!r}, now {current.get(key)!r}"
        for key, old in saved.preprocessing.items()
        if current.get(key) != old
    ]
    if changed:
        warnings.warn(
            f"{saved.path}: the preprocessing differs from the one recorded when the model was saved "
            f"({'; '.join(changed)}): this version of zoo preprocesses differently, or the record was edited; edits of "
            f"the record have no effect (edit `config` instead)",
            stacklevel=2,
        )
    return model


def load_foreign(source: str | Path) -> Encoder:
    """The model in "hf:owner/name[@revision]", a directory or a file, on the CPU, in float32 and eval mode.

    Raises CheckpointError if the source cannot be downloaded, is damaged, has an unknown layout or needs a feature that
    zoo does not implement. The error lists missing and unexpected tensors, and tensors of the wrong shape.
    """
    from zoo import importers
    from zoo.checkpoint import is_checkpoint
    from zoo.importers import hub
    from zoo.io.paths import expand_path

    origin: dict[str, Any] = {"source": str(source)}
    if hub.is_hub(source):
        path = hub.fetch(str(source))
        name = hub.parse(str(source))[0].partition("/")[2]
        origin["revision"] = path.name  # in the cache, the folder name is the commit
    else:
        path = expand_path(source)
        name = path.stem
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


def _load_wrapped(source: str | Path) -> Encoder:
    """A Hugging Face directory or repository, or the repository of a registered name, computed by transformers."""
    from zoo.importers import hub
    from zoo.importers.wrapped import read_wrapped
    from zoo.io.paths import expand_path

    if isinstance(source, str) and registry.is_registered(source):
        source = registry.info(source).source or source
    path = hub.fetch(str(source)) if hub.is_hub(source) else expand_path(source)
    model = read_wrapped(str(source), path)
    model.name = hub.parse(str(source))[0].partition("/")[2] if hub.is_hub(source) else path.stem
    model.provenance = {"source": str(source)} | dict(model.provenance)
    if hub.is_hub(source):
        model.provenance = dict(model.provenance) | {"revision": path.name}
    return model


def convert(source: str | Path, destination: str | Path) -> Encoder:
    """Load `source` as `zoo.load` does, write it as a zoo checkpoint directory, and return the model.

    Raises as `zoo.load`, and CheckpointError if `destination` contains anything other than a checkpoint.
    """
    model = load(source, device="cpu")
    model.save(destination)
    return model


def open_encoder(model: str | Path | Encoder, device: str, dtype: str) -> tuple[Encoder, str, str]:
    """The encoder, the number format that it computes in, and the reason for that format, if any."""
    from zoo.encoder import Encoder
    from zoo.nn.precision import dtype_of, resolve_device, resolve_dtype

    if isinstance(model, Encoder):
        return model, dtype_of(model), ""
    target = resolve_device(device)
    precision, reason = resolve_dtype(dtype, target)
    encoder = load(model, device=str(target), dtype=precision)
    weights = next(encoder.parameters(), None)
    if weights is None:
        precision, reason = "float32", "no weights"
    elif precision != "float32" and dtype_of(encoder) == "float32":
        precision, reason = "float32", f"{precision} is wrong on this machine"
    return encoder, precision, reason
