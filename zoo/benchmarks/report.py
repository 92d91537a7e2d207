"""report.html: results as one self-contained page. Charts are inline SVG; no scripts, fonts or requests."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

import numpy as np

from zoo.benchmarks import class_maps, details, scores, svg, table
from zoo.benchmarks.compare import TaskComparison
from zoo.benchmarks.kinds import PROBES
from zoo.benchmarks.metrics import SHARES
from zoo.benchmarks.results import Record
from zoo.benchmarks.significance import LEVEL

_MODELS, _BASELINES = 9, 6  # colors in the style sheet: c0 ... c8 for models, then grayer ones for baselines


class Report:
    """One page about some records. A model has the same color in all charts."""

    def __init__(self, title: str, records: Sequence[Record], comparisons: Sequence[TaskComparison]) -> None:
        """records: one for each model and task. comparisons: of the same records; they give the ranks."""
        self.title, self.records = title, list(records)
        self.tasks = list(dict.fromkeys(record.task for record in records))
        self.names = list(dict.fromkeys(record.model for record in records))
        self.by_cell = {(record.task, record.model): record for record in records}
        self.ranks = {(each.task, name): rank for each in comparisons for name, rank in each.ranks_by_model().items()}
        self.bold = {(each.task, name) for each in comparisons if set(each.ranks or ()) != {1} for name in each.best()}
        self.remarks = [f"{each.task}: {note}" for each in comparisons for note in each.notes]
        roles = {record.model: record.role for record in records}
        models = [name for name in self.names if roles[name] == "model"]
        baselines = [name for name in self.names if roles[name] != "model"]
        self.colors = {name: n % _MODELS for n, name in enumerate(models)}
        self.colors |= {name: _MODELS + n % _BASELINES for n, name in enumerate(baselines)}

    def page(self, computed_by: Sequence[str] = ()) -> str:
        """The whole file. computed_by: a line for each run, from table.computed_by."""
        sections = [
            ("Results", self._results()),
            ("Task by task", self._bars()),
            ("Layer by layer", self._curves()),
            ("Quality and speed", self._speed()),
            *((sheet.title, _table(sheet)) for sheet in details.sheets(self.records)),
            ("Class by class", class_maps.section(self.records)),
            ("Skipped", _list(table.skipped(self.records))),
            ("Notes", _list([*table.notes(self.records), *self.remarks])),
            ("Computed by", _list([line.removeprefix("- ").replace("`", "") for line in computed_by])),
        ]
        body = "".join(f"<section><h2>{escape(name)}</h2>{text}</section>" for name, text in sections if text)
        style = (files("zoo.benchmarks") / "report.css").read_text(encoding="utf-8")
        return _PAGE.format(title=escape(self.title), style=style, legend=self._legend(), body=body)

    def _legend(self) -> str:
        return "".join(
            f'<span class="name"><i class="swatch c{color}"></i>{escape(name)}</span>'
            for name, color in self.colors.items()
        )

    def _results(self) -> str:
        head = "".join(f"<th>{escape(scores.heading(task, self.records))}</th>" for task in self.tasks)
        rows = []
        for name in self.names:
            cells = "".join(self._cell(task, name) for task in self.tasks)
            swatch = f'<i class="swatch c{self.colors[name]}"></i>'
            rows.append(f'<tr><th scope="row">{swatch}{escape(name)}</th>{cells}</tr>')
        legend = (
            f"<p>Scores with intervals at {LEVEL:.0%}, over speakers or pieces where the data names them. The layer is "
            "chosen on dev. <b>Bold</b>: not significantly worse than the best (paired bootstrap, Holm's correction "
            "over the differences to the best). Small numbers are ranks. =: models share the rank; = without a number: "
            f"no difference is significant. No rank: there is no paired test. {table.PERFECT}</p>"
        )
        return f'{legend}<div class="wide"><table><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'

    def _cell(self, task: str, name: str) -> str:
        record = self.by_cell.get((task, name))
        if record is None:
            return "<td></td>"
        if record.score is None:
            return f'<td><span title="{escape(record.reason)}">skipped</span></td>'
        score = escape(scores.number(record, record.score))
        rank = self.ranks.get((task, name))
        if rank is not None:
            task_ranks = [r for (other, _), r in self.ranks.items() if other == task]
            score = f"<b>{score}</b>" if (task, name) in self.bold else score
            label = f"{rank}{'=' if task_ranks.count(rank) > 1 else ''}" if max(task_ranks) > 1 else "="
            score += f' <span class="rank">{label}</span>'
        return f"<td>{score}<small>{escape(scores.interval(record))}</small></td>"

    def _scored(self, task: str) -> list[Record]:
        """The records with a score on a task, the best first."""
        records = [r for name in self.names if (r := self.by_cell.get((task, name))) and r.score is not None]
        return sorted(records, key=lambda r: (r.score or 0.0) * (1 if r.lower_is_better else -1))

    def _bars(self) -> str:
        figures = []
        for task in self.tasks:
            records = self._scored(task)
            rows = [
                svg.Bar(r.model, self.colors[r.model], r.score or 0.0, r.low, r.high, scores.number(r, r.score))
                for r in records
            ]
            if rows:
                title = scores.heading(task, self.records) + (", lower is better" if records[0].lower_is_better else "")
                figures.append(_figure(svg.bars(rows, title), title))
        return _grid(figures)

    def _curves(self) -> str:
        figures = []
        for task in self.tasks:
            records = [r for r in self._scored(task) if r.curves]
            title = scores.heading(task, self.records)
            if any(len(r.curves.get("dev", ())) > 1 for r in records):
                rows = [
                    svg.Line(r.model, self.colors[r.model], r.curves["dev"], r.layer, r.curves["test"]) for r in records
                ]
                figures.append(_figure(svg.lines(rows, title, "layer"), title))
            elif any("weights" in r.curves for r in records):
                rows = [svg.Line(r.model, self.colors[r.model], r.curves.get("weights", ())) for r in records]
                rows = [row for row in rows if len(row.ys) > 1]
                if rows:
                    figures.append(_figure(svg.lines(rows, title, "layer"), f"{task}: learned weights of the layers"))
        if not figures:
            return ""
        return f"<p>Solid: dev; the dot is the chosen layer. Dashed: test.</p>{_grid(figures)}"

    def _speed(self) -> str:
        """Mean score against real-time factor, over the probe tasks that all timed models have."""
        timed = {r.model: r for r in self.records if r.kind == "speed" and r.score}
        tasks = [
            task
            for task in self.tasks
            if all(
                (r := self.by_cell.get((task, name))) is not None
                and r.kind in PROBES
                and r.metric in SHARES
                and r.score is not None
                for name in timed
            )
        ]
        if len(timed) < 2 or not tasks:
            return ""
        points = []
        for name, record in timed.items():
            quality = float(np.mean([self.by_cell[task, name].score for task in tasks]))
            points.append(svg.Point(name, self.colors[name], record.score or 1.0, quality))
        chart = svg.scatter(points, "quality and speed", "x real time, one process", "mean score")
        return f"<p>Mean score over {escape(', '.join(tasks))}.</p>{_grid([_figure(chart, '')])}"


def _figure(chart: str, caption: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{chart}</figure>"


def _grid(figures: Sequence[str]) -> str:
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ""


def _table(sheet: details.Sheet) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in sheet.head)
    rows = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(text)}</td>" for text in row[1:])}</tr>'
        for row in sheet.rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


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
<nav>{legend}</nav>
{body}
</body>
</html>
"""
