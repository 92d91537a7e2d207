"""The HuBERT that pre-training or fine-tuning starts from."""

from __future__ import annotations

from zoo.errors import ConfigError
from zoo.models.hubert.model import HuBERT, HubertConfig
from zoo.recipes.init import load_init

PRETRAINING = "python -m zoo.recipes.hubert.train"


def pretrained(source: str) -> HuBERT:
    """Load a HuBERT from a run folder, checkpoint or name. Raises ConfigError where there is none."""
    model = load_init(source, f"make one with `{PRETRAINING}`")
    if not isinstance(model, HuBERT):
        raise ConfigError(f"init {source!r} is a {model.family} model; give a HuBERT")
    return model


def with_weights_of(model: HuBERT, config: HubertConfig, fresh: tuple[str, ...]) -> HuBERT:
    """A HuBERT of `config` with the weights of `model`, except for the heads in `fresh` ("head.", "ctc.")."""
    copy = HuBERT(config)
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith(fresh)}
    missing, unexpected = copy.load_state_dict(weights, strict=False)
    assert not unexpected and all(name.startswith(fresh) for name in missing)
    return copy
