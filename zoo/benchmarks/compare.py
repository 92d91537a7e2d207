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
from zoo.benchmarks.credits import Credit, credits, guesses, pseudo_values, read_rows
from zoo.benchmarks.results import RESULTS, Record, read_records
from zoo.benchmarks.significance import LEVEL, Comparison, mcnemar, paired_bootstrap, ranks
from zoo.errors import ConfigError, ZooError


@dataclass(frozen=True)
class Entrant:
    """A record with what it said of each item: credit per item over weight per item is its score."""

    record: Record
    items: dict[str, Credit]
    right: dict[str, bool]  # key -> whether its first seed was right; for McNemar's test of accuracies


@dataclass(frozen=True)
class Contest:
    """One task. ranks (M,): 1 + how many are significantly better; None where no test fits the metric.

    pairs: numbers of two entrants, the difference of the first to the second, and McNemar's p where scores are
    accuracies.
    """

    task: str
    entrants: list[Entrant]
    ranks: list[int] | None
    pairs: list[tuple[int, int, Comparison, float | None]]
    notes: list[str]

    def rank_of(self) -> dict[str, int]:
        """By the names of the entrants; empty where there are no ranks."""
        return {e.record.subject: rank for e, rank in zip(self.entrants, self.ranks or [], strict=False)}


def compare(folders: Sequence[str | Path]) -> list[Contest]:
    """Contests of all tasks that at least two subjects of these results share, in the order of the first folder.

    Only records about the same data and the same task are held against each other; others are named in the notes.
    Raises ZooError where a folder holds no results, ConfigError where nothing can be compared or where predictions name
    an item twice.
    """
    found: list[tuple[Path, Record]] = []
    for folder in map(Path, folders):
        if not (folder / RESULTS).is_file():
            raise ZooError(f"{folder}: holds no {RESULTS}; make one with zoo bench run")
        found += [(folder, record) for record in table.latest(read_records(folder / RESULTS))]
    contests = contests_of(_told_apart(found))
    if not contests:
        raise ConfigError("no task was sat by two subjects on the same data")
    return contests


def contests_of(found: Sequence[tuple[Path, Record]]) -> list[Contest]:
    """Contests of all tasks that at least two of these records are about, each with the folder of its predictions."""
    usable = [(folder, record) for folder, record in found if record.status == "ok"]
    contests = []
    for task in dict.fromkeys(record.task for _, record in usable):
        contest = _contest(task, [(folder, record) for folder, record in usable if record.task == task])
        if len(contest.entrants) > 1:
            contests.append(contest)
    return contests


def _told_apart(found: Sequence[tuple[Path, Record]]) -> list[tuple[Path, Record]]:
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


def markdown(contests: Sequence[Contest]) -> str:
    """A table per task, the best first; equal ranks are ties."""
    lines = []
    for contest in contests:
        metric = contest.entrants[0].record.metric
        lines += [f"## {contest.task} ({metric})", "", "| rank | | score (95 % interval) |", "|-|-|-|"]
        numbers = [str(rank) for rank in contest.ranks] if contest.ranks else ["?"] * len(contest.entrants)
        for rank, entrant in zip(numbers, contest.entrants, strict=True):
            lines.append(f"| {rank} | {entrant.record.subject} | {table.cell(entrant.record)} |")
        lines += ["", *(f"- {note}" for note in contest.notes)]
    lines.append(f"Equal ranks: not told apart at {LEVEL:.0%} (paired bootstrap over groups, Holm's correction).")
    return "\n".join(lines) + "\n"


def _contest(task: str, found: Sequence[tuple[Path, Record]]) -> Contest:
    first = found[0][1]
    same = [(f, r) for f, r in found if (r.data, r.task_key) == (first.data, first.task_key)]
    present = {record.subject for _, record in same}
    others = sorted(
        {
            f"{record.subject} in {folder}" if record.subject in present else record.subject
            for folder, record in found
            if (record.data, record.task_key) != (first.data, first.task_key)
        }
    )
    notes = [f"left out, examined on other data or settings: {', '.join(others)}"] if others else []
    unique = {(record.subject, record.model): (folder, record) for folder, record in same}
    sign = 1 if first.lower_is_better else -1
    ordered = sorted(unique.values(), key=lambda each: sign * (each[1].score or 0.0))
    entrants = [_entrant(folder, record) for folder, record in ordered]
    common = sorted(set.intersection(*(set(entrant.items) for entrant in entrants)))
    most = max(len(entrant.items) for entrant in entrants)
    if not common:
        gone = [r.subject for folder, r in ordered if r.predictions and not (folder / r.predictions).is_file()]
        why = f"the predictions of {', '.join(gone)} are not there" if gone else first.metric or "this metric"
        return Contest(task, entrants, None, [], [*notes, f"no paired test: {why}"])
    if len(common) < most:
        notes.append(f"tests use the {len(common)} of {most} items (or groups) that all have")
    pairs = [(i, j, *_pair(entrants[i], entrants[j], common)) for i, j in combinations(range(len(entrants)), 2)]
    p = np.ones((len(entrants), len(entrants)))
    for i, j, comparison, _ in pairs:
        p[i, j] = p[j, i] = comparison.p
    scores = [-sign * (entrant.record.score or 0.0) for entrant in entrants]
    return Contest(task, entrants, ranks(scores, p), pairs, notes)


def _pair(a: Entrant, b: Entrant, common: Sequence[str]) -> tuple[Comparison, float | None]:
    credit_a, credit_b = (np.array([entrant.items[key].credit for key in common]) for entrant in (a, b))
    weight = np.array([a.items[key].weight for key in common])
    groups = np.array([a.items[key].group for key in common])
    comparison = paired_bootstrap(credit_a, credit_b, weight, groups)
    if not (a.right and b.right):
        return comparison, None
    return comparison, mcnemar(*(np.array([entrant.right[key] for key in common]) for entrant in (a, b)))


def _entrant(folder: Path, record: Record) -> Entrant:
    rows = read_rows(folder, record) if (folder / record.predictions).is_file() else []
    right = {}
    if record.metric == "accuracy" and record.kind != "robustness":
        right = {row["item"]: guesses(row["predicted"])[0] == row["truth"] for row in rows}
    try:
        items = credits(record.kind, record.metric, rows) or pseudo_values(record.metric, rows)
    except ConfigError as error:
        raise ConfigError(f"{folder / record.predictions}: {error}") from None
    return Entrant(record, items, right)
