"""Results side by side: who is better on which task, and who cannot be told apart.

Two subjects are compared on the same test items, by a bootstrap of the paired differences over speakers or pieces.

Legend: M subjects, N items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from zoo.benchmarks import table
from zoo.benchmarks.item_scores import ItemScore, guesses, item_scores, pseudo_values, read_rows
from zoo.benchmarks.results import RESULTS, Record, read_records
from zoo.benchmarks.significance import LEVEL, Comparison, mcnemar, paired_bootstrap, ranks
from zoo.errors import ConfigError, ZooError

_Found = Sequence[tuple[Path, Record]]
"""Records, each with the folder of its predictions."""


@dataclass(frozen=True)
class ComparedModel:
    """A record with what it said of each item: credit per item over weight per item is its score."""

    record: Record
    items: dict[str, ItemScore]
    right: dict[str, bool]  # item -> whether its first seed was right; of accuracies alone, for McNemar's test


@dataclass(frozen=True)
class TaskComparison:
    """One task. entrants: the best first; a single one has nobody to be held against, and notes say why.

    ranks (M,): 1 + how many are significantly better; None where no test fits the metric. pairs: numbers of two
    entrants, the difference of the first to the second, and McNemar's p of accuracies.
    """

    task: str
    entrants: list[ComparedModel]
    ranks: list[int] | None
    pairs: list[tuple[int, int, Comparison, float | None]]
    notes: list[str]

    def rank_of(self) -> dict[str, int]:
        """By the names of the entrants; empty where there are no ranks."""
        return {e.record.subject: rank for e, rank in zip(self.entrants, self.ranks or [], strict=False)}


def compare(folders: Sequence[str | Path]) -> list[TaskComparison]:
    """Contests of all tasks that several subjects of these results share, in the order of the first folder.

    Only records about the same data and the same task are held against each other: those that the first subject which
    shares them with another has. The others are named in the notes.
    Raises ZooError where a folder holds no results, ConfigError where nothing can be compared or where predictions name
    an item twice.
    """
    found: list[tuple[Path, Record]] = []
    for folder in map(Path, folders):
        if not (folder / RESULTS).is_file():
            raise ZooError(f"{folder}: holds no {RESULTS}; make one with zoo bench run")
        found += [(folder, record) for record in table.latest(read_records(folder / RESULTS))]
    contests = comparisons_of(_told_apart(found))
    if not any(len(contest.entrants) > 1 for contest in contests):
        raise ConfigError("no task was sat by two subjects on the same data")
    return contests


def comparisons_of(found: _Found) -> list[TaskComparison]:
    """Contests of all tasks that several of these records are about."""
    usable = [(folder, record) for folder, record in found if record.status == "ok"]
    tasks = dict.fromkeys(record.task for _, record in usable)
    every = (_contest(task, [(folder, record) for folder, record in usable if record.task == task]) for task in tasks)
    return [contest for contest in every if len(contest.entrants) > 1 or contest.notes]


def _told_apart(found: _Found) -> list[tuple[Path, Record]]:
    """Different models of one name get their folder's name behind it, with as much of its path as it takes."""
    models: dict[str, set[str]] = {}
    for _, record in found:
        models.setdefault(record.subject, set()).add(record.model)
    names = _short([folder for folder, _ in found])
    return [
        (folder, replace(record, subject=f"{record.subject} ({names[folder]})"))
        if len(models[record.subject]) > 1
        else (folder, record)
        for folder, record in found
    ]


def _short(folders: Sequence[Path]) -> dict[Path, str]:
    """The last parts of their paths, as few as tell them apart."""
    parts = {folder: folder.resolve().parts for folder in folders}
    count = 1
    while len({each[-count:] for each in parts.values()}) < len(set(parts.values())):
        count += 1
    return {folder: "/".join(each[-count:]) for folder, each in parts.items()}


def markdown(contests: Sequence[TaskComparison]) -> str:
    """A table per task, the best first; equal ranks are ties."""
    lines = []
    for contest in contests:
        metric = contest.entrants[0].record.metric
        behind = {second: (difference, p) for first, second, difference, p in contest.pairs if first == 0}
        tested = any(p is not None for _, p in behind.values())
        head = ["rank", "", "score (95 % interval)", "difference to the best", "p", "McNemar's p"][: 6 if tested else 5]
        lines += [f"## {contest.task} ({metric})", "", table.row(head), table.row(["-"] * len(head))]
        for place, entrant in enumerate(contest.entrants):
            rank = str(contest.ranks[place]) if contest.ranks else "?"
            cells = [
                rank,
                entrant.record.subject,
                table.cell(entrant.record),
                *_behind(entrant, *behind.get(place, ())),
            ]
            lines.append(table.row(cells[: len(head)]))
        lines += ["", *(f"- {note}" for note in contest.notes)]
    lines.append(
        f"Rank: one more than there are significantly better at {LEVEL:.0%} (paired bootstrap over groups, Holm's "
        "correction). p: of that bootstrap, for one pair; McNemar's takes items for independent, whatever their group."
    )
    return "\n".join(lines) + "\n"


