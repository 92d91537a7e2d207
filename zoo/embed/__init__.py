"""Embedding at scale: any amount of audio -> a folder of Parquet files, resumable at any moment.

inputs -> settings, plan -> decode (threads) -> compute -> writer
`run` is `zoo embed`; `load` reads pooled embeddings back.
`judge` tells whether a run failed as a whole.
"""

from zoo.embed.job import Summary, run
from zoo.embed.reader import load
from zoo.jobs.failures import judge

__all__ = ["Summary", "judge", "load", "run"]
