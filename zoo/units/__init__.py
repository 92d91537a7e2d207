"""Hidden units of a corpus: k-means over features of any encoder, the units of each clip, and their match with phones.

entries -> FeatureSource (MFCC or a layer) -> fit_quantizer -> Quantizer -> label_corpus -> Labels -> measure
"""

from zoo.units.features import FeatureSource, layer, mfcc39
from zoo.units.fitting import fit_quantizer
from zoo.units.labels import Labels, label_corpus
from zoo.units.measuring import measure
from zoo.units.writing import write_units

__all__ = ["FeatureSource", "Labels", "fit_quantizer", "label_corpus", "layer", "measure", "mfcc39", "write_units"]