def _behind(entrant: ComparedModel, difference: Comparison | None = None, p: float | None = None) -> list[str]:
    """Cells for how far it is from the best: the difference with its interval, p, McNemar's p."""
    if difference is None:
        return ["", "", ""]
    unit = 100.0 if "WER" in entrant.record.metric else 1.0
    digits = 1 if unit > 1 else 3
    bounds = [difference.difference, difference.interval.low, difference.interval.high]
    value, low, high = (f"{0.0 - unit * bound:+.{digits}f}" for bound in bounds)  # bounds are of the best less this one
    shown = f"{value} ({high} to {low})" if bounds[1] == bounds[1] else value
    return [shown, _probability(difference.p), "" if p is None else _probability(p)]


def _probability(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _contest(task: str, found: _Found) -> TaskComparison:
    same, others = _on_the_same(found)
    present = {record.subject for _, record in same}
    names = {f"{r.subject} in {folder}" if r.subject in present else r.subject for folder, r in others}
    notes = [f"left out, examined on other data or settings: {', '.join(sorted(names))}"] if names else []
    first = same[0][1]
    sign = 1 if first.lower_is_better else -1
    ordered = sorted(same, key=lambda each: sign * (each[1].score or 0.0))
    if len(ordered) == 1:  # nothing to test, so nothing has to be read
        return TaskComparison(task, [ComparedModel(first, {}, {})], None, [], notes)
    entrants = [_entrant(folder, record) for folder, record in ordered]
    common = sorted(set.intersection(*(set(entrant.items) for entrant in entrants)))
    most = max(len(entrant.items) for entrant in entrants)
    if not common:
        gone = [r.subject for folder, r in ordered if r.predictions and not (folder / r.predictions).is_file()]
        why = f"the predictions of {', '.join(gone)} are not there" if gone else first.metric or "this metric"
        return TaskComparison(task, entrants, None, [], [*notes, f"no paired test: {why}"])
    if len(common) < most:
        notes.append(f"tests use the {len(common)} of {most} items (or groups) that all have")
    pairs = [(i, j, *_pair(entrants[i], entrants[j], common)) for i, j in combinations(range(len(entrants)), 2)]
    p = np.ones((len(entrants), len(entrants)))
    for i, j, comparison, _ in pairs:
        p[i, j] = p[j, i] = comparison.p
    scores = [-sign * (entrant.record.score or 0.0) for entrant in entrants]
    return TaskComparison(task, entrants, ranks(scores, p), pairs, notes)


def _on_the_same(found: _Found) -> tuple[_Found, _Found]:
    """Records of one task by one model each, on the first data and settings that two share; and those of others."""
    by_data: dict[tuple[str, str], dict[tuple[str, str], tuple[Path, Record]]] = {}
    for folder, record in found:
        known = by_data.setdefault((record.data, record.task_key), {})
        known.setdefault((record.subject, record.model), (folder, record))  # as in publish, the first folder's counts
    same = next((records for records in by_data.values() if len(records) > 1), next(iter(by_data.values())))
    others = [each for records in by_data.values() if records is not same for each in records.values()]
    return list(same.values()), others


def _pair(a: ComparedModel, b: ComparedModel, common: Sequence[str]) -> tuple[Comparison, float | None]:
    credit_a, credit_b = (np.array([entrant.items[key].credit for key in common]) for entrant in (a, b))
    weight = np.array([a.items[key].weight for key in common])
    groups = np.array([a.items[key].group for key in common])
    comparison = paired_bootstrap(credit_a, credit_b, weight, groups)
    if not (a.right and b.right):
        return comparison, None
    return comparison, mcnemar(*(np.array([entrant.right[key] for key in common]) for entrant in (a, b)))


def _entrant(folder: Path, record: Record) -> ComparedModel:
    rows = read_rows(folder, record) if (folder / record.predictions).is_file() else []
    right = {}
    if record.metric == "accuracy" and record.kind != "robustness":
        right = {row["item"]: guesses(row["predicted"])[0] == row["truth"] for row in rows}
    try:
        items = item_scores(record.kind, record.metric, rows) or pseudo_values(record.metric, rows)
    except ConfigError as error:
        raise ConfigError(f"{folder / record.predictions}: {error}") from None
    return ComparedModel(record, items, right)
