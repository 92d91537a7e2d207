"""Pseudo-labels: what a teacher writes about the training clips, which a student learns instead of the transcripts.

The texts are kept as they come, so that a stopped run goes on with them; those of another teacher are not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from zoo.benchmarks.wer import error_rates
from zoo.data.manifest import Entry
from zoo.models.whisper.model import Whisper
from zoo.recipes.readable import readable
from zoo.recipes.whisper.model import languages_of
from zoo.text.normalizers import normalizer
from zoo.train import processes

FILE = "pseudo-labels.jsonl"
GROUP = 64  # clips that are transcribed, and recorded, at once


def pseudo_labeled(
    teacher: Whisper,
    entries: Sequence[Entry],
    folder: Path,
    normalize: str,
    max_wer: float | None,
    stamped: bool = True,
) -> list[Entry]:
    """The entries with the teacher's texts for split "train"; those whose text differs by more than max_wer from the
    transcript are left out: the teacher made it up, or the transcript is wrong. So are clips that cannot be read.
    stamped: it writes times too.
    """
    wanted = [entry for entry in entries if entry.split == "train" and entry.text]
    if processes.is_main():
        _complete(teacher, wanted, folder, stamped)
    processes.barrier()
    texts = _read(folder / FILE, _name(teacher, stamped))
    kept = [
        replace(entry, text=text)
        for entry in wanted
        if (text := texts.get(_key(entry))) and (max_wer is None or _wer(entry.text or "", text, normalize) <= max_wer)
    ]
    processes.say(f"pseudo-labels: {len(kept)} of {len(wanted)} training clips are kept")
    return kept + [entry for entry in entries if entry.split != "train"]


def _complete(teacher: Whisper, wanted: Sequence[Entry], folder: Path, stamped: bool) -> None:
    """Transcribe what is not in the file yet."""
    folder.mkdir(parents=True, exist_ok=True)
    name = _name(teacher, stamped)
    known = _read(folder / FILE, name)
    missing = [entry for entry in wanted if _key(entry) not in known]
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write("\n")  # a line that was cut stays alone
        for group, clips in readable(missing, teacher.sample_rate, GROUP):
            spoken = languages_of(group, teacher)
            transcripts = teacher.transcribe(
                clips, teacher.sample_rate, language=spoken, vad="none", timestamps=stamped
            )
            for entry, transcript in zip(group, transcripts, strict=True):
                line = {"clip": _key(entry), "text": transcript.text, "teacher": name}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()


def _name(teacher: Whisper, stamped: bool) -> str:
    return f"{teacher.fingerprint()} {'with' if stamped else 'without'} times"


def _read(path: Path, teacher: str) -> dict[str, str]:
    """Clip -> text, of those that this teacher wrote."""
    texts: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").split("\n") if path.is_file() else ():
        with suppress(ValueError):  # a line that was cut
            record = json.loads(line)
            if record.get("teacher") == teacher:
                texts[record["clip"]] = record["text"]
    return texts


def _key(entry: Entry) -> str:
    return f"{entry.audio} {entry.start} {entry.end}"


def _wer(reference: str, text: str, normalize: str) -> float:
    if not normalizer(normalize)(reference).split():  # "...": nothing to hold the text against
        return math.inf
    return error_rates([reference], [text], normalize).wer
