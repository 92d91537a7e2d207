"""report.html: results as one self-contained page. Charts are inline SVG; no scripts, fonts or requests."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from html import escape
from importlib.resources import files

import numpy as np

from zoo.benchmarks import class_maps, details, differences, scores, svg, table
from zoo.benchmarks.compare import TaskComparison
from zoo.benchmarks.kinds import PROBES
from zoo.benchmarks.metrics import SHARES
from zoo.benchmarks.results import Record
from zoo.benchmarks.significance import LEVEL

_MODELS, _BASELINES = 9, 6  # colors in the style sheet: c0 ... c8 for models, then grayer ones for baselines
_FULL_WIDTH = 3  # with so many charts or tasks, a section takes the whole width


class Report:
    """One page about some records. A model has the same color in all charts, and mostly in all reports."""

    def __init__(self, title: str, records: Sequence[Record], comparisons: Sequence[TaskComparison]) -> None:
        """records: one for each model and task. comparisons: of the same records; they give ranks and differences."""
        self.title = title
        self.records = list(records)
        self.comparisons = list(comparisons)
        self.tasks = list(dict.fromkeys(record.task for record in records))
        self.names = list(dict.fromkeys(record.model for record in records))
        self.by_cell = {(record.task, record.model): record for record in records}
        self.baselines = {record.model for record in records if record.role != "model"}
        self.colors = _colors(self.names, self.baselines)
        self.ranks: dict[tuple[str, str], int] = {}
        self.bold: set[tuple[str, str]] = set()
        self.remarks: list[str] = []
        for comparison in comparisons:
            task, best = comparison.task, comparison.best()
            self.remarks += [f"{task}: {note}" for note in comparison.notes]
            self.ranks |= {(task, name): rank for name, rank in comparison.ranks_by_model().items()}
            if len(best) < len(comparison.models):
                self.bold |= {(task, name) for name in best}

    def page(self, computed_by: Sequence[str] = (), intro: Sequence[str] = ()) -> str:
        """The whole file. computed_by: a line for each run, from table.computed_by. intro: lines below the title."""
        many_tasks = len(self.tasks) >= _FULL_WIDTH
        sections = [
            _section("Results", self._results(), wide=many_tasks),
            _charts(self._bars(), self._curves()),
            _section("Quality and speed", self._speed()),
            _section("Differences to the best", self._differences(), wide=True),
        ]
        sections += [_section(sheet.title, _table(sheet), wide=True) for sheet in details.sheets(self.records)]
        sections += [
            _section("Class by class", class_maps.section(self.records), wide=True),
            _section("Skipped", _list(table.skipped(self.records)), wide=True),
            _section("Notes", _list([*table.notes(self.records), *self.remarks]), wide=True),
            _section("Computed by", _list([_without_markup(line) for line in computed_by]), wide=True),
        ]
        return _PAGE.format(
            title=escape(self.title),
            style=(files("zoo.benchmarks") / "report.css").read_text(encoding="utf-8"),
            intro="".join(f"<p>{escape(line)}</p>" for line in intro if line),
            legend=self._legend(),
            body="".join(sections),
        )

    def _legend(self) -> str:
        return "".join(f'<span class="name">{self._named(name)}</span>' for name in self.names)

    def _named(self, name: str) -> str:
        return f'<i class="swatch c{self.colors[name]}"></i>{escape(name)}'

    def _results(self) -> str:
        head = "".join(self._head(task) for task in self.tasks)
        rows = []
        for name in self.names:
            cells = "".join(self._cell(task, name) for task in self.tasks)
            rows.append(f'<tr><th scope="row">{self._named(name)}</th>{cells}</tr>')
        return f'{_RESULTS}<div class="wide"><table><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'

    def _head(self, task: str) -> str:
        """The name of a task, and the size of its test set."""
        of_task = [record for record in self.records if record.task == task]
        items = max(record.test_items for record in of_task)
        groups = max(record.groups for record in of_task)
        size = f"<small>{items} test items, {groups} groups</small>" if items else ""
        return f"<th>{escape(scores.heading(task, self.records))}{size}</th>"

    def _cell(self, task: str, name: str) -> str:
        record = self.by_cell.get((task, name))
        if record is None:
            return "<td></td>"
        if record.score is None:
            return f'<td><span title="{escape(record.reason)}">skipped</span></td>'
        score = escape(scores.number(record, record.score))
        if (task, name) in self.bold:
            score = f"<b>{score}</b>"
        notes = f"<small>{escape(scores.interval(record))}</small>"
        if layer := scores.chosen_layer(record):
            notes += f"<small>{escape(layer)}</small>"
        return f"<td>{score}{self._rank(task, name)}{notes}</td>"

    def _rank(self, task: str, name: str) -> str:
        rank = self.ranks.get((task, name))
        if rank is None:
            return ""
        of_task = [self.ranks[key] for key in self.ranks if key[0] == task]
        label = str(rank) if max(of_task) > 1 else ""
        if of_task.count(rank) > 1:
            label += "="
        return f' <span class="rank">{label}</span>'

    def _scored(self, task: str) -> list[Record]:
        """The records with a score on a task, the best first."""
        records = [record for record in self.records if record.task == task and record.score is not None]
        return sorted(records, key=lambda record: (record.score or 0.0) * (1 if record.lower_is_better else -1))

    def _bars(self) -> list[str]:
        """A chart for each task."""
        figures = []
        for task in self.tasks:
            records = self._scored(task)
            if not records:
                continue
            rows = []
            for record in records:
                text = scores.number(record, record.score)
                color = self.colors[record.model]
                rows.append(svg.Bar(record.model, color, record.score or 0.0, record.low, record.high, text))
            title = scores.heading(task, self.records)
            if records[0].lower_is_better:
                title += ", lower is better"
            figures.append(_figure(svg.bars(rows, title), title))
        return figures

    def _curves(self) -> list[str]:
        """A chart for each task with a choice of layers: scores on dev, or learned weights."""
        figures = []
        for task in self.tasks:
            records = [record for record in self._scored(task) if record.curves]
            title = scores.heading(task, self.records)
            if any(len(record.curves.get("dev", ())) > 1 for record in records):
                lines = [self._dev_line(record) for record in records if record.curves.get("dev")]
                figures.append(_figure(svg.lines(lines, title, "layer", records[0].metric), title))
                continue
            weighted = [record for record in records if len(record.curves.get("weights", ())) > 1]
            if weighted:
                lines = [svg.Line(r.model, self.colors[r.model], r.curves["weights"]) for r in weighted]
                title = f"{task}: learned weights of the layers"
                figures.append(_figure(svg.lines(lines, title, "layer", "weight"), title))
        return figures

    def _dev_line(self, record: Record) -> svg.Line:
        """The scores of all layers on dev. A baseline has only that of its chosen layer, as a horizontal line."""
        dev = record.curves["dev"]
        if record.model in self.baselines:
            return svg.Line(record.model, self.colors[record.model], [dev[record.layer or 0]])
        return svg.Line(record.model, self.colors[record.model], dev, record.layer, record.score)

    def _speed(self) -> str:
        """Mean score against real-time factor, over the probe tasks that all timed models have."""
        timed = [record for record in self.records if record.kind == "speed" and record.score]
        models = [record.model for record in timed]
        tasks = [task for task in self.tasks if all(self._is_share(task, name) for name in models)]
        if len(timed) < 2 or not tasks:
            return ""
        points = []
        for record in timed:
            quality = float(np.mean([self.by_cell[task, record.model].score for task in tasks]))
            points.append(svg.Point(record.model, self.colors[record.model], record.score or 1.0, quality))
        chart = svg.scatter(points, "quality and speed", "x real time, one process", "mean score")
        return f"<p>Mean score over {escape(', '.join(tasks))}.</p>{_figure(chart, '')}"

    def _is_share(self, task: str, name: str) -> bool:
        """Does this model have a score from 0 to 1 on this probe task?"""
        record = self.by_cell.get((task, name))
        return record is not None and record.kind in PROBES and record.metric in SHARES and record.score is not None

    def _differences(self) -> str:
        tested = [comparison for comparison in self.comparisons if comparison.pairs]
        if not tested:
            return ""
        tables = []
        opened = " open" if len(tested) < _FULL_WIDTH else ""
        for sheet in differences.sheets(tested):
            tables.append(f"<details{opened}><summary>{escape(sheet.title)}</summary>{_table(sheet)}</details>")
        return f"<p>{escape(differences.LEGEND)}</p>{''.join(tables)}"


def _colors(names: Sequence[str], baselines: Collection[str]) -> dict[str, int]:
    """A color for each name."""
    models = [name for name in names if name not in baselines]
    others = [name for name in names if name in baselines]
    return _assign(models, 0, _MODELS) | _assign(others, _MODELS, _BASELINES)


def _assign(names: Sequence[str], first: int, count: int) -> dict[str, int]:
    """One of `count` colors for each name, by a hash of it. If that color is taken, the next free one."""
    colors: dict[str, int] = {}
    used: set[int] = set()
    for name in sorted(names):
        if len(used) == count:
            used.clear()
        digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).digest()
        color = digest[0] % count
        while color in used:
            color = (color + 1) % count
        used.add(color)
        colors[name] = first + color
    return colors


def _section(title: str, body: str, *, wide: bool = False) -> str:
    """Two sections share a line, unless they are wide. Empty without a body."""
    if not body:
        return ""
    kind = ' class="full"' if wide else ""
    return f"<section{kind}><h2>{escape(title)}</h2>{body}</section>"


def _charts(bars: Sequence[str], curves: Sequence[str]) -> str:
    """Two sections. If there are few charts, they share a column."""
    wide = len(bars) >= _FULL_WIDTH
    sections = _section("Task by task", _grid(bars), wide=wide)
    if curves:
        sections += _section("Layer by layer", _CURVES + _grid(curves), wide=wide)
    return sections if wide else f"<div>{sections}</div>"


def _grid(figures: Sequence[str]) -> str:
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ""


def _figure(chart: str, caption: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{chart}</figure>"


def _table(sheet: details.Sheet) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in sheet.head)
    rows = []
    for first, *others in sheet.rows:
        cells = "".join(f"<td>{escape(text)}</td>" for text in others)
        rows.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def _without_markup(line: str) -> str:
    return line.removeprefix("- ").replace("`", "")


_CURVES = "<p>Lines: score of each layer on dev. Dot: score of the chosen layer on test. Gray: baselines.</p>"
_RESULTS = (
    f"<p>Scores with intervals at {LEVEL:.0%}, over groups: speakers or pieces where the data names them, otherwise "
    "files. Test items are clips, or time points for phones. The layer is chosen on dev. <b>Bold</b>: not "
    "significantly worse than the best (paired bootstrap, Holm's correction over the differences to the best). Small "
    "numbers are ranks. =: models share the rank; = without a number: no difference is significant. No rank: there is "
    f"no paired test. {table.PERFECT}</p>"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<h1>{title}</h1>
{intro}
<nav>{legend}</nav>
<main>{body}</main>
</body>
</html>
"""
