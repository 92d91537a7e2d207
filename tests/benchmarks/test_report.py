"""report.html: it is complete and self-contained, and names cannot break it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from test_compare import write
from typer.testing import CliRunner

from zoo.benchmarks import compare, details, differences, scores, svg, table
from zoo.benchmarks.compare import ComparedModel
from zoo.benchmarks.report import Report
from zoo.benchmarks.results import Record, Results
from zoo.cli.bench import app
from zoo.io.markdown import block, plain

EVIL = 'a <script src="http://x.org/a.js"> & "b"'


class Page(HTMLParser):
    """Text, tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def record(task: str, model: str, kind: str = "class", role: str = "model", **values: object) -> Record:
    values = {"metric": "accuracy", "score": 0.7, "low": 0.6, "high": 0.8} | values
    return Record(task, kind, model, role, model, "d", "k", **values)  # type: ignore[arg-type]


def records() -> list[Record]:
    curves = {"dev": [0.5, 0.7, 0.6], "test": [0.4, 0.6, None]}
    conditions = {"pink 10": {"score": 0.4, "change": -0.3, "low": -0.4, "high": -0.2}}
    timing = {"parameters": 4_000_000, "gmacs": 0.3, "peak_mib": 800.0}
    shown = []
    for name, role in ((EVIL, "model"), ("hubert", "model"), ("mfcc", "baseline")):
        deep = {"curves": curves, "layer": 1} if role == "model" else {"curves": {"dev": [0.4], "test": [0.4]}}
        shown += [
            record("digits", name, role=role, **deep),
            record("tempo", name, "value", role, metric="r2", score=-3.0, low=None, high=math.nan),
            record("mixed", name, role=role, curves={"weights": [0.2, 0.5, 0.3]}, layer=1),
            record(
                "digits, changed",
                name,
                "robustness",
                role,
                metric="change of accuracy",
                score=-0.3,
                low=-0.4,
                high=-0.2,
                details={"clean": 0.7, "conditions": conditions},
            ),
            record("speed", name, "speed", role, metric="x real time", score=40.0, low=30.0, high=50.0, details=timing),
            record("words", name, "wer", role, status="skipped", reason="it does not transcribe", score=None),
        ]
    return shown


def test_everything_is_on_the_page_and_nothing_is_fetched() -> None:
    text = Report("Results", records(), []).page(["- `zoo bench run` (torch 2.11)"])
    page = Page(text)
    for name in (EVIL, "hubert", "mfcc", "digits (accuracy)", "tempo (r2)", "mixed", "speed", "words", "torch 2.11"):
        assert name in page.text, name
    assert page.text.count("it does not transcribe") == 1 and "pink 10" in page.text, "a reason appears once"
    assert not {"script", "img", "link", "iframe", "object", "image", "use"} & set(page.tags)
    assert not [value for key, value in page.attributes if key in ("src", "href", "xlink:href", "srcset", "data")]
    assert "url(" not in text and "@import" not in text and "default-src 'none'" in text
    assert ("name", "viewport") in page.attributes and "prefers-color-scheme: dark" in text
    charts = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(charts) == 8, "a bar chart for each of five tasks, two of layers, one of speed"
    for chart in charts:
        ElementTree.fromstring(chart)
        assert "nan" not in chart


def test_one_speaker_gives_no_interval() -> None:
    bounds = {"low": math.nan, "high": math.nan}
    errors = {"wer": 0.2, "cer": 0.1, "substitutions": 3, "deletions": 0, "insertions": 1}
    one = record("words", "m", "wer", metric="WER, basic", score=0.2, **bounds, details={"basic": errors | bounds})
    assert scores.cell(one) == "20.0 % (no interval)"
    (sheet,) = details.sheets([one])
    assert sheet.rows[0][2] == "20.0 % (no interval)"


def test_few_groups_give_a_warning() -> None:
    (remark,) = table.notes(
        [record("digits", "m", groups=2), record("digits", "n", groups=2), record("a", "m", groups=9)]
    )
    assert remark.startswith("digits: only 2 independent groups")


def test_no_name_breaks_a_table_in_markdown() -> None:
    names = [record("one|two\nthree", "a|b\x85c"), record("one|two\nthree", "plain")]
    lines = [line for line in table.markdown(Results("s", names)).splitlines() if line.startswith("|")]
    assert len(lines) == 3 and lines[0] == "| | a\\|b c | plain |" and lines[2].startswith("| one\\|two three (acc")


