"""`zoo transcribe`: any number of recordings -> text, subtitles and JSON. It can be stopped and resumed at any time.

inputs -> plan -> decode (threads) -> model.transcribe, a few minutes of audio at a time -> formats -> files, journal
"""

from zoo.transcribe.formats import FORMATS, render
from zoo.transcribe.job import TranscribeSummary, run

__all__ = ["FORMATS", "TranscribeSummary", "render", "run"]
