"""A corpus on the disk."""

from extraction import corpus as corpus
