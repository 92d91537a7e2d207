"""The page of `zoo demo`, from small made-up results; and once, slowly, the whole."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from zoo import demo
from zoo.data.manifest import Entry
from zoo.demo import charts, command, maps, page, picture, results, search, sound, units, words
from zoo.demo.benchmark import ScoreRow, ScoreTable
from zoo.demo.clips import DemoClip, write_folds

WORDS = ("yes", "<b>no</b>")


class Page(HTMLParser):
    """Collects what the tests ask for. embedded: the text of script elements by their id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.embedded: dict[str, str] = {}
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.tags.append((tag, found))
        self._inside = found.get("id", "page") if tag == "script" else ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.embedded[self._inside] = self.embedded.get(self._inside, "") + data

    def with_class(self, name: str) -> list[dict[str, str]]:
        return [attributes for _, attributes in self.tags if name in attributes.get("class", "").split()]


def made_up_clip(folder: Path, number: int, **fields: object) -> DemoClip:
    path = folder / f"{number}.flac"
    wave = np.random.default_rng(number).normal(0, 0.1, 16_000)
    soundfile.write(path, wave, 16_000)
    return DemoClip(f"clip-{number}", Entry(audio=path, duration=1.0, split="test", **fields))


def made_up_word(folder: Path, number: int) -> DemoClip:
    word = WORDS[number % 2]
    labels = {"label": word, "style": "keyword"}
    phones = [(0.0, 0.3, "sil"), (0.3, 0.9, "j"), (0.9, 1.0, "sil")]
    return made_up_clip(folder, number, text=word, speaker=f"en{number // 2}", lang="en", phones=phones, labels=labels)


def made_up_map(model: str, clips: list[DemoClip], column: str) -> maps.Map:
    points = np.random.default_rng(0).random((len(clips), 2))
    labels = [clip.label(column) for clip in clips]
    return maps.Map(model, "label", clips, labels, points, agreement=0.5, chance=0.25)


@pytest.fixture
def made_up(tmp_path: Path) -> results.DemoResults:
    speech = [made_up_word(tmp_path, number) for number in range(6)]
    labels = {"family": 'brass & "wind"', "piece": "1"}
    music = [made_up_clip(tmp_path, number, captions=["A <i>tune</i>."], labels=labels) for number in (10, 11)]
    runs = units.runs([3, 3, 3, 7], frame_rate=4.0, duration=1.0)
    hit = search.SearchHit(music[0], 0.5, [("brass", True), ("slow", False)])
    rows = [ScoreRow("hubert", "model", 0.9, 0.8, 1.0), ScoreRow("hubert, untrained", "baseline", -0.2, -0.5, 0.1)]
    return results.DemoResults(
        speech=speech,
        music=music,
        word_maps=[made_up_map("mfcc", speech, "label"), made_up_map("hubert", speech, "label")],
        music_maps=[made_up_map("mfcc", music, "family"), made_up_map("mulan", music, "family")],
        spectrograms=[units.Spectrogram(speech[1], np.random.default_rng(0).random((20, 8)), runs)],
        transcripts=[words.ShownTranscript(speech[0], "Yes."), words.ShownTranscript(speech[1], "yes <no>")],
        answers=[search.SearchAnswer("a <waltz>", [hit])],
        tables=[ScoreTable("Which phone?", "moments", "voices", 30, 6, rows)],
    )


def test_the_page_loads_nothing(made_up: results.DemoResults) -> None:
    text = page.build(made_up)
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    assert "@import" not in text
    for tag, attributes in Page(text).tags:
        for name in ("src", "srcset", "poster", "data"):
            assert attributes.get(name, "data:").startswith("data:"), tag
        if "href" in attributes:
            assert attributes["href"].startswith(("#", "data:")), tag


def test_every_sound_and_picture_is_in_the_page(made_up: results.DemoResults) -> None:
    found = Page(page.build(made_up))
    sounds = json.loads(found.embedded["sounds"])
    played = {attributes["data-clip"] for _, attributes in found.tags if "data-clip" in attributes}
    assert played == set(sounds)
    for uri in sounds.values():
        head, content = uri.split(",")
        wave, rate = soundfile.read(BytesIO(base64.b64decode(content, validate=True)))
        assert head == "data:audio/mpeg;base64"
        assert len(wave) / rate == pytest.approx(1.0, abs=0.2)
    pictures = [attributes["src"] for tag, attributes in found.tags if tag == "img"]
    assert len(pictures) == len(made_up.spectrograms)
    assert base64.b64decode(pictures[0].split(",")[1], validate=True).startswith(b"\x89PNG")


def test_the_maps_have_a_point_for_each_clip(made_up: results.DemoResults) -> None:
    points = Page(page.build(made_up)).with_class("point")
    assert len(points) == 2 * 6 + 2 * 2
    assert {point["data-label"] for point in points} == {*WORDS, 'brass & "wind"'}
    for point in points:
        assert 0 < float(point["cx"]) < 400
        assert 0 < float(point["cy"]) < 320


