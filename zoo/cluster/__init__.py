"""Hidden units: k-means over features of any encoder, units of a corpus, and how well they match its phones.

entries -> FeatureSource (MFCC or a layer) -> fit_quantizer -> Quantizer -> label_corpus -> Labels -> measure
"""

from zoo.cluster.features import FeatureSource, layer, mfcc39
from zoo.cluster.fitting import fit_quantizer
from zoo.cluster.kmeans import KMeans
from zoo.cluster.labels import Labels, label_corpus
from zoo.cluster.measures import Measures, measure
from zoo.cluster.quantizer import Quantizer

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
