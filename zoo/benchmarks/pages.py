"""Results as pages for people: results.md and report.html, and several folders as one dated result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as changed_copy
from pathlib import Path

from zoo.benchmarks import table
from zoo.benchmarks.compare import TaskComparison, comparisons_of
from zoo.benchmarks.report import Report
from zoo.benchmarks.results import RESULTS, Record, Results, Store, read_results
from zoo.benchmarks.tested_models import CHANCE
from zoo.errors import ConfigError, ZooError
from zoo.io.atomic import replacing_file

TABLE, REPORT = "results.md", "report.html"


def write(store: Store) -> None:
    """Rank who sat the exam, and write both pages of an output folder."""
    records = table.latest(store.records.values())
    contests = comparisons_of([(store.folder, record) for record in records])
    store.rank(_ranks(contests))
    _pages(store.results, contests, store.folder / TABLE, store.folder / REPORT)


def publish(folders: Sequence[Path], stem: Path, said: Sequence[str] = ()) -> list[str]:
    """Results of one or more folders as STEM.json, STEM.md and STEM.html, without what was predicted of each item.

    Models come before baselines, chance is last, and else all stands in the order of the folders.
    Of what two folders hold, the first one's counts. said: lines for the top of STEM.md.
    Returns what has to be known of results that two folders hold.
    Raises ZooError where a folder holds no results or those of another suite, ConfigError where a task was asked of
    other data, or with other settings, than in a folder before.
    """
    found, together, remarks = _together(folders)
    names = table.latest(together.records)  # two folders may hold different models of one name
    contests = comparisons_of([(f, changed_copy(r, subject=n.subject)) for (f, r), n in zip(found, names, strict=True)])
    together.ranks = _ranks(contests)
    stem.parent.mkdir(parents=True, exist_ok=True)
    together.write(stem.with_name(f"{stem.name}.json"))
    _pages(together, contests, stem.with_name(f"{stem.name}.md"), stem.with_name(f"{stem.name}.html"), said)
    return remarks


def _together(folders: Sequence[Path]) -> tuple[list[tuple[Path, Record]], Results, list[str]]:
    """Records with the folders of their predictions, the same without predictions, and remarks."""
    found: dict[tuple[str, ...], tuple[Path, Record]] = {}
    together, remarks = Results(""), []
    asked: dict[str, tuple[str, str]] = {}
    for folder in folders:
        if not (folder / RESULTS).is_file():
            raise ZooError(f"{folder}: holds no {RESULTS}; make one with zoo bench run")
        results = read_results(folder / RESULTS, together.suite or None)
        together.suite = results.suite
        for record in table.latest(results.records):
            what = (record.data, record.task_key)
            if asked.setdefault(record.task, what) != what:
                raise ConfigError(f"{folder}: {record.task} was asked of other data or settings than in {folders[0]}")
            if record.identity in found:
                remarks.append(f"{record.task}, {record.subject}: {found[record.identity][0]} counts, not {folder}")
                continue
            run = None if record.run is None else together.number(results.runs[record.run])
            found[record.identity] = (folder, changed_copy(record, run=run))
    ordered = sorted(found.values(), key=lambda each: (each[1].role != "model", each[1].subject == CHANCE))
    together.records = [changed_copy(record, predictions="") for _, record in ordered]
    return ordered, together, remarks


def _ranks(contests: Sequence[TaskComparison]) -> dict[str, dict[str, int]]:
    return {contest.task: contest.rank_of() for contest in contests if contest.ranks}


def _pages(
    results: Results, contests: Sequence[TaskComparison], markdown: Path, report: Path, said: Sequence[str] = ()
) -> None:
    records = table.latest(results.records)
    page = Report(f"Results of the suite {results.suite}", records, contests).page(table.computed(results, records)[2:])
    for path, text in ((markdown, table.markdown(results, said)), (report, page)):
        with replacing_file(path) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
