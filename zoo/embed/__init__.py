"""Embedding at scale: any amount of audio -> a folder of Parquet files, resumable at any moment.

inputs -> settings, plan -> decode (threads) -> compute -> writer
`run` is `zoo embed`; `load` reads pooled embeddings back.
`raise_for_failures` tells whether a run failed as a whole.
"""

from zoo.embed.job import EmbedSummary, run
from zoo.embed.reader import load
from zoo.jobs.failures import raise_for_failures

__all__ = ["EmbedSummary", "load", "raise_for_failures", "run"]
