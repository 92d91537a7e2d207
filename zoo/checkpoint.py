"""Self-describing checkpoint directories: written in one step, checked strictly when read.

config.yaml         format version, name, family, config, preprocessing, provenance, hash of the weights
model.safetensors   the weights, under the names of the model's own state_dict
README.md           model card with Hugging Face metadata
tokenizer.json, quantizer.safetensors, state/       if the model or the training run has them
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from zoo._version import __version__
from zoo.card_page import FINE_TUNED, model_card
from zoo.errors import CheckpointError
from zoo.io.atomic import replacing_directory
from zoo.io.small_files import LFS_ADVICE, is_lfs_pointer, read_yaml
from zoo.io.text import first_lines, shorten
from zoo.nn.building import uninitialized
from zoo.nn.linear import Int8Linear

FORMAT = 1
CONFIG, WEIGHTS, CARD = "config.yaml", "model.safetensors", "README.md"
PARTS = (CONFIG, WEIGHTS, CARD, "tokenizer.json", "quantizer.safetensors", "state")
SUFFIX = "-finetuned"
_REQUIRED = {"format", "name", "family", "config", "preprocessing", "fingerprint", "weights_sha256", "zoo_version"}


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint directory. The model is not built yet.

    config: values for the family's Config; preprocessing and provenance: records for people and checks.
    tensors: memory-mapped from the file, so they take no memory until they are used.
    """

    path: Path
    name: str
    family: str
    config: dict[str, Any]
    preprocessing: dict[str, Any]
    provenance: dict[str, Any]
    fingerprint: str
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class Origin:
    """The checkpoint that a model was loaded from: its name, fingerprint and provenance then."""

    name: str
    fingerprint: str
    provenance: Mapping[str, Any]


class Savable(Protocol):
    """The model interface that `save` needs. Every `Encoder` implements it."""

    family: ClassVar[str]
    name: str
    config: Any
    provenance: Mapping[str, Any]
    origin: Origin | None

    def state_dict(self) -> dict[str, Any]: ...

    def modules(self) -> Iterator[nn.Module]: ...

    def preprocessing(self) -> dict[str, Any]: ...

    def fingerprint(self) -> str: ...

    def save_assets(self, directory: Path) -> list[str]: ...


def is_checkpoint(path: str | Path) -> bool:
    """Whether `path` is a directory written by `save`. Other files in it than config.yaml may be damaged."""
    try:
        header = read_yaml(Path(path) / CONFIG)
    except CheckpointError:
        return False
    return isinstance(header, dict) and {"format", "family", "config"} <= header.keys()


