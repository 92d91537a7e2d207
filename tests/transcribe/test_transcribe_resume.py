"""Second runs: after a kill, after the end, with other settings, with changed recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import kill_transcripts
import pytest
import soundfile
from dying import kill
from small import noise
from small_whisper import small_whisper

from zoo.errors import ConfigError, ZooError
from zoo.jobs.plan import Limits, Plan
from zoo.jobs.survey import Planned
from zoo.models.whisper.model import Whisper
from zoo.text.transcript import Transcript
from zoo.transcribe import run
from zoo.transcribe.task import TranscribeTask

OPTIONS = {"vad": "none", "temperature": 0.0, "language": "en", "workers": 1, "progress": False}


def contents(out: Path) -> dict[str, bytes]:
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


MOMENTS = ["transcribe:2", "transcribe:4", "write:3", "sync:4", "replace:5", "record:1", "clear:1"]


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_it_leaves_the_same_files(corpus: Path, tmp_path: Path) -> None:
    whole = kill_transcripts.run(str(corpus), tmp_path / "whole")
    assert (whole.written, whole.failed) == (4, 1)
    expected = contents(tmp_path / "whole")
    assert len(expected) == 8 + 2  # the records and the errors
    assert kill(kill_transcripts.__file__, [corpus, tmp_path], MOMENTS) == [f"{moment} 9" for moment in MOMENTS]
    states = set()
    for moment in MOMENTS:
        out = tmp_path / moment
        begun = contents(out)
        states.add(frozenset(begun))
        for name, content in begun.items():
            if name.endswith((".txt", ".json")) and not Path(name).name.startswith("."):
                assert content == expected[name]
        kill_transcripts.run(str(corpus), out)
        assert contents(out) == expected, moment
    assert len(states) >= 4  # the moments were different ones


def test_a_finished_run_transcribes_nothing_again(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = small_whisper(), tmp_path / "out"
    run(corpus, model, out, **OPTIONS)
    before = contents(out)
    counts: list[int] = []
    whole = Whisper.transcribe

    def transcribe(self: Whisper, waves: list, *args: object, **options: object) -> object:
        counts.extend([len(waves)] if waves else [])  # an empty list only checks the options
        return whole(self, waves, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Whisper, "transcribe", transcribe)
    again = run(corpus, model, out, **OPTIONS)
    assert (again.written, again.skipped, again.failed, counts) == (0, 4, 1, [])
    (out / "a" / "two.txt").unlink()
    soundfile.write(corpus / "b" / "three.wav", noise(0.5, seed=9).numpy(), 16_000)
    soundfile.write(corpus / "b" / "new.wav", noise(0.5, seed=9).numpy(), 16_000)
    more = run(corpus, model, out, **OPTIONS)
    assert (more.written, more.rendered, more.skipped) == (2, 1, 2) and counts == [2]
    assert contents(out)["a/two.txt"] == before["a/two.txt"]
    assert contents(out)["b/new.txt"] == contents(out)["b/three.txt"]


def test_other_settings_are_refused(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(corpus, small_whisper(), out, **OPTIONS)
    before = contents(out)
    for options, words in (
        ({"language": "de"}, r"settings: language 'en' \(now 'de'\)\. "),
        ({"beam_size": 2}, r"settings: beam_size default \(now 2\)\. "),
    ):
        with pytest.raises(ZooError, match=words):
            run(corpus, small_whisper(), out, **{**OPTIONS, **options})
    with pytest.raises(ZooError, match="model"):
        run(corpus, small_whisper(seed=1), out, **OPTIONS)
    assert contents(out) == before
    assert run(corpus, small_whisper(), out, **{**OPTIONS, "temperature": 0}).skipped == 4  # the same number
    (out / "_transcripts.jsonl").write_text("{")
    with pytest.raises(ZooError, match="damaged"):
        run(corpus, small_whisper(), out, **OPTIONS)


def test_a_failed_run_without_files_does_not_block_another(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="language"):
        run(corpus, small_whisper(), out, **{**OPTIONS, "language": "klingon"})
    assert run(corpus, small_whisper(), out, **OPTIONS).written == 4
    assert '"language":"en"' in (out / "_transcripts.jsonl").read_text()
    (out / "_transcripts.jsonl").write_text('{"format":4,"settings":{}}\n')
    with pytest.raises(ZooError, match="format 4"):
        run(corpus, small_whisper(), out, **OPTIONS)


def test_another_batch_size_can_resume(corpus: Path, tmp_path: Path) -> None:
    """This helps after a run without enough memory."""
    out = tmp_path / "out"
    for before, now in ({}, {"batch_size": 2}), ({"batch_size": 2}, {"batch_size": 1}):
        run(corpus / "a", small_whisper(), out, **OPTIONS, **before)
        assert run(corpus, small_whisper(), out, **OPTIONS, **now).skipped >= 2
    journal = out / "_transcripts.jsonl"  # as in earlier versions
    journal.write_text(journal.read_text().replace('"language":"en"', '"language":"en","batch_size":16', 1))
    assert run(corpus, small_whisper(), out, **OPTIONS).skipped == 4


def test_a_run_of_other_recordings_keeps_what_a_stopped_one_has_written(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stopped run has written one of four recordings, and half the files of another."""
    out, save = tmp_path / "out", Transcript.save

    def stop(transcript: Transcript, path: Path, **style: object) -> None:
        if path.name == "two.txt":
            raise KeyboardInterrupt
        save(transcript, path, **style)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Transcript, "save", stop)
        patch.setattr(TranscribeTask, "limits", Limits(1, 600.0))
        with pytest.raises(KeyboardInterrupt):
            run(corpus, small_whisper(), out, **OPTIONS)
    assert {"a/one.json", "a/one.txt", "a/two.json"} <= set(contents(out))
    assert run(corpus / "b", small_whisper(), out, **OPTIONS).written == 2
    summary = run(corpus, small_whisper(), out, **OPTIONS)
    assert (summary.written, summary.skipped, summary.failed) == (1, 3, 1)
    assert not (out / ".job").exists()


def test_other_options_after_a_run_that_wrote_nothing(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(TranscribeTask, "compute", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(corpus, small_whisper(), tmp_path / "out", **OPTIONS)
    assert run(corpus, small_whisper(), tmp_path / "out", **{**OPTIONS, "language": "de"}).written == 4


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_damaged_records_are_an_error(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(corpus, small_whisper(), out, **OPTIONS)
    records = out / "_transcripts.jsonl"
    records.write_bytes(records.read_bytes()[:-9])
    with pytest.raises(ZooError, match="damaged"):
        run(corpus, small_whisper(), out, **OPTIONS)


def test_shards_are_bounded() -> None:
    seconds = [300.0, 299.0, 2.0, 900.0, 1.0, 1.0, 1.0]
    items = tuple(Planned(f"{i}", None, None, 1, 1, s) for i, s in enumerate(seconds))
    plan = Plan("transcribe", {}, replace(TranscribeTask.limits, items=2), ".jsonl", items, "/")
    assert [(shard.start, shard.stop) for shard in plan.shards()] == [(0, 2), (2, 3), (3, 4), (4, 6), (6, 7)]
    assert list(plan.batches(plan.shards()[0])) == [[0, 1]]
