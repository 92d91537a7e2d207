"""`zoo transcribe`: any number of recordings -> text, subtitles and JSON. It can be stopped and resumed at any time.

inputs -> TranscribeTask -> Job: decode (threads), model.transcribe a few minutes of audio at a time -> files
"""

from zoo.text.formats import FORMATS, SubtitleStyle
from zoo.transcribe.job import TranscribeSummary, run

__all__ = ["FORMATS", "SubtitleStyle", "TranscribeSummary", "run"]
