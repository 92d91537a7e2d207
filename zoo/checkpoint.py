"""Self-describing checkpoint directories: written whole or not at all, read strictly or not at all.

config.yaml         format version, name, family, config, preprocessing, provenance, hash of the weights
model.safetensors   the weights, under the names of the model's own state_dict
README.md           model card with Hugging Face metadata
tokenizer.json, quantizer.safetensors, state/       where a model or a training run has them
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
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
from torch.overrides import TorchFunctionMode

from zoo._version import __version__
from zoo.card_page import model_card
from zoo.errors import CheckpointError
from zoo.io.atomic import replacing_directory
from zoo.io.paths import expand_path
from zoo.nn.linear import Int8Linear

FORMAT = 1
CONFIG, WEIGHTS, CARD = "config.yaml", "model.safetensors", "README.md"
PARTS = (CONFIG, WEIGHTS, CARD, "tokenizer.json", "quantizer.safetensors", "state")
_REQUIRED = {"format", "name", "family", "config", "preprocessing", "fingerprint", "weights_sha256", "zoo_version"}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint directory as read: nothing is built yet.

    config: values for the family's Config; preprocessing and provenance: records for people and checks.
    tensors: mapped from the file, so that reading costs no memory until they are used.
    """

    path: Path
    name: str
    family: str
    config: dict[str, Any]
    preprocessing: dict[str, Any]
    provenance: dict[str, Any]
    fingerprint: str
    tensors: dict[str, Tensor]


class Savable(Protocol):
    """What `save` needs of a model; every `Encoder` has it."""

    family: ClassVar[str]
    name: str
    config: Any
    provenance: Mapping[str, Any]

    def state_dict(self) -> dict[str, Any]: ...

    def modules(self) -> Iterator[nn.Module]: ...

    def preprocessing(self) -> dict[str, Any]: ...

    def fingerprint(self) -> str: ...

    def save_assets(self, directory: Path) -> None: ...


