"""Files of transcripts: their contents and their names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import ConfigError
from zoo.jobs.lists import Item
from zoo.text.formats import FORMATS, parse_formats
from zoo.text.transcript import Segment, Transcript, Word
from zoo.transcribe.naming import stems

SPOKEN = Transcript(
    "en",
    3700.0,
    [
        Segment(0.0, 1.5, " Hello --> you,\n all", [1, 2], words=[Word(" Hello", 0.0, 0.5, 0.9)]),
        Segment(3661.0625, 3662.9996, " A & <b>"),
        Segment(3663.0, 3664.0, "  "),
    ],
)


def test_formats_by_hand() -> None:
    assert SPOKEN.render("txt") == "Hello --> you, all\nA & <b>\n"
    assert SPOKEN.render("srt") == (
        "1\n00:00:00,000 --> 00:00:01,500\nHello -> you, all\n\n2\n01:01:01,062 --> 01:01:03,000\nA & <b>\n\n"
    )
    assert SPOKEN.render("vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello -> you, all\n\n"
        "01:01:01.062 --> 01:01:03.000\nA &amp; &lt;b>\n\n"
    )
    assert SPOKEN.render("tsv") == "start\tend\ttext\n0\t1500\tHello --> you, all\n3661062\t3663000\tA & <b>\n"
    values = json.loads(SPOKEN.render("json"))
    assert values["text"] == SPOKEN.text and Transcript.from_dict(values) == SPOKEN


def test_an_empty_transcript_is_a_file_too() -> None:
    empty = Transcript("en", 1.0)
    assert [empty.render(name) for name in ("txt", "srt", "vtt", "tsv")] == [
        "",
        "",
        "WEBVTT\n\n",
        "start\tend\ttext\n",
    ]
    assert json.loads(empty.render("json"))["segments"] == []


@given(st.lists(st.tuples(st.floats(0, 1e5), st.text(max_size=20)), max_size=5))
def test_subtitles_keep_their_form(segments: list[tuple[float, str]]) -> None:
    transcript = Transcript("en", 1e5, [Segment(t, t + 1, text) for t, text in segments])
    cues = transcript.render("srt").split("\n\n")
    assert cues.pop() == ""
    for i, cue in enumerate(cues, start=1):
        number, times, line = cue.split("\n")
        assert number == str(i) and line.strip() and "-->" not in line
        assert re.fullmatch(r"\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}", times)


@pytest.mark.parametrize("arrow", ["-->", "--->", "---->", "--> -->", "-- >"])
def test_arrows_in_the_text_are_not_arrows_of_times(arrow: str) -> None:
    transcript = Transcript("en", 9.0, [Segment(0, 1, f" one {arrow} two")])
    for name in ("srt", "vtt"):
        assert transcript.render(name).count("-->") == 1 and "one -" in transcript.render(name)


def test_names_of_formats() -> None:
    assert parse_formats("all") == tuple(FORMATS) and parse_formats("srt, txt,srt") == ("srt", "txt")
    with pytest.raises(ConfigError, match="format 'docx' is unknown; choose from txt, srt, vtt, json, tsv"):
        parse_formats("txt,docx")


def test_names_of_files() -> None:
    assert stems([Item("x/talk.mp3")]) == ["talk"]
    assert stems([Item("x/a/talk.mp3"), Item("x/b/talk.mp3"), Item("x/b/talk.wav")]) == [
        str(Path("a/talk")),
        str(Path("b/talk.mp3")),
        str(Path("b/talk.wav")),
    ]
    assert stems([Item("t.wav", 0.0, 2.5), Item("t.wav", 2.5, None), Item("t.wav")]) == ["t.0-2.5", "t.2.5-end", "t"]
    spans = [(36000.51, 36000.53), (1000000.5, None), (0.00001, 100.0), (1, 2)]
    assert stems([Item("t.wav", *span) for span in spans]) == [
        *("t.36000.51-36000.53", "t.1000000.5-end", "t.0-100", "t.1-2")
    ]
    assert stems([Item("v1.2.wav"), Item("v1.3.wav")]) == ["v1.2", "v1.3"]


names = st.sampled_from(["a", "a.wav", "a.mp3", "a.wav.mp3", "a.wav-2.mp3", "b/a.wav", "a.0-1.wav", "b/a"])


@given(st.lists(st.tuples(names, st.sampled_from([None, 0.0, 1.0])), min_size=1, max_size=9, unique=True))
def test_no_two_recordings_share_a_file(recordings: list[tuple[str, float | None]]) -> None:
    unique = stems([Item(name, start, None) for name, start in recordings])
    assert len(set(unique)) == len(recordings)
    assert not any(Path(name).is_absolute() or ".." in Path(name).parts for name in unique)


@given(st.lists(st.tuples(names, st.sampled_from([None, 0.0, 1.0])), min_size=1, max_size=9, unique=True), st.data())
def test_a_resumed_run_gives_the_same_names(recordings: list[tuple[str, float | None]], data: st.DataObject) -> None:
    items = [Item(name, start, None) for name, start in recordings]
    whole = dict(zip(items, stems(items), strict=True))
    done = data.draw(st.sets(st.sampled_from(items)))
    assert stems(items, {item: whole[item] for item in done}) == list(whole.values())


def test_names_stay_when_recordings_are_added() -> None:
    earlier = {Item("x/mon/a.wav"): "a", Item("x/mon/b.wav", 1.0, 2.0): "b.1-2"}
    items = [*earlier, Item("x/mon/a.mp3"), Item("x/tue/a.wav"), Item("x/a.wav")]
    assert stems(items, earlier) == ["a", "b.1-2", str(Path("mon/a.mp3")), str(Path("tue/a")), "a-2"]
