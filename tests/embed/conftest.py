"""A corpus, and two encoders that need no weights."""

from extraction import corpus as corpus
from extraction import hubert as hubert
from extraction import mfcc as mfcc
