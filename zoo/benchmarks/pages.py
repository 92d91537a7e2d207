"""Write results as pages: results.md and report.html, and several folders as one dated result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as changed_copy
from pathlib import Path

from zoo.benchmarks import table
from zoo.benchmarks.compare import TaskComparison, compare_records
from zoo.benchmarks.report import Report
from zoo.benchmarks.results import RESULTS, Record, Results, Store, read_results
from zoo.benchmarks.tested_models import CHANCE
from zoo.errors import ConfigError, ZooError
from zoo.io.atomic import replacing_file
from zoo.io.text import one_line

TABLE, REPORT = "results.md", "report.html"


def write(store: Store) -> None:
    """Rank the models, and write both pages of an output folder."""
    records = table.latest(store.records.values())
    comparisons = compare_records([(store.folder, record) for record in records])
    store.set_ranks(_ranks(comparisons), _best(comparisons))
    _write_pages(store.results, comparisons, store.folder / TABLE, store.folder / REPORT)


def publish(folders: Sequence[Path], stem: Path, notes: Sequence[str] = ()) -> list[str]:
    """Merge the results of one or more folders into STEM.json, STEM.md and STEM.html, without predictions.

    Models come before baselines, chance comes last; otherwise the order is that of the folders. If two folders hold the
    same result, the first one counts. notes: lines for the top of STEM.md.
    Returns a remark for each result that two folders hold.
    Raises ZooError if a folder holds no results or those of another suite, ConfigError if a task has other data or
    settings than in a folder before.
    """
    folder_records, merged, remarks = _merge(folders)
    named = table.latest(merged.records)  # two folders may hold different models of one name
    comparisons = compare_records(
        [(f, changed_copy(r, model=n.model)) for (f, r), n in zip(folder_records, named, strict=True)]
    )
    merged.ranks, merged.best = _ranks(comparisons), _best(comparisons)
    stem.parent.mkdir(parents=True, exist_ok=True)
    merged.write(stem.with_name(f"{stem.name}.json"))
    _write_pages(merged, comparisons, stem.with_name(f"{stem.name}.md"), stem.with_name(f"{stem.name}.html"), notes)
    return remarks


def comparison_report(folders: Sequence[Path], comparisons: Sequence[TaskComparison]) -> str:
    """The report about comparisons of the results in these folders."""
    shown = [model.record for comparison in comparisons for model in comparison.models]
    intro: list[str] = []
    computed_by: list[str] = []
    for folder in folders:
        results = read_results(folder / RESULTS)
        records = table.latest(results.records)
        intro += [results.about, f"{folder.name}: {_summary(results, records)}"]
        computed_by += table.computed_by(results, records)[2:]
    title = f"Comparison of {', '.join(folder.name for folder in folders)}"
    return Report(title, shown, comparisons).page(list(dict.fromkeys(computed_by)), list(dict.fromkeys(intro)))


def _summary(results: Results, records: Sequence[Record]) -> str:
    """The days on which the records were computed, and how many models and tasks there are."""
    used = {record.run for record in records if record.run is not None}
    days = sorted({results.runs[index]["day"] for index in used})
    models = {record.model for record in records if record.role == "model"}
    baselines = {record.model for record in records} - models
    tasks = {record.task for record in records}
    counts = f"suite {results.suite}, tasks: {len(tasks)}, models: {len(models)}, baselines: {len(baselines)}"
    return f"{' to '.join([*days[:1], *days[1:][-1:]])}; {counts}" if days else counts


def _merge(folders: Sequence[Path]) -> tuple[list[tuple[Path, Record]], Results, list[str]]:
    """Records with the folders of their predictions, the same records without predictions, and remarks."""
    first: dict[tuple[str, ...], tuple[Path, Record]] = {}
    merged, remarks = Results(""), []
    settings: dict[str, tuple[str, str]] = {}
    for folder in folders:
        if not (folder / RESULTS).is_file():
            raise ZooError(f"{folder}: holds no {RESULTS}; make one with zoo bench run")
        results = read_results(folder / RESULTS, merged.suite or None)
        merged.suite = results.suite
        merged.about = merged.about or results.about
        for record in table.latest(results.records):
            own = (record.data, record.task_key)
            if settings.setdefault(record.task, own) != own:
                raise ConfigError(f"{folder}: {record.task} has other data or settings than in {folders[0]}")
            if record.identity in first:
                counted = first[record.identity][0]
                remarks.append(one_line(f"{record.task}, {record.model}: {counted} counts, not {folder}"))
                continue
            run = None if record.run is None else merged.run_index(results.runs[record.run])
            first[record.identity] = (folder, changed_copy(record, run=run))
    ordered = sorted(first.values(), key=lambda each: (each[1].role != "model", each[1].model == CHANCE))
    merged.records = [changed_copy(record, predictions="") for _, record in ordered]
    return ordered, merged, remarks


def _ranks(comparisons: Sequence[TaskComparison]) -> dict[str, dict[str, int]]:
    return {comparison.task: comparison.ranks_by_model() for comparison in comparisons if comparison.ranks}


def _best(comparisons: Sequence[TaskComparison]) -> dict[str, list[str]]:
    return {comparison.task: comparison.best() for comparison in comparisons if comparison.ranks}


def _write_pages(
    results: Results,
    comparisons: Sequence[TaskComparison],
    markdown: Path,
    report: Path,
    notes: Sequence[str] = (),
) -> None:
    records = table.latest(results.records)
    title = f"Results of the suite {results.suite}"
    intro = [results.about, _summary(results, records)]
    page = Report(title, records, comparisons).page(table.computed_by(results, records)[2:], intro)
    for path, text in ((markdown, table.markdown(results, notes)), (report, page)):
        with replacing_file(path) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
