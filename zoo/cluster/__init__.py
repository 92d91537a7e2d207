"""k-means over any amount of rows, quantizers made of it, and how well units match phones."""

from zoo.cluster.kmeans import KMeans
from zoo.cluster.measures import Measures
from zoo.cluster.quantizer import Quantizer

__all__ = ["KMeans", "Measures", "Quantizer"]
