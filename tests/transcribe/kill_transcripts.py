"""Runs of `zoo transcribe` that are killed (SIGKILL) at chosen moments, for test_transcribe_resume.

python kill_transcripts.py CORPUS FOLDER MOMENT...
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

from dying import attempt
from small_whisper import small_whisper

from zoo.io import atomic
from zoo.jobs.plan import Limits
from zoo.models.whisper.model import Whisper
from zoo.text.transcript import Transcript
from zoo.transcribe import job, ledger
from zoo.transcribe.task import TranscribeTask

MOMENTS: dict[str, tuple[Any, str]] = {
    "transcribe": (Whisper, "transcribe"),
    "write": (Transcript, "save"),
    "sync": (atomic, "_flush"),
    "replace": (Path, "replace"),
    "record": (ledger.Ledger, "write"),
    "clear": (TranscribeTask, "_clear"),
}


def run(corpus: str, out: Path) -> job.TranscribeSummary:
    options = {"vad": "none", "temperature": 0.0, "language": "en"}
    with mock.patch.object(TranscribeTask, "limits", Limits(256, 2.0)):
        return job.run(corpus, small_whisper(), out, formats="txt,json", workers=1, progress=False, **options)


if __name__ == "__main__":
    corpus, folder, *moments = sys.argv[1:]
    attempt(moments, MOMENTS, lambda moment: run(corpus, Path(folder) / moment))
