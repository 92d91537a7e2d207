"""Any audio model of transformers in a Hugging Face directory, wrapped: transformers computes it.

Neither pickle nor code of the repository is executed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo.errors import CheckpointError
from zoo.importers.hf import license_of
from zoo.importers.source import read_weights, understood
from zoo.io.small_files import read_json

if TYPE_CHECKING:
    from zoo.models.wrapped.model import Wrapped


def read_wrapped(name: str, path: Path) -> Wrapped:
    """The model in a directory, as transformers' AutoModel builds it. name: for messages.

    Raises CheckpointError for what is missing, damaged or unknown to transformers; ConfigError if it cannot be wrapped.
    """
    from transformers import AutoFeatureExtractor

    from zoo.models.wrapped.model import foreign_config, wrap

    if not path.is_dir():
        raise CheckpointError(f"{name}: is no directory; a wrapped model needs its config.json and its processor")
    described = read_json(path / "config.json")
    if "model_type" not in described:
        raise CheckpointError(f"{path / 'config.json'}: states no model_type, so no class of transformers is known")
    try:
        config = foreign_config(described)
        extractor = AutoFeatureExtractor.from_pretrained(path, trust_remote_code=False)
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


def _load(name: str, config: Any, path: Path) -> Any:
    """The model with its weights in float32. Raises CheckpointError if weights are missing: they would be random."""
    from transformers import AutoModel

    with torch.device("meta"):
        cls = type(AutoModel.from_config(config, trust_remote_code=False))
    model, info = cls.from_pretrained(
        None, config=config, state_dict=read_weights(path), output_loading_info=True, dtype=torch.float32
    )
    missing = sorted(info["missing_keys"])
    if missing:
        raise CheckpointError(f"{name}: {len(missing)} tensors of {cls.__name__} are missing: {', '.join(missing[:5])}")
    return model
