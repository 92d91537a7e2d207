"""An audio model of transformers behind the contract.

Clips of one length go through the model together, others alone: it never sees padding, so the result of a clip does not
depend on its batch. Its own processor prepares the audio.

Legend: L layers, B batch, S samples, T frames, D width.
"""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.audio import Clip
from zoo.audio.resampling import HIGHEST, LOWEST
from zoo.encoder import Encoder, Frames, Layer
from zoo.errors import ConfigError
from zoo.models.wrapped.limits import MOST, check_extractor, check_model
from zoo.models.wrapped.timing import Timing, measure
from zoo.nn.conv import EPS_WAVE, blocks
from zoo.nn.eval_mode import eval_mode
from zoo.validation import check_range, check_types

_VOLATILE = ("transformers_version", "_name_or_path", "dtype", "torch_dtype")
_OF_CODE = ("attn_implementation", "experts_implementation", "auto_map")
"""Ends of settings that may name code of a repository, which zoo does not run."""


@dataclass(frozen=True)
class WrappedConfig:
    """architecture: class of transformers; settings, extractor: its configuration and feature extractor as JSON.

    The others are found by `wrap`: hop, offset and min_samples as in `Timing`; dim, layers.
    """

    architecture: str
    settings: str
    extractor: str
    sample_rate: int
    hop: int
    offset: int
    min_samples: int
    dim: int
    layers: int

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("sample_rate", "hop", "min_samples", "dim"):
            check_range(name, getattr(self, name), 1)
        check_range("layers", self.layers, 0)


