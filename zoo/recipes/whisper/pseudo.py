"""Pseudo-labels: a teacher's transcripts of the training clips, on which the student is trained.

Each text is stored when it is ready, so that a stopped run resumes. Texts of another teacher are not used.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from zoo import audio
from zoo.audio import Clip
from zoo.benchmarks.evaluated import languages_of
from zoo.benchmarks.wer import error_rates
from zoo.data.manifest import Entry
from zoo.errors import AudioError, MissingDependencyError
from zoo.models.whisper.model import Whisper
from zoo.text.normalizers import normalizer
from zoo.train import processes

FILE = "pseudo-labels.jsonl"
GROUP = 64  # clips that are transcribed and stored at once


def pseudo_labeled(
    teacher: Whisper,
    entries: Sequence[Entry],
    folder: Path,
    wer_normalizer: str,
    max_wer: float | None,
    with_timestamps: bool = True,
) -> list[Entry]:
    """The entries; those of split "train" get the teacher's texts.

    max_wer: clips with a larger WER of the teacher against the transcript are left out, because one of both is wrong.
    Clips that cannot be read are left out too. with_timestamps: whether the teacher writes times.
    """
    training = [entry for entry in entries if entry.split == "train" and entry.text]
    if processes.is_main():
        _complete(teacher, training, folder, with_timestamps)
    processes.barrier()
    texts = _read(folder / FILE, _name(teacher, with_timestamps))
    labeled: list[Entry] = []
    for entry in training:
        text = texts.get(_key(entry))
        if text and (max_wer is None or _wer(entry.text or "", text, wer_normalizer) <= max_wer):
            labeled.append(replace(entry, text=text))
    processes.say(f"pseudo-labels: {len(labeled)} of {len(training)} training clips are used")
    return labeled + [entry for entry in entries if entry.split != "train"]


def _complete(teacher: Whisper, entries: Sequence[Entry], folder: Path, with_timestamps: bool) -> None:
    """Transcribe the entries that are not in the file yet."""
    folder.mkdir(parents=True, exist_ok=True)
    name = _name(teacher, with_timestamps)
    done = _read(folder / FILE, name)
    missing = [entry for entry in entries if _key(entry) not in done]
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write("\n")  # the last line may be incomplete
        for group, clips in _readable(missing, teacher.sample_rate):
            languages = languages_of(group, teacher)
            transcripts = teacher.transcribe(
                clips, teacher.sample_rate, language=languages, vad="none", timestamps=with_timestamps
            )
            for entry, transcript in zip(group, transcripts, strict=True):
                line = {"clip": _key(entry), "text": transcript.text, "teacher": name}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()


def _readable(entries: Sequence[Entry], sample_rate: int) -> Iterator[tuple[list[Entry], list[Clip]]]:
    """Groups of at most GROUP entries with their audio. Clips that cannot be read are left out.

    At the end a warning gives their number, and the error of the first one.
    """
    failed: list[str] = []
    for first in range(0, len(entries), GROUP):
        group: list[Entry] = []
        clips: list[Clip] = []
        for entry in entries[first : first + GROUP]:
            try:
                clips.append(audio.load(entry.audio, sample_rate, start=entry.start, end=entry.end))
                group.append(entry)
            except (AudioError, MissingDependencyError) as error:
                failed.append(str(error))
        if group:
            yield group, clips
    if failed:
        warnings.warn(f"{len(failed)} clips cannot be read and are left out, e.g. {failed[0]}", stacklevel=2)


def _name(teacher: Whisper, with_timestamps: bool) -> str:
    return f"{teacher.fingerprint()} {'with' if with_timestamps else 'without'} times"


def _read(path: Path, teacher: str) -> dict[str, str]:
    """Clip -> text by this teacher."""
    texts: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").split("\n") if path.is_file() else ():
        with suppress(ValueError):  # an incomplete line
            record = json.loads(line)
            if record.get("teacher") == teacher:
                texts[record["clip"]] = record["text"]
    return texts


def _key(entry: Entry) -> str:
    return f"{entry.audio} {entry.start} {entry.end}"


def _wer(reference: str, text: str, wer_normalizer: str) -> float:
    if not normalizer(wer_normalizer)(reference).split():  # a reference without words, such as "..."
        return math.inf
    return error_rates([reference], [text], wer_normalizer).wer
