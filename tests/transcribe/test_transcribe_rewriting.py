"""Further formats and styles of subtitles are written from the JSON, without transcribing again."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from rich.console import Console
from small import noise
from small_whisper import small_whisper

from zoo.audio import silero
from zoo.errors import ConfigError, ZooError
from zoo.models.whisper.model import Whisper
from zoo.text.transcript import Segment, Transcript, Word
from zoo.transcribe import TranscribeSummary, run
from zoo.transcribe.ledger import NAME

OPTIONS: dict[str, Any] = {"vad": "none", "temperature": 0.0, "language": "en", "workers": 1, "progress": False}


SPOKEN = Transcript("en", 9.0, [Segment(0.0, 2.0, " a b", words=[Word(" a", 0, 1, 1), Word(" b", 1, 2, 1)])])


def names(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


def again(corpus: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> TranscribeSummary:
    """A run that must not transcribe."""
    whole = Whisper.transcribe

    def transcribe(self: Whisper, waves: list, *args: Any, **options: Any) -> Any:
        assert not waves, "transcribed again"  # an empty list only checks the options
        return whole(self, waves, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Whisper, "transcribe", transcribe)
        return run(corpus, small_whisper(), out, **{**OPTIONS, **options})


def test_other_formats_are_written_later(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    run(corpus, small_whisper(), out, formats="srt", **OPTIONS)
    assert {f"a/one.{name}" for name in ("json", "srt")} < names(out)
    summary = again(corpus, out, monkeypatch, formats="srt,vtt,txt")
    assert (summary.written, summary.rendered, summary.skipped, summary.failed) == (0, 4, 0, 1)
    run(corpus, small_whisper(), whole, formats="srt,vtt,txt", **OPTIONS)
    assert names(out) == names(whole)
    for name in names(whole) - {NAME}:
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert again(corpus, out, monkeypatch, formats="txt").skipped == 4
    (out / "a" / "one.vtt").unlink()
    assert again(corpus, out, monkeypatch, formats="vtt").rendered == 1
    assert (out / "a" / "one.vtt").read_bytes() == (whole / "a" / "one.vtt").read_bytes()


def test_another_style_rewrites_subtitles_only(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    options = {"word_timestamps": True}
    run(corpus, small_whisper(), out, formats="srt,txt", **OPTIONS, **options)
    SPOKEN.save(out / "a" / "one.json")  # as if it had been corrected by hand
    text = (out / "a" / "one.txt").stat().st_mtime_ns
    styled = again(corpus, out, monkeypatch, formats="srt,txt", max_words_per_line=1, **options)
    assert styled.rendered == 4 and (out / "a" / "one.srt").read_text().count("-->") == 2
    assert (out / "a" / "one.txt").stat().st_mtime_ns == text
    assert again(corpus, out, monkeypatch, formats="srt,txt", max_words_per_line=1, **options).skipped == 4
    assert again(corpus, out, monkeypatch, formats="vtt", highlight_words=True, **options).rendered == 4
    assert again(corpus, out, monkeypatch, formats="srt", max_words_per_line=1, **options).skipped == 4
    assert again(corpus, out, monkeypatch, formats="srt", **options).rendered == 4
    assert (out / "a" / "one.srt").read_text().count("-->") == 1


def test_words_in_subtitles_need_subtitles_and_a_run_with_words(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="these are for subtitles, not for txt; add the format srt or vtt"):
        run(corpus, small_whisper(), out, max_words_per_line=2, **OPTIONS)
    assert not out.exists()
    run(corpus, small_whisper(), out, formats="srt", **OPTIONS)
    with pytest.raises(ZooError, match=r"settings: word_timestamps default \(now True\)"):
        run(corpus, small_whisper(), out, formats="srt", max_words_per_line=2, **OPTIONS)


def test_where_words_go_is_said(corpus: Path, tmp_path: Path) -> None:
    seen = []
    for options in ({}, {"formats": "srt"}, {"formats": "srt", "max_words_per_line": 1}):
        output = io.StringIO()
        out = tmp_path / str(len(seen))
        progress = Console(file=output, width=300)
        run(corpus, small_whisper(), out, **{**OPTIONS, "progress": progress, "word_timestamps": True}, **options)
        seen.append("timestamps of words are in json; for words in srt add --highlight-words" in output.getvalue())
    assert seen == [False, True, False]


def test_a_changed_recording_leaves_no_old_transcript(corpus: Path, tmp_path: Path) -> None:
    out, one = tmp_path / "out", corpus / "a" / "one.wav"
    run(one, small_whisper(), out, formats="srt,tsv", **OPTIONS)
    soundfile.write(one, noise(2.0, seed=9).numpy(), 16_000)
    assert run(one, small_whisper(), out, formats="vtt", **OPTIONS).written == 1
    fresh = Transcript.load(out / "one.json")
    for name in ("srt", "tsv", "vtt"):
        assert (out / f"one.{name}").read_text(encoding="utf-8") == fresh.render(name)


def test_a_run_that_was_stopped_while_rewriting_goes_on(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, save = tmp_path / "out", Transcript.save
    run(corpus, small_whisper(), out, formats="txt", **OPTIONS)

    def stop(transcript: Transcript, path: Path, **style: Any) -> None:
        if str(path).endswith("b/one.srt"):
            raise KeyboardInterrupt
        save(transcript, path, **style)

    with monkeypatch.context() as patch:
        patch.setattr(Transcript, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            run(corpus, small_whisper(), out, formats="srt", **OPTIONS)
    summary = again(corpus, out, monkeypatch, formats="srt")
    assert (summary.rendered, summary.skipped) == (2, 2)
    assert len([name for name in names(out) if name.endswith(".srt")]) == 4


def test_a_damaged_json_is_transcribed_again(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(corpus, small_whisper(), out, formats="txt", **OPTIONS)
    whole = (out / "a" / "one.json").read_bytes()
    (out / "a" / "one.json").write_text("{")
    summary = run(corpus, small_whisper(), out, formats="txt,srt", **OPTIONS)
    assert (summary.written, summary.rendered) == (1, 3)
    assert (out / "a" / "one.json").read_bytes() == whole and (out / "a" / "one.srt").exists()


def test_the_detector_of_speech_is_a_setting(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What "auto" means depends on what is installed."""
    out, options = tmp_path / "out", {**OPTIONS, "vad": "auto"}
    monkeypatch.setattr(silero, "available", lambda: False)
    run(corpus, small_whisper(), out, **options)
    head = json.loads((out / NAME).read_text().splitlines()[0])
    assert head["settings"]["options"]["vad"] == "energy"
    assert run(corpus, small_whisper(), out, **{**OPTIONS, "vad": "energy"}).skipped == 4
    monkeypatch.setattr(silero, "available", lambda: True)
    with pytest.raises(ZooError, match=r"settings: vad 'energy' \(now 'silero'\)"):
        run(corpus, small_whisper(), out, **options)


def test_the_name_of_a_language_is_its_code(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(corpus, small_whisper(), out, **OPTIONS)
    assert run(corpus, small_whisper(), out, **{**OPTIONS, "language": "English"}).skipped == 4


def test_recordings_without_speech_are_counted(corpus: Path, tmp_path: Path) -> None:
    output = io.StringIO()
    soundfile.write(corpus / "a" / "silence.wav", torch.zeros(16_000).numpy(), 16_000)
    options = {**OPTIONS, "vad": "energy", "progress": Console(file=output, width=300)}
    summary = run([corpus / "a" / "silence.wav"], small_whisper(), tmp_path / "out", **options)
    assert (summary.written, summary.without_speech) == (1, 1)
    assert f"no speech found in 1 recordings: {corpus / 'a' / 'silence.wav'}\n" in output.getvalue()


def test_the_model_is_named_by_what_it_is(corpus: Path, tmp_path: Path) -> None:
    output, directory = io.StringIO(), tmp_path / "model"
    small_whisper().save(directory)
    options = {**OPTIONS, "progress": Console(file=output, width=300), "dtype": "float32"}
    run(corpus / "a", directory, tmp_path / "out", **options)
    assert f"whisper-tiny ({directory}) on cpu in float32" in output.getvalue()
