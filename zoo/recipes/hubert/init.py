"""A HuBERT to go on from, in pre-training and in fine-tuning."""

from __future__ import annotations

from pathlib import Path

from zoo import checkpoint, loading
from zoo.errors import ConfigError
from zoo.models.hubert.model import HuBERT, HubertConfig
from zoo.recipes.init import model_source

PRETRAINING = "python -m zoo.recipes.hubert.train"


def pretrained(source: str) -> HuBERT:
    """The HuBERT of a run folder, checkpoint or name. Raises ConfigError where there is none."""
    found = model_source(source, "model", f"make one with `{PRETRAINING}`")
    if isinstance(found, Path) and (found / "checkpoints").is_dir() and not checkpoint.is_checkpoint(found):
        raise ConfigError(f"init {source!r}: a run that has no model yet; finish `{PRETRAINING}` first")
    model = loading.load(found, device="cpu")
    if not isinstance(model, HuBERT):
        raise ConfigError(f"init {source!r} is a {model.family}, not a HuBERT")
    return model


def with_weights_of(model: HuBERT, config: HubertConfig, fresh: tuple[str, ...]) -> HuBERT:
    """A HuBERT of `config` with the weights of `model`, but for the heads named in `fresh`: "head.", "ctc."."""
    made = HuBERT(config)
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith(fresh)}
    missing, unexpected = made.load_state_dict(weights, strict=False)
    assert not unexpected and all(name.startswith(fresh) for name in missing)
    return made