def is_checkpoint(path: str | Path) -> bool:
    """Whether `path` is a directory that `save` wrote, whatever its condition since."""
    try:
        header = yaml.safe_load((Path(path) / CONFIG).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(header, dict) and {"format", "family", "config"} <= header.keys()


def save(
    model: Savable,
    directory: str | Path,
    *,
    provenance: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write `model` to `directory`, replacing a checkpoint that is there already.

    provenance: plain values worth knowing later (source, license, recipe, commit, data fingerprint, ...); without it,
    what the model was loaded with is kept.
    dtype: of the weights in the file, if not the model's; see `zoo.exporters.half`.

    `directory` goes from the old checkpoint to the new one in one step that survives a power cut (`zoo.io.atomic`).
    Raises CheckpointError when `directory` holds anything that is not part of a checkpoint.
    """
    if any(isinstance(module, Int8Linear) for module in model.modules()):
        raise CheckpointError(
            "an int8 model cannot be saved: its weights are rounded; save the float32 one, load as int8"
        )
    with replacing_directory(Path(directory), may_replace=_check_replaceable) as folder:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        if dtype is not None:
            tensors = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}
        weights = folder / WEIGHTS
        save_file(tensors, weights, metadata={"format": "pt"})
        weights.chmod(folder.stat().st_mode & 0o666)  # safetensors lets the owner alone read it
        model.save_assets(folder)
        header = {
            "format": FORMAT,
            "name": model.name,
            "family": model.family,
            "config": plain(asdict(model.config)),
            "preprocessing": plain(model.preprocessing()),
            "provenance": plain(dict(model.provenance if provenance is None else provenance)),
            "fingerprint": model.fingerprint(),
            "weights_sha256": _sha256(weights),
            "zoo_version": __version__,
        }
        # ASCII only: PyYAML writes some Unicode line breaks unescaped, and reads them back as spaces.
        text = yaml.safe_dump(header, sort_keys=False, default_flow_style=None, width=120)
        (folder / CONFIG).write_text(text, encoding="utf-8")
        (folder / CARD).write_text(model_card(model, header), encoding="utf-8")


def read(directory: str | Path) -> Checkpoint:
    """Read and verify a checkpoint directory.

    Raises CheckpointError: a file is missing or damaged, the format is unknown, the weights are not the ones hashed.
    """
    path = expand_path(directory)
    header = read_header(path)
    weights = path / WEIGHTS
    if not weights.is_file():
        raise CheckpointError(f"{weights}: no such file; the checkpoint is incomplete")
    tensors = read_safetensors(weights)
    found = _sha256(weights)
    if found != header["weights_sha256"]:
        raise CheckpointError(
            f"{weights}: its SHA-256 is {found[:16]}..., but {path / CONFIG} was written for "
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
    """Fill `model` with `tensors`, in the model's dtypes. Every name and every shape must fit.

    adopt: the tensors themselves become the model's parameters, where their dtype allows it; otherwise they are copied.

    Raises CheckpointError listing every missing, unexpected and misshapen tensor, and integers where floats are due.
    """
    own = model.state_dict()
    problems = [f"unexpected  {name} {tuple(tensors[name].shape)}" for name in tensors if name not in own]
    for name, ours in own.items():
        if (theirs := tensors.get(name)) is None:
            problems.append(f"missing     {name} {tuple(ours.shape)}")
        elif theirs.shape != ours.shape:
            problems.append(f"misshapen   {name}: {tuple(theirs.shape)} in the file, {tuple(ours.shape)} in the model")
        elif ours.is_floating_point() and not theirs.is_floating_point():
            problems.append(f"not float   {name}: {theirs.dtype} in the file, {ours.dtype} in the model")
    if problems:
        raise CheckpointError(f"{source}: {len(problems)} tensors do not fit the model:\n  " + "\n  ".join(problems))
    converted = {name: tensors[name].to(tensor.dtype) for name, tensor in own.items()}
    model.load_state_dict(converted, assign=adopt)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of one file, mapped from it. Raises CheckpointError when it is damaged."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged, or not a safetensors file ({error})") from error


def read_header(path: Path) -> dict[str, Any]:
    """config.yaml of a checkpoint directory. Raises CheckpointError: it is missing, damaged or of another format."""
    file = path / CONFIG
    try:
        header = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no such file, so {path} is not a zoo checkpoint") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{file}: cannot be read ({error})") from error
    if not isinstance(header, dict) or "format" not in header:
        raise CheckpointError(f"{file}: not the config of a zoo checkpoint (it has no `format`)")
    if header["format"] != FORMAT:
        raise CheckpointError(
            f"{file}: checkpoint format {header['format']!r}, but this version of zoo reads format {FORMAT}; "
            f"upgrade audiozoo, or convert with the version that wrote it ({header.get('zoo_version', 'unknown')})"
        )
    missing, unknown = _REQUIRED - header.keys(), header.keys() - _REQUIRED - {"provenance"}
    if missing or unknown:
        raise CheckpointError(f"{file}: missing fields {sorted(missing)}, unknown fields {sorted(unknown)}")
    for key in ("config", "preprocessing"):
        if not isinstance(header[key], dict):
            raise CheckpointError(f"{file}: `{key}` must be a mapping, not {header[key]!r}")
    if not isinstance(header.get("provenance") or {}, dict):
        raise CheckpointError(f"{file}: `provenance` must be a mapping, not {header['provenance']!r}")
    return header


def _check_replaceable(directory: Path) -> None:
    """Raises CheckpointError unless everything in `directory` is part of a checkpoint."""
    strangers = sorted(entry.name for entry in directory.iterdir() if entry.name not in PARTS)
    if strangers or (not is_checkpoint(directory) and any(directory.iterdir())):
        raise CheckpointError(
            f"{directory}: exists and is not a zoo checkpoint alone"
            + (f" (it holds {', '.join(strangers[:5])})" if strangers else "")
            + "; nothing was written: choose another directory, or remove it yourself"
        )


def plain(value: Any) -> Any:
    """Mappings, lists and scalars only, as YAML will give them back."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | Tensor):
        return value.tolist()  # a number of NumPy's is no Python one to YAML
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


class uninitialized(TorchFunctionMode):
    """Parameters made inside, by this thread, keep whatever their memory held, which costs neither time nor memory.

    Buffers, such as mel filters, are computed as ever. Unlike the meta device this imports nothing (normal_ on it loads
    all of torch's Python decompositions, and sympy).
    """

    fills = frozenset({"normal_", "uniform_", "zero_", "fill_"})

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        target = args[0] if args else (kwargs or {}).get("tensor")
        fills = func.__name__ in self.fills or getattr(func, "__module__", "") == "torch.nn.init"
        if fills and isinstance(target, nn.Parameter):
            return target
        return func(*args, **(kwargs or {}))