def test_labels_and_texts_are_escaped(made_up: results.DemoResults) -> None:
    text = page.build(made_up)
    for raw in ("<b>no</b>", "<no>", "<i>tune</i>", "<waltz>"):
        assert raw not in text
    assert "&lt;b&gt;no&lt;/b&gt;" in text
    assert "brass &amp; &quot;wind&quot;" in text


def test_nothing_is_left_to_fill_in(made_up: results.DemoResults) -> None:
    text = re.sub(r"<script>.*?</script>", "", page.build(made_up), flags=re.DOTALL)
    assert "$" not in text
    assert "nan" not in text.split("<main", 1)[1].split("<footer", 1)[0]


def test_unit_runs_cover_the_clip() -> None:
    found = units.runs([5, 5, 8, 5], frame_rate=50.0, duration=0.1)
    assert [run.unit for run in found] == [5, 8, 5]
    assert [run.start for run in found] == pytest.approx([0.0, 0.04, 0.06])
    assert found[-1].end == 0.1
    strip = charts.unit_strip(found, 0.1)
    assert strip.count("<span") == 3
    assert strip.count("--hue:328") == 2  # of unit 5


def test_two_voices_of_each_word_are_shown(tmp_path: Path) -> None:
    clips = [made_up_word(tmp_path, number) for number in range(6)]
    chosen = units.choose(clips)
    assert [clip.label("label") for clip in chosen] == ["<b>no</b>", "<b>no</b>", "yes", "yes"]
    assert [clip.group for clip in chosen] == ["en0", "en1", "en0", "en1"]


def test_agreement_leaves_out_clips_of_the_same_group() -> None:
    vectors = np.array([[1.0, 0.0], [1.0, 0.1], [0.9, 0.3], [0.0, 1.0]])
    labels = ["a", "a", "b", "a"]
    assert maps.agreement(vectors, labels, ["1", "1", "2", "3"]) == 0.0
    assert maps.agreement(vectors, labels, ["1", "2", "3", "4"]) == 0.5
    assert maps.chance(labels, ["1", "1", "2", "3"]) == pytest.approx((0.5 + 0.5 + 0 + 2 / 3) / 4)


def test_a_projection_stays_within_its_frame() -> None:
    points = maps.project(np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32))
    assert points.shape == (12, 2)
    assert points.min() == 0.0
    assert points.max() == pytest.approx(1.0)


def test_wrong_words_of_a_transcript_are_marked() -> None:
    assert words.marked("Three, four two.", "three nine two") == [("three", True), ("nine", False), ("two", True)]
    assert words.marked("no", "") == []


def test_a_long_clip_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.full(16_000 * 9, 0.5), 16_000)
    clip = DemoClip("long", Entry(audio=path, duration=9.0, split="test"))
    wave, rate = soundfile.read(BytesIO(sound.mp3(clip)))
    assert len(wave) / rate == pytest.approx(sound.LONGEST, abs=0.2)
    assert abs(wave[-1]) < 0.05


def test_a_picture_has_time_to_the_right_and_low_bands_below() -> None:
    bands = np.zeros((30, 10))
    bands[:, 0] = 1.0
    content = picture.spectrogram(bands)
    assert content[16:24] == (30).to_bytes(4, "big") + (10).to_bytes(4, "big")


def test_folds_share_no_group(tmp_path: Path) -> None:
    clips = [made_up_word(tmp_path, number) for number in range(6)]
    lines = write_folds(clips, tmp_path / "folds.jsonl").read_text(encoding="utf-8").splitlines()
    folds: dict[str, set[str]] = {}
    for line in lines:
        row = json.loads(line)
        folds.setdefault(row["speaker"], set()).add(row["fold"])
    assert sorted(folds.values(), key=sorted) == [{"1"}, {"2"}, {"3"}]


def test_the_summary_has_every_result(made_up: results.DemoResults) -> None:
    lines = command.summary(made_up)
    assert len(lines) == 2 + len(made_up.tables) + 1
    assert "hubert 0.90 (0.80 to 1.00)" in lines[2]
    assert lines[3].endswith("1 of 2")


@pytest.mark.slow
def test_the_demo_writes_one_page(tmp_path: Path) -> None:
    printed = StringIO()
    path = demo.run(tmp_path / "demo", Console(file=printed, width=120))
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]
    assert str(path) in printed.getvalue()
    assert "zoo bench run" in printed.getvalue()
    assert path.stat().st_size < 6_000_000
    found = Page(path.read_text(encoding="utf-8"))
    assert len(found.with_class("point")) > 300
    assert len(found.with_class("spectrogram")) >= 3
    assert len(found.with_class("query")) == len(search.QUERIES)
