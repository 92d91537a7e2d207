"""k-means over any number of rows, quantizers, and measures of how well units match phones."""

from zoo.cluster.kmeans import KMeans
from zoo.cluster.measures import Measures
from zoo.cluster.quantizer import Quantizer

__all__ = ["KMeans", "Measures", "Quantizer"]
