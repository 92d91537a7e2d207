"""Words in subtitles, and transcripts saved to files and loaded again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import ConfigError, ZooError
from zoo.text.transcript import Segment, Transcript, Word

WORDS = [
    Word(" One", 0.0, 0.5, 0.9),
    Word(" & two", 0.5, 1.0, 0.9),
    Word(" <b>,", 1.5, 2.0, 0.9),
    Word(" done.", 2.0, 2.0, 0.9),
]
SPOKEN = Transcript("en", 9.0, [Segment(0.0, 2.0, " One & two <b>, done.", words=WORDS), Segment(3.0, 4.0, " End.")])


def cues(text: str) -> list[tuple[str, str]]:
    """Times and text of each cue of an SRT file."""
    blocks = [block.split("\n", 2) for block in text.split("\n\n") if block]
    assert [block[0] for block in blocks] == [str(i + 1) for i in range(len(blocks))]
    return [(block[1].replace("00:00:0", "").replace(",000", "").replace("00 ", " "), block[2]) for block in blocks]


def test_few_words_in_a_cue() -> None:
    expected = [("0 --> 1", "One & two"), ("1,5 --> 2", "<b>, done."), ("3 --> 4", "End.")]
    assert cues(SPOKEN.to_srt(max_words_per_line=2)) == expected
    each = [text for _, text in cues(SPOKEN.to_srt(max_words_per_line=1))]
    assert each == ["One", "& two", "<b>, done.", "End."]  # a word without duration has no cue of its own
    assert len(cues(SPOKEN.to_srt(max_words_per_line=9))) == 2


def test_the_spoken_word_is_underlined() -> None:
    line = "One &amp; two &lt;b>, done."
    found = [block.split("\n") for block in SPOKEN.to_vtt(highlight_words=True).split("\n\n")[1:-1]]
    assert found == [
        ["00:00:00.000 --> 00:00:00.500", line.replace("One", "<u>One</u>")],
        ["00:00:00.500 --> 00:00:01.000", line.replace("&amp; two", "<u>&amp; two</u>")],
        ["00:00:01.000 --> 00:00:01.500", line],
        ["00:00:01.500 --> 00:00:02.000", line.replace("&lt;b>,", "<u>&lt;b>,</u>")],
        ["00:00:03.000 --> 00:00:04.000", "End."],
    ]
    both = cues(SPOKEN.to_srt(highlight_words=True, max_words_per_line=2))
    assert both[1] == ("0,5 --> 1", "One <u>& two</u>")


times = st.lists(st.sampled_from([0.0, 0.1, 0.5]), min_size=1, max_size=8)


@given(times, st.sampled_from([None, 1, 2, 3]), st.booleans())
def test_no_word_is_lost_and_cues_follow_each_other(
    lengths: list[float], max_words: int | None, highlight: bool
) -> None:
    words, now = [], 1.0
    for i, length in enumerate(lengths):
        words.append(Word(f" w{i}", now, now + length, 1.0))
        now += length
    text = "".join(word.text for word in words)
    transcript = Transcript("en", 99.0, [Segment(0.0, now + 1, text, words=words)])
    srt = transcript.to_srt(highlight_words=highlight, max_words_per_line=max_words)
    spans = re.findall(r"00:00:(\d\d),(\d{3}) --> 00:00:(\d\d),(\d{3})", srt)
    borders = [int(a) * 1000 + int(b) for span in spans for a, b in (span[:2], span[2:])]
    assert borders == sorted(borders)
    assert all(start < end for start, end in zip(borders[::2], borders[1::2], strict=True))
    shown = re.sub("</?u>", "", srt)
    assert all(re.search(rf"\bw{i}\b", shown) for i in range(len(lengths)))


def test_words_need_their_times() -> None:
    plain = Transcript("en", 2.0, [Segment(0.0, 1.0, " a b")])
    for style in ({"highlight_words": True}, {"max_words_per_line": 3}):
        with pytest.raises(ConfigError, match="no times of words; transcribe with word_timestamps=True"):
            plain.to_srt(**style)  # type: ignore[arg-type]
        assert Transcript("en", 2.0).to_vtt(**style) == "WEBVTT\n\n"  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_words_per_line 0: at least 1"):
        SPOKEN.to_srt(max_words_per_line=0)
    with pytest.raises(ConfigError, match="max_words_per_line 'all': give a whole number or None"):
        SPOKEN.to_srt(max_words_per_line="all")  # type: ignore[arg-type]


def test_a_transcript_is_saved_in_the_format_of_its_extension(tmp_path: Path) -> None:
    for name in ("txt", "srt", "vtt", "tsv", "json"):
        SPOKEN.save(tmp_path / f"talk.{name}")
        assert (tmp_path / f"talk.{name}").read_text(encoding="utf-8") == SPOKEN.render(name)
    SPOKEN.save(str(tmp_path / "talk.SRT"), max_words_per_line=1)
    assert (tmp_path / "talk.SRT").read_text(encoding="utf-8") == SPOKEN.to_srt(max_words_per_line=1)
    assert Transcript.load(tmp_path / "talk.json") == SPOKEN
    for name in ("talk", "talk.docx"):
        with pytest.raises(ConfigError, match="is unknown; choose from txt, srt, vtt, json, tsv"):
            SPOKEN.save(tmp_path / name)
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"segments": 3}', '{"segments": [{"texts": 1}]}', "\udcff"])
def test_other_files_are_no_transcripts(tmp_path: Path, content: str) -> None:
    (tmp_path / "talk.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ZooError, match=r"talk\.json: not the JSON of a transcript"):
        Transcript.load(tmp_path / "talk.json")
    with pytest.raises(ZooError, match=r"none\.json: cannot be read"):
        Transcript.load(tmp_path / "none.json")
