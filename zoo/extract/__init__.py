"""Embedding at scale: any amount of audio -> a folder of Parquet files, resumable at any moment.

inputs -> settings, plan -> decode (threads) -> compute -> writer
`run` is `zoo embed`; `load` reads pooled embeddings back.
`judge` tells whether a run failed as a whole.
"""

from zoo.extract.job import Summary, run
from zoo.extract.reader import load
from zoo.extract.verdict import judge

__all__ = ["Summary", "judge", "load", "run"]
