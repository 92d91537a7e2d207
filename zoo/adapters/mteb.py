"""Any encoder as a model of MTEB, whose audio leaderboard is MAEB (https://github.com/embeddings-benchmark/mteb).

    model = MtebEncoder("hubert-base", layer=9)                    # zoo/hubert-base-l9-mean
    mteb.evaluate(model, mteb.get_benchmark("MAEB(v1, audio-only)"))

Clips are encoded in the batches of MTEB. Padding changes nothing, so the batch size only changes the speed.

Legend: N items, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from zoo import loading, registry
from zoo.cards import ModelCard
from zoo.encoder import Encoder
from zoo.errors import ConfigError, MissingDependencyError
from zoo.nn.layers import plain_layer
from zoo.nn.pooling import check_pooling

try:
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.modality_collators import AudioCollator
    from mteb.types import Licenses
except ImportError as error:
    raise MissingDependencyError(
        f"zoo.adapters.mteb needs Python 3.11 and: pip install 'audiozoo[mteb]' ({error})"
    ) from error


class ZooMeta(ModelMeta):
    """MTEB's metadata, with the training data of the model card in words."""

    training_data: str | None = None


class MtebEncoder(AbsEncoder):
    """An encoder of zoo behind MTEB's EncoderProtocol: audio, and text if the model has `embed_text`."""

    def __init__(
        self,
        model: str | Encoder,
        layer: int = -1,
        pooling: str = "mean",
        device: str = "auto",
        training_datasets: Sequence[str] | None = None,
    ) -> None:
        """model: a source for zoo.load, or an encoder; layer and pooling as in Encoder.embed.

        training_datasets: MTEB's names of the sets that the model was trained on; None = not known. MTEB marks their
        scores. Models without weights have none.
        Raises ConfigError if `layer` is not one number, or if the vectors of audio and text would differ in width.
        """
        encoder = model if isinstance(model, Encoder) else loading.load(model, device=device)
        check_pooling(pooling)
        if not isinstance(plain_layer(layer), int):
            raise ConfigError(f"layer {layer!r}: MTEB needs the vectors of one layer; give a number")
        if pooling == "stats" and hasattr(encoder, "embed_text"):
            raise ConfigError("pooling 'stats' is twice as wide as the vectors of texts; choose mean, max or first")
        self.encoder = encoder  # not self.model: MTEB would call its method `similarity`, which means something else
        self.layer, self.pooling = encoder.resolve_layers(layer)[0], pooling
        self.mteb_model_meta = _metadata(model, self, training_datasets)

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **_: Any,
    ) -> np.ndarray:
        """inputs: a DataLoader of MTEB -> vectors (N, D) float32, the mean of both for an item with audio and text.

        MTEB resamples. Clips that are too short for one frame are padded with silence.
        """
        if "audio" in inputs.dataset.features:
            inputs.collate_fn = AudioCollator(
                target_sampling_rate=self.encoder.sample_rate, min_samples=self.encoder.min_samples
            )
        return np.concatenate([self._vectors(batch).numpy() for batch in inputs])

    def _vectors(self, batch: Mapping[str, Any]) -> Tensor:
        """(N, D)."""
        parts = []
        if "audio" in batch:
            clips = [torch.as_tensor(item["array"], dtype=torch.float32).reshape(-1) for item in batch["audio"]]
            rate = self.encoder.sample_rate
            parts.append(self.encoder.embed(clips, rate, layer=self.layer, pooling=self.pooling))
        if "text" in batch:
            parts.append(self.encoder.embed_text(list(batch["text"])))  # type: ignore[operator]
        return torch.stack(parts).mean(0)


def load(name: str, revision: str | None = None, device: str | None = None, **options: Any) -> MtebEncoder:
    """What MTEB calls to load a model from its metadata. Raises ConfigError if the weights are not those of `revision`.

    options: arguments of MtebEncoder.
    """
    model = MtebEncoder(**options, device=device or "auto")
    if revision is not None and model.mteb_model_meta.revision != revision:
        raise ConfigError(f"{name}: the weights have the revision {model.mteb_model_meta.revision}, not {revision}")
    return model


def _metadata(source: str | Encoder, model: MtebEncoder, training_datasets: Sequence[str] | None) -> ZooMeta:
    """The name says layer and pooling; the revision is the fingerprint of the weights."""
    encoder = model.encoder
    registered = isinstance(source, str) and registry.is_registered(source)
    card = registry.info(source) if registered else None  # type: ignore[arg-type]
    options = {"model": source, "layer": model.layer, "pooling": model.pooling, "training_datasets": training_datasets}
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    if training_datasets is None and not parameters:
        training_datasets = ()
    return ZooMeta(
        loader=load if isinstance(source, str) else None,
        loader_kwargs=options if isinstance(source, str) else {},
        name=f"zoo/{encoder.name or encoder.family}-l{model.layer}-{model.pooling}",
        revision=encoder.fingerprint(),
        release_date=None,
        languages=None,
        n_parameters=parameters,
        n_embedding_parameters=None,
        memory_usage_mb=round(4 * parameters / 2**20),
        max_tokens=float("inf"),
        embed_dim=encoder.dim * (2 if model.pooling == "stats" else 1),
        license=_license(encoder, card),
        open_weights=card.has_weights if card else None,
        public_training_code=(card.recipe or None) if card else None,
        public_training_data=None,  # a link, for MTEB; words would count as public data
        training_data=card.training_data if card else None,
        framework=["PyTorch"],
        reference=_reference(card),
        similarity_fn_name="cosine",
        use_instructions=False,
        training_datasets=None if training_datasets is None else set(training_datasets),
        modalities=["audio", "text"] if hasattr(encoder, "embed_text") else ["audio"],
    )


def _license(encoder: Encoder, card: ModelCard | None) -> str:
    """The license of the weights in MTEB's spelling."""
    name = str(card.license if card else encoder.provenance.get("license", "")).lower()
    return name if name in get_args(Licenses) else "not specified"


def _reference(card: ModelCard | None) -> str | None:
    """The page of the weights, else of the paper."""
    if card and card.source and card.source.startswith("hf:"):
        return f"https://huggingface.co/{card.source.removeprefix('hf:')}"
    return card.paper or None if card else None