class Wrapped(Encoder):
    """Layer 0 = the first hidden state of transformers, k = the k-th; see `hidden_states` for the last.

    A recording longer than a window is encoded in windows. If the model normalizes over the whole clip inside, its
    windows are normalized each for itself. Only models of waveforms have gradients with respect to the audio.
    """

    family = "wrapped"
    Config = WrappedConfig

    def __init__(self, config: WrappedConfig, model: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        check_range("sample_rate", config.sample_rate, LOWEST, HIGHEST)
        for name in ("hop", "min_samples", "dim", "layers"):
            check_range(name, getattr(config, name), 1, MOST)
        self.sample_rate, self.hop, self.min_samples = config.sample_rate, config.hop, config.min_samples
        self.dim, self.num_layers = config.dim, config.layers
        self.timing = Timing(config.hop, config.offset, config.min_samples)
        self.extractor = _build_extractor(config.extractor)
        self.model = _build_model(config) if model is None else model

    @property
    def frame_samples(self) -> int:
        return self.hop - self.timing.offset

    def count_frames(self, samples: int) -> int:
        return self.timing.count(samples)

    def norm_stats(self, clip: Clip) -> Tensor | None:
        """Length, sum and sum of squares (3,) of a waveform that is normalized."""
        if not (takes_waveforms(self.extractor) and self.extractor.do_normalize):
            return None
        sums = [torch.stack([part.sum(), part.square().sum()]) for part in (b.double() for b in blocks(clip, 1, 1))]
        total = torch.stack(sums).sum(0)
        return torch.cat([total.new_tensor([len(clip)]), total])

    def forward(self, waves: Tensor, lengths: Tensor, *, layer: Layer = -1, norm_stats: Tensor | None = None) -> Frames:
        """As Encoder.forward."""
        layers = self.resolve_layers(layer)
        sizes = lengths.tolist()
        counts = [self.count_frames(size) for size in sizes]
        out = waves.new_zeros(len(layers), len(waves), max(counts), self.dim)  # (L, B, T, D)
        for size in sorted(set(sizes)):
            rows = [row for row, each in enumerate(sizes) if each == size]
            stats = None if norm_stats is None else norm_stats[rows]
            states = hidden_states(self.model, self._inputs(waves[rows, :size], stats))
            chosen = torch.stack([states[k] for k in layers]).to(out.dtype)  # (L, rows, T, D)
            out[:, rows, : chosen.shape[2]] = chosen
        x = out[0] if isinstance(layer, int) else out
        return Frames(x, torch.tensor(counts), self.frame_rate, self.first_time)

    def _inputs(self, waves: Tensor, norm_stats: Tensor | None = None) -> dict[str, Tensor]:
        """What the model takes, of clips (B, S) of one length."""
        if not takes_waveforms(self.extractor):
            return extract(self.extractor, waves, self.model)
        if self.extractor.do_normalize:
            if norm_stats is None:
                norm_stats = torch.stack([stats for wave in waves if (stats := self.norm_stats(wave)) is not None])
            mean = norm_stats[:, 1] / norm_stats[:, 0]  # (B,)
            variance = (norm_stats[:, 2] / norm_stats[:, 0] - mean.square()).clamp(min=0)
            waves = ((waves - mean[:, None]) / (variance + EPS_WAVE).sqrt()[:, None]).float()
        return {"input_values": waves.to(next(self.model.parameters()).dtype)}

    def preprocessing(self) -> dict[str, Any]:
        return super().preprocessing() | {"extractor": json.loads(self.config.extractor)}


def wrap(model: Any, processor: Any) -> Wrapped:
    """A model of transformers as an Encoder. See `zoo.loading.wrap`."""
    name = type(model).__name__
    if processor is None:
        raise ConfigError(f"{name} cannot be wrapped without a feature extractor, which prepares its audio: give one")
    extractor = getattr(processor, "feature_extractor", processor)
    rate = getattr(extractor, "sampling_rate", None)
    if not isinstance(rate, int):
        raise ConfigError(f"{name} cannot be wrapped: {type(processor).__name__} states no sampling_rate of audio")
    check_range("sampling_rate", rate, LOWEST, HIGHEST)
    base = getattr(model, "base_model", model)
    core = encoder_of(base)
    facts: dict[str, Any] = {
        "architecture": type(base).__name__,
        "settings": _as_json(base.config.to_dict()),
        "extractor": _as_json(extractor.to_dict()),
        "sample_rate": rate,
    }
    try:
        with eval_mode(core), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of feature extractors on the shortest clips
            states = _probe(core, extractor, 2 * rate)
            timing = measure(lambda samples: _count(core, extractor, samples), rate)
    except ConfigError as error:
        raise ConfigError(f"{name} cannot be wrapped: {error}") from error
    facts |= {"hop": timing.hop, "offset": timing.offset, "min_samples": timing.min_samples}
    wrapped = Wrapped(WrappedConfig(**facts, dim=states[0].shape[2], layers=len(states) - 1), core)
    wrapped.name = str(getattr(base.config, "name_or_path", "")).rpartition("/")[2] or base.config.model_type
    return wrapped.eval()


def encoder_of(base: Any) -> Any:
    """The encoder of a model with a decoder; any other model as it is."""
    return base.get_encoder() if getattr(base.config, "is_encoder_decoder", False) else base


def takes_waveforms(extractor: Any) -> bool:
    """Whether the model takes waveforms, perhaps normalized, so that zoo can prepare them itself."""
    from transformers import Wav2Vec2FeatureExtractor

    return type(extractor) is Wav2Vec2FeatureExtractor


def extract(extractor: Any, waves: Tensor, model: Any) -> dict[str, Tensor]:
    """The output of the feature extractor for clips (B, S) of one length, as far as the model takes it."""
    arrays = list(waves.detach().float().cpu().numpy())
    features = extractor(arrays, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    weight = next(model.parameters())
    accepted = inspect.signature(model.forward).parameters
    inputs = {key: value.to(weight.device) for key, value in features.items() if key in accepted}
    return {key: value.to(weight.dtype) if value.is_floating_point() else value for key, value in inputs.items()}


def hidden_states(model: Any, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """L + 1 states (B, T, D). The last is last_hidden_state, which has the output norm, if it has the same shape.

    Raises ConfigError if the model does not give such states.
    """
    parameters = inspect.signature(model.forward).parameters.values()
    named = any(p.name == "output_hidden_states" or p.kind is p.VAR_KEYWORD for p in parameters)
    output = model(**inputs, output_hidden_states=True, return_dict=True) if named else None
    states, last = getattr(output, "hidden_states", None), getattr(output, "last_hidden_state", None)
    if not states:
        raise ConfigError("it gives no hidden states")
    shapes = {tuple(state.shape) for state in states}
    if len(shapes) > 1 or states[0].ndim != 3:
        raise ConfigError(f"its layers have different shapes, or are no frames: {sorted(shapes)}")
    return [*states[:-1], last if last is not None and last.shape == states[-1].shape else states[-1]]


def _probe(core: Any, extractor: Any, samples: int) -> list[Tensor]:
    """Hidden states of a clip of noise. Raises ConfigError if the model does not run on audio alone."""
    noise = torch.randn(1, samples, generator=torch.Generator().manual_seed(0)) / 10
    try:
        return hidden_states(core, extract(extractor, noise, core))
    except ConfigError:
        raise
    except Exception as error:  # whatever foreign code raises
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"it does not run on audio alone ({type(error).__name__}: {reason})") from error


def _count(core: Any, extractor: Any, samples: int) -> int:
    """Frames of a clip; 0 if the model does not run on it, or gives values that are not finite."""
    try:
        states = _probe(core, extractor, samples)
    except ConfigError:
        return 0
    return states[0].shape[1] if all(bool(state.isfinite().all()) for state in states) else 0


def foreign_config(settings: Mapping[str, Any]) -> Any:
    """The configuration of transformers from config.json, without settings that name code.

    Raises KeyError or ValueError for a model_type that the installed transformers does not have, and ConfigError as
    `check_model`, and for a model of text. Some of those compute tables of positions in a loop when they are built.
    """
    from transformers import MODEL_MAPPING, AutoConfig

    check_model(settings)
    config = AutoConfig.for_model(**_without_code(settings))
    architecture: Any = MODEL_MAPPING.get(type(config), None)
    if getattr(architecture, "main_input_name", "") == "input_ids":
        raise ConfigError(f"{architecture.__name__} takes text (input_ids), so it does not run on audio alone")
    return config


def _without_code(settings: Any) -> Any:
    if not isinstance(settings, Mapping):
        return settings
    return {key: _without_code(value) for key, value in settings.items() if not key.endswith(_OF_CODE)}


def _as_json(settings: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in settings.items() if key not in _VOLATILE}
    return json.dumps(kept, sort_keys=True, default=lambda value: value.tolist())


def _build_extractor(text: str) -> Any:
    import transformers

    settings = json.loads(text)
    check_extractor(settings)
    cls = getattr(transformers, str(settings.get("feature_extractor_type")), None)
    if not (isinstance(cls, type) and issubclass(cls, transformers.FeatureExtractionMixin)):
        raise ConfigError(f"transformers has no feature extractor {settings.get('feature_extractor_type')!r}")
    return cls.from_dict(settings)


def _build_model(config: WrappedConfig) -> Any:
    """An untrained model of the architecture. It runs code of transformers only."""
    from transformers import AutoModel

    try:
        base = AutoModel.from_config(foreign_config(json.loads(config.settings)), trust_remote_code=False)
    except ConfigError:
        raise
    except (KeyError, ValueError, ImportError) as error:
        raise ConfigError(f"{config.architecture}: the installed transformers cannot build it ({error})") from error
    if type(base).__name__ != config.architecture:
        raise ConfigError(f"transformers builds a {type(base).__name__}, where a {config.architecture} was saved")
    return encoder_of(base)
