"""Embed any amount of audio into a folder of Parquet files. A run can be resumed at any time.

inputs -> settings, plan -> decode (threads) -> compute -> writer
`run` is `zoo embed`. `load` reads pooled embeddings back. `raise_for_failures` raises if the run failed as a whole.
"""

from zoo.embed.job import EmbedSummary, run
from zoo.embed.reader import Embeddings, load
from zoo.jobs.failures import raise_for_failures

__all__ = ["EmbedSummary", "Embeddings", "load", "raise_for_failures", "run"]
