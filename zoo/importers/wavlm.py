"""Hugging Face directories of WavLM: HuBERT's tensors, and those of the gated relative position bias."""

from __future__ import annotations

from dataclasses import replace

from zoo.importers.hf import check_implemented, read_encoder
from zoo.importers.source import Foreign, ForeignSource
from zoo.models.wavlm.model import BUCKETS, FARTHEST

_IMPLEMENTED = {"num_buckets": BUCKETS, "max_bucket_distance": FARTHEST}
_ATTENTION = r"encoder\.layers\.(\d+)\.attention\."
_RULES = (
    (r"encoder\.layers\.0\.attention\.rel_attn_embed\.weight", "transformer.positions.table.weight"),
    (_ATTENTION + r"gru_rel_pos_linear\.(weight|bias)", r"transformer.blocks.\1.attention.gate_\2"),
    (_ATTENTION + r"gru_rel_pos_const", r"transformer.blocks.\1.attention.gate_scale"),
)


def read(source: ForeignSource) -> Foreign:
    """The WavLM of a Hugging Face directory. Notes and errors as of `zoo.importers.hf.read_encoder`."""
    check_implemented(source, _IMPLEMENTED)
    foreign = read_encoder(source, "wavlm", _RULES)
    tensors = {
        name: tensor.flatten() if name.endswith(".gate_scale") else tensor for name, tensor in foreign.tensors.items()
    }
    return replace(foreign, tensors=tensors)
