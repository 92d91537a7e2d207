"""Hidden units: k-means over features of any encoder, units of a corpus, and how well they match its phones.

entries -> FeatureSource (MFCC or a layer) -> fit_quantizer -> Quantizer -> label_corpus -> Labels -> measure

Names are imported when they are asked for: a HuBERT needs its Quantizer alone, not what reads and labels corpora.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.cluster.features import FeatureSource, layer, mfcc39
    from zoo.cluster.fitting import fit_quantizer
    from zoo.cluster.kmeans import KMeans
    from zoo.cluster.labels import Labels, label_corpus
    from zoo.cluster.measures import Measures, measure
    from zoo.cluster.quantizer import Quantizer

_HOMES = {
    "FeatureSource": "features",
    "KMeans": "kmeans",
    "Labels": "labels",
    "Measures": "measures",
    "Quantizer": "quantizer",
    "fit_quantizer": "fitting",
    "label_corpus": "labels",
    "layer": "features",
    "measure": "measures",
    "mfcc39": "features",
}

__all__ = [
    "FeatureSource",
    "KMeans",
    "Labels",
    "Measures",
    "Quantizer",
    "fit_quantizer",
    "label_corpus",
    "layer",
    "measure",
    "mfcc39",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo.cluster' has no attribute {name!r}")
    return getattr(import_module(f"zoo.cluster.{_HOMES[name]}"), name)