def save(
    model: Savable,
    directory: str | Path,
    *,
    provenance: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write `model` to `directory`. A checkpoint that is there already is replaced.

    provenance: plain values that describe the origin (source, license, recipe, commit, data fingerprint, ...);
    default: the provenance that the model was loaded with. If its weights were trained since then, and neither name
    nor provenance was set, both say so.
    dtype: number format of the weights in the file; default: the model's. See `zoo.exporters.half`.

    `directory` is replaced in one step that is safe against a power cut (`zoo.io.atomic`).
    Raises CheckpointError if `directory` contains anything that is not part of a checkpoint, and for an int8 model and
    one with other tensors than its configuration makes, such as adapters that are not merged.
    """
    _check_savable(model)
    with replacing_directory(Path(directory), may_replace=_check_replaceable) as folder:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        if dtype is not None:
            tensors = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}
        weights = folder / WEIGHTS
        save_file(tensors, weights, metadata={"format": "pt"})
        weights.chmod(folder.stat().st_mode & 0o666)  # safetensors makes the file readable for its owner only
        left_out = model.save_assets(folder) or []  # None: an encoder of another package
        fingerprint = model.fingerprint()
        name, recorded = _identity(model, fingerprint)
        header = {
            "format": FORMAT,
            "name": name,
            "family": model.family,
            "config": plain(asdict(model.config)),
            "preprocessing": plain(model.preprocessing()),
            "provenance": plain(dict(recorded if provenance is None else provenance)),
            "fingerprint": fingerprint,
            "weights_sha256": _sha256(weights),
            "zoo_version": __version__,
        }
        # ASCII only: PyYAML writes some Unicode line breaks without escapes, and reads them as spaces.
        text = yaml.safe_dump(header, sort_keys=False, default_flow_style=None, width=120)
        (folder / CONFIG).write_text(text, encoding="utf-8")
        (folder / CARD).write_text(model_card(model, header, units=not left_out), encoding="utf-8")
    for reason in left_out:
        warnings.warn(f"{directory}: {reason}", stacklevel=3)


def _check_savable(model: Any) -> None:
    if any(isinstance(module, Int8Linear) for module in model.modules()):
        raise CheckpointError(
            "an int8 model cannot be saved, because its weights are rounded; save the float32 model and load it as int8"
        )
    with torch.random.fork_rng(devices=[]), uninitialized():
        expected = type(model)(model.config).state_dict().keys()
    other = sorted(model.state_dict().keys() ^ expected)
    if other:
        raise CheckpointError(
            f"{model.name or type(model).__name__} cannot be saved: {len(other)} tensors are not those of its "
            f"configuration ({', '.join(other[:3])}, ...). Merge adapters first: merge_and_unload() of PEFT, "
            "without_lora of the recipes"
        )


def _identity(model: Savable, fingerprint: str) -> tuple[str, Mapping[str, Any]]:
    """Name and provenance. For a loaded model that was only trained since then, they say what it was trained from."""
    origin, own = model.origin, (model.name, model.provenance)
    if origin is None or fingerprint == origin.fingerprint:
        return own
    kinds = {tensor.dtype for tensor in model.state_dict().values() if tensor.is_floating_point()}
    renamed = model.name != origin.name or dict(model.provenance) != dict(origin.provenance)
    if renamed or kinds != {torch.float32}:  # another dtype changes the fingerprint without any training
        return own
    chain = f"{origin.name} ({origin.fingerprint})"
    if FINE_TUNED in origin.provenance:
        chain += f", fine-tuned from {origin.provenance[FINE_TUNED]}"
    return origin.name.removesuffix(SUFFIX) + SUFFIX, dict(origin.provenance) | {FINE_TUNED: chain}


def read(directory: str | Path) -> Checkpoint:
    """Read and verify a checkpoint directory.

    Raises CheckpointError if a file is missing or damaged, the format is unknown, or the hash of the weights is wrong.
    """
    path = Path(directory)
    header = read_header(path)
    weights = path / WEIGHTS
    if not weights.is_file():
        raise CheckpointError(f"{weights}: no such file; the checkpoint is incomplete")
    tensors = read_safetensors(weights)
    digest = _sha256(weights)
    if digest != header["weights_sha256"]:
        raise CheckpointError(
            f"{weights}: its SHA-256 is {digest[:16]}..., but {path / CONFIG} expects "
            f"{str(header['weights_sha256'])[:16]}...; the file was changed or damaged: restore it"
        )
    return Checkpoint(
        path=path,
        name=str(header["name"]),
        family=str(header["family"]),
        config=header["config"],
        preprocessing=header["preprocessing"],
        provenance=header.get("provenance") or {},
        fingerprint=str(header["fingerprint"]),
        tensors=tensors,
    )


def assign(model: nn.Module, tensors: Mapping[str, Tensor], *, source: str, adopt: bool = False) -> None:
    """Load `tensors` into `model`, converted to the model's dtypes. Every name and every shape must match.

    adopt: make the tensors the model's parameters without a copy, if their dtype is right; otherwise they are copied.

    Raises CheckpointError listing missing and unexpected tensors, wrong shapes, and integers in place of floats.
    """
    state = model.state_dict()
    problems = [f"unexpected  {name} {tuple(tensors[name].shape)}" for name in tensors if name not in state]
    for name, parameter in state.items():
        if (tensor := tensors.get(name)) is None:
            problems.append(f"missing     {name} {tuple(parameter.shape)}")
        elif tensor.shape != parameter.shape:
            problems.append(
                f"wrong shape {name}: {tuple(tensor.shape)} in the file, {tuple(parameter.shape)} in the model"
            )
        elif parameter.is_floating_point() and not tensor.is_floating_point():
            problems.append(f"not float   {name}: {tensor.dtype} in the file, {parameter.dtype} in the model")
    if problems:
        raise CheckpointError(f"{source}: {len(problems)} tensors do not fit the model:\n  {first_lines(problems)}")
    converted = {name: tensors[name].to(parameter.dtype) for name, parameter in state.items()}
    model.load_state_dict(converted, assign=adopt)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of one file, memory-mapped. Raises CheckpointError if it is damaged."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        if path.is_file() and is_lfs_pointer(path):
            raise CheckpointError(f"{path}: {LFS_ADVICE}") from error
        raise CheckpointError(f"{path}: damaged, or not a safetensors file ({error})") from error


def read_header(path: Path) -> dict[str, Any]:
    """config.yaml of a checkpoint directory. Raises CheckpointError if it is missing, damaged or of another format."""
    file = path / CONFIG
    header = read_yaml(file)
    if not isinstance(header, dict) or "format" not in header:
        raise CheckpointError(f"{file}: not the config of a zoo checkpoint (the field `format` is missing)")
    if header["format"] != FORMAT:
        raise CheckpointError(
            f"{file}: checkpoint format {shorten(header['format'])}, but this version of zoo reads format {FORMAT}; "
            f"upgrade audiozoo, or convert with the version that wrote it ({shorten(header.get('zoo_version'))})"
        )
    missing, unknown = _REQUIRED - header.keys(), header.keys() - _REQUIRED - {"provenance"}
    if missing or unknown:
        raise CheckpointError(
            f"{file}: missing fields {shorten(sorted(missing))}, unknown fields {shorten(sorted(unknown))}"
        )
    for key in ("config", "preprocessing"):
        if not isinstance(header[key], dict):
            raise CheckpointError(f"{file}: `{key}` must be a mapping, not {shorten(header[key])}")
    if not isinstance(header.get("provenance") or {}, dict):
        raise CheckpointError(f"{file}: `provenance` must be a mapping, not {shorten(header['provenance'])}")
    return header


def _check_replaceable(directory: Path) -> None:
    """Raises CheckpointError unless everything in `directory` is part of a checkpoint."""
    unexpected_files = sorted(entry.name for entry in directory.iterdir() if entry.name not in PARTS)
    if unexpected_files or (not is_checkpoint(directory) and any(directory.iterdir())):
        raise CheckpointError(
            f"{directory}: exists and is not only a zoo checkpoint"
            + (f" (it also contains {', '.join(unexpected_files[:5])})" if unexpected_files else "")
            + "; nothing was written: choose another directory, or remove this one yourself"
        )


def plain(value: Any) -> Any:
    """The value made of mappings, lists and scalars only, as YAML will read it back."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | Tensor):
        return value.tolist()  # YAML cannot write NumPy numbers
    if isinstance(value, Enum):
        return plain(value.value)
    kind = next((kind for kind in (bool, int, float) if isinstance(value, kind)), str)
    return None if value is None else kind(value)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