HOSTILE = "x\n# Pwned <script>alert(1)</script> [a](http://x.org) &lt; \x1b[31m\u202e\r\n- `b` | <!-- end of table -->"


def test_text_of_others_stays_text_in_markdown() -> None:
    task, model = HOSTILE, "```\n" + HOSTILE
    shown = [
        record(task, model, notes=["# " + HOSTILE]),
        record(task, "> m", status="skipped", reason=HOSTILE, score=None),
        record("prompts", model, "zero_shot", details={"chance": 0.2, "by template": {HOSTILE: 0.3}}),
    ]
    run = {"command": f"zoo `{HOSTILE}`", "machine": HOSTILE, "gpu": None, "threads": 1, "torch": "2", "commit": "c"}
    shown[0].run = 0
    results = Results("# " + HOSTILE, shown, runs=[run | {"day": "2026-11-29"}])
    twice = [replace(shown[0], model=name) for name in ("a", "b")]
    comparison = compare.TaskComparison(task, [ComparedModel(r, {}, {}) for r in twice], None, [], [], [HOSTILE])
    for text in (table.markdown(results), differences.markdown([comparison])):
        assert not re.search(r"<(script|/script|!--)", text.replace(table.code(f"zoo `{HOSTILE}`"), ""))
        assert not re.search(r"^\s*(- )?(# Pwned|>|`{3}|- `b`)", text, re.MULTILINE), text
        assert "](http" not in text.replace(table.code(f"zoo `{HOSTILE}`"), "") and "&amp;lt;" in text
        assert not set(text) & {"\x1b", "\u202e", "\r"}
    assert "\n" not in table.line(shown[1]) and "\x1b" not in table.line(shown[1])


def test_common_text_is_not_changed_in_markdown() -> None:
    for text in (
        "hubert, untrained",
        "p < 0.001",
        "-0.150 (-0.2 to 0.1)",
        "R&D, a_b *c*",
        "ARCTIC [fast] (new)",
        "größer",
    ):
        assert plain(text) == text == block(text)


def test_curves_far_below_zero_are_drawn_at_the_edge() -> None:
    chart = svg.lines([svg.Line("a", 0, [-400.0, -5.0], 1, -9.0)], "t", "layer", "r2")
    assert not re.search(r"nan|inf", chart) and ElementTree.fromstring(chart) is not None


def test_ties_are_on_the_page(tmp_path: Path) -> None:
    folders = [write(tmp_path / n, n, a, s) for s, (n, a) in enumerate([("fair", 0.8), ("poor", 0.5), ("same", 0.805)])]
    comparisons = compare.compare(folders)
    shown = [model.record for model in comparisons[0].models]
    text = Report("Comparison", shown, comparisons).page()
    assert text.count('class="rank">1=<') == 2 and text.count('class="rank">3<') == 1
    assert len(re.findall(r"<b>0\.\d+</b>", text)) == 2
    same = compare.compare([folders[0], folders[2]])
    text = Report("Comparison", [model.record for model in same[0].models], same).page()
    assert text.count('class="rank">=<') == 2 and not re.findall(r"<b>0\.\d+</b>", text), (
        "no bold without a significant difference"
    )


def test_compare_writes_the_requested_files(tmp_path: Path) -> None:
    folders = [str(write(tmp_path / n, n, a, s)) for s, (n, a) in enumerate([("one", 0.8), ("two", 0.5)])]
    page, markdown = tmp_path / "c.html", tmp_path / "c.md"
    done = CliRunner().invoke(app, ["compare", *folders, "-o", str(page), "-o", str(markdown)])
    assert done.exit_code == 0, done.output
    assert "## task (accuracy)" in markdown.read_text() and "task (accuracy)" in Page(page.read_text()).text
    done = CliRunner().invoke(app, ["compare", *folders, "-o", str(tmp_path / "c.pdf")])
    assert done.exit_code != 0 and not (tmp_path / "c.pdf").exists()


