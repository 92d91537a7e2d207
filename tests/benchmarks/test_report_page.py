"""What report.html tells: differences, colors, sizes of test sets, layers, days."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from test_compare import write
from test_report import Page, record

from zoo.benchmarks import compare, differences, pages
from zoo.benchmarks.report import Report
from zoo.benchmarks.results import Store


def test_compare_report_has_the_differences_and_the_colors_of_the_reports(tmp_path: Path) -> None:
    folders = [write(tmp_path / n, n, a, s) for s, (n, a) in enumerate([("one", 0.8), ("two", 0.5), ("three", 0.6)])]
    pages.publish(folders[:2], tmp_path / "both")
    pages.write(Store(folders[2], "suite"))
    comparisons = compare.compare(folders)
    text = pages.comparison_report(folders, comparisons)
    content = Page(text).text
    (sheet,) = differences.sheets(comparisons)
    assert all(cell in content for row in sheet.rows for cell in row) and "corrected p" in content
    assert differences.LEGEND in content and "Computed by" in content and "one: 20" in content
    reports = text, (tmp_path / "both.html").read_text(), (folders[2] / "report.html").read_text()
    compared, both, third = (dict(re.findall(r'<i class="swatch (c\d+)"></i>(\w+)</span>', each)) for each in reports)
    assert compared == both | third and len(compared) == 3


def test_colors_are_distinct_until_there_are_none_left() -> None:
    names = [f"model {n}" for n in range(12)]
    colors = Report("t", [record("a", name) for name in names], []).colors
    others = Report("t", [record("a", name) for name in reversed(names)], []).colors
    assert colors == others and len(set(colors.values())) == 9
    few = Report("t", [record("a", name, role="baseline") for name in names[:6]], []).colors
    assert sorted(few.values()) == [9, 10, 11, 12, 13, 14]


def test_the_report_tells_the_size_of_the_test_the_layer_the_day_and_the_suite(tmp_path: Path) -> None:
    store = Store(tmp_path, "animals")
    store.results.about = "calls of <animals>"
    store.add(record("calls", "m", test_items=240, groups=6, layer=3, curves={"dev": [0.1, 0.2, 0.3, 0.4]}))
    pages.write(store)
    content = Page((tmp_path / "report.html").read_text()).text
    day = store.results.runs[0]["day"]
    for part in ("calls of <animals>", "240 test items, 6 groups", "layer 3", f"{day}; suite animals, tasks: 1"):
        assert part in content, part
    pages.publish([tmp_path], tmp_path / "all")
    assert "calls of <animals>" in Page((tmp_path / "all.html").read_text()).text


def test_layer_charts_show_dev_lines_flat_baselines_and_one_dot_for_test() -> None:
    deep = {"curves": {"dev": [0.5, 0.7, 0.6], "test": [0.4, 0.65, 0.5]}, "layer": 1, "score": 0.65}
    shown = [record("digits", "m", **deep), record("digits", "m, untrained", role="baseline", **deep)]
    shown.append(record("digits", "mfcc", role="baseline", curves={"dev": [0.4], "test": [0.4]}, layer=0))
    text = Report("Results", shown, []).page()
    chart = ElementTree.fromstring(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)[1])
    paths = {path.find("title").text: path for path in chart.iter("path")}  # type: ignore[union-attr]
    assert {name: "constant" in path.get("class", "") for name, path in paths.items()} == {
        "m": False,
        "m, untrained": True,
        "mfcc": True,
    }
    (dot,) = chart.iter("circle")
    heights = [float(point.split()[1]) for point in paths["m"].get("d", "")[1:].split("L")]
    assert heights[1] < float(dot.get("cy", "0")) < heights[0], "test is below dev at layer 1"
    assert "accuracy" in [label.text for label in chart.iter("text")]
