"""Any audio model of transformers in a Hugging Face directory, wrapped: transformers computes it.

Neither pickle nor code of the repository is executed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo.errors import CheckpointError, ConfigError
from zoo.importers.hf import license_of
from zoo.importers.source import read_weights, understood
from zoo.io.small_files import check_regular, read_json
from zoo.nn.building import bounded, check_elements

if TYPE_CHECKING:
    from zoo.models.wrapped.model import Wrapped

_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def read_wrapped(name: str, path: Path) -> Wrapped:
    """The model in a directory, as transformers' AutoModel builds it. name: for messages.

    Raises CheckpointError for what is missing, damaged or unknown to transformers; ConfigError if it cannot be wrapped.
    """
    from zoo.models.wrapped.model import foreign_config, wrap

    if not path.is_dir():
        raise CheckpointError(f"{name}: is no directory; a wrapped model needs its config.json and its processor")
    described = read_json(path / "config.json")
    if "model_type" not in described:
        raise CheckpointError(f"{path / 'config.json'}: states no model_type, so no class of transformers is known")
    _check_processor(name, path)
    from transformers import AutoFeatureExtractor

    try:
        config = foreign_config(described)
        extractor = AutoFeatureExtractor.from_pretrained(path, trust_remote_code=False)
    except ConfigError as error:
        raise CheckpointError(f"{path / 'config.json'}: {error}") from error
    except Exception as error:  # whatever transformers raises: unknown type, missing file, code that it would need
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{name}: transformers cannot read its description ({reason})") from error
    with understood(name):
        model = _load(name, config, path)
    wrapped = wrap(model, extractor)
    wrapped.provenance = {"layout": "transformers, wrapped"}
    if license := license_of(path / "README.md"):
        wrapped.provenance["license"] = license
    return wrapped


def _check_processor(name: str, path: Path) -> None:
    """Raises CheckpointError unless the files that transformers opens itself are there, and safe to open and to build.

    Both come first, so that no pipe is waited for.
    """
    from zoo.models.wrapped.limits import check_extractor

    for file in sorted(path.glob("*.json")):
        check_regular(file)
    described = [path / file for file in _PROCESSORS if (path / file).exists()]
    if not described:
        raise CheckpointError(
            f"{name}: has no {_PROCESSORS[0]}: save a feature extractor beside it, or use zoo.wrap(model, processor)"
        )
    for file in described:
        settings = read_json(file)
        try:
            check_extractor(settings)
        except ConfigError as error:
            raise CheckpointError(f"{file}: {error}") from error


def _load(name: str, config: Any, path: Path) -> Any:
    """The model with its weights in float32. Raises CheckpointError if weights are missing: they would be random."""
    from transformers import AutoModel

    weights = read_weights(path)
    try:
        with bounded(weights):
            with torch.device("meta"):
                skeleton = AutoModel.from_config(config, trust_remote_code=False)
            check_elements(skeleton, weights)
            cls = type(skeleton)
            model, info = cls.from_pretrained(
                None, config=config, state_dict=weights, output_loading_info=True, dtype=torch.float32
            )
    except ConfigError as error:
        raise CheckpointError(f"{path / 'config.json'}: {error}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise CheckpointError(f"{name}: {len(missing)} tensors of {cls.__name__} are missing: {', '.join(missing[:5])}")
    return model