def test_compare_prints_json(tmp_path: Path) -> None:
    folders = [str(write(tmp_path / n, n, a, s)) for s, (n, a) in enumerate([("one", 0.8), ("two", 0.5)])]
    (task,) = json.loads(CliRunner().invoke(app, ["compare", *folders, "--json"]).stdout)
    best, worse = task["models"]
    assert (task["task"], task["metric"], best["model"], best["best"], best["rank"]) == (
        "task",
        "accuracy",
        "one",
        True,
        1,
    )
    assert best["difference"] is None and best["p"] is None and not worse["best"] and worse["rank"] == 2
    assert worse["difference"] == pytest.approx(worse["score"] - best["score"])
    assert worse["difference_low"] < worse["difference"] < worse["difference_high"] < 0
    assert worse["p"] == worse["corrected_p"] < 0.001 and worse["mcnemar_p"] < 0.001


def test_charts_stay_in_their_frames() -> None:
    labels = [svg.Point(f"model {n}", n, 10.0 ** (n / 4), 0.5) for n in range(8)]
    chart = ElementTree.fromstring(svg.scatter(labels, "t", "x", "y"))
    ends = [float(text.get("y", "0")) for text in chart.iter("text") if "label" in (text.get("class") or "")]
    assert all(b - a >= 13 for a, b in pairwise(ends)), "labels do not overlap"
    height = float(chart.get("viewBox", "").split()[3])
    assert max(ends) < height
    bars = ElementTree.fromstring(svg.bars([svg.Bar("a", 0, -9.0, None, None, "-9")], "t"))
    (bar,) = bars.iter("rect")
    assert float(bar.get("x", "-1")) >= 0 and float(bar.get("width", "999")) < svg.WIDTH


@pytest.mark.parametrize(
    ("kind", "metric", "value", "text"),
    [
        ("wer", "WER, basic", 0.123, "12.3 %"),
        ("robustness", "change of WER, basic", 0.05, "+5.0 %"),
        ("robustness", "change of accuracy", -0.05, "-0.050"),
        ("hallucination", "words a minute", 3.21, "3.2"),
        ("class", "accuracy", None, "?"),
    ],
)
def test_numbers_have_the_unit_of_their_metric(kind: str, metric: str, value: float | None, text: str) -> None:
    assert scores.number(record("t", "m", kind, metric=metric), value) == text


def test_details_of_every_kind_are_shown() -> None:
    rates = {"wer": 0.1, "cer": 0.05, "low": 0.05, "high": None, "substitutions": 7, "deletions": 2, "insertions": 1}
    sound = {"words": 30, "minutes": 2.0, "clips": 4, "clips with words": 1, "longest": "Thank you | all"}
    book = dict.fromkeys(("pnmi", "phone_purity", "cluster_purity", "boundary_f1", "bit rate", "bit rate of runs"), 0.5)
    book |= {"used": 90, "units": 100, "perplexity": 63.2}
    ranks = {"recall@1": 0.2, "recall@10": 0.6, "median rank": 4.0, "chance": 0.05}
    detailed = [
        record("words", "m", "wer", metric="WER, basic", details={"basic": rates}),
        record("silence", "m", "hallucination", metric="words a minute", details={"silence": sound}),
        record("units", "m", "units", metric="PNMI", details={"codebook 0": book, "consistency": {"pink 10": 0.25}}),
        record("captions", "m", "retrieval", metric="MRR", details=ranks),
        record("prompts", "m", "zero_shot", details={"chance": 0.2, "by template": {"{}": 0.3, "a {}": 0.4}}),
    ]
    sheets = {sheet.title: sheet for sheet in details.sheets(detailed)}
    assert sheets["Word errors by normalizer"].rows[0][2:] == ["10.0 % (5.0 to ?)", "5.0 %", "7", "2", "1"]
    assert sheets["Words in audio without speech"].rows == [
        ["m, silence", "silence", "15.0", "1 of 4", "Thank you | all"]
    ]
    assert sheets["Units"].rows[0][-3:] == ["90 of 100, perplexity 63.2", "0, 0", "pink 10: 25.0 %"]
    assert sheets["Retrieval"].rows[0][1:] == ["0.700 (0.600 to 0.800)", "0.050", "0.200", "0.600", "4"]
    assert sheets["Zero-shot"].rows[0][-1] == "{}: 0.300; a {}: 0.400"
    assert all(len(row) == len(sheet.head) for sheet in sheets.values() for row in sheet.rows)
    page = Page(Report("Results", detailed, []).page())
    assert "Thank you | all" in page.text


def test_the_legend_tells_what_the_interval_of_a_perfect_score_is() -> None:
    assert "interval of a perfect score is the exact binomial bound" in table.markdown(Results("s", records()))
    assert table.PERFECT in Page(Report("Results", records(), []).page()).text
