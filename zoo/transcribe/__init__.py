"""Transcription at scale: any number of recordings -> text, subtitles and JSON, resumable at any moment.

inputs -> plan -> decode (threads) -> model.transcribe, a few minutes of audio at a time -> formats -> files, journal
`run` is `zoo transcribe`.
"""

from zoo.transcribe.formats import FORMATS, render
from zoo.transcribe.job import TranscribeSummary, run

__all__ = ["FORMATS", "TranscribeSummary", "render", "run"]
