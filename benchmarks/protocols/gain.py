"""What is a layer and a pooling chosen on dev worth, against the last layer and the mean over time?

    python -m benchmarks.protocols.gain FOLDER [-o TABLE.md]

FOLDER: results of `zoo bench run --suite protocols`. Its tasks "X, last layer" and "X" have the same clips and the same
draws, so their difference is paired: its interval resamples speakers or pieces, as zoo bench compare does.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from scipy import stats

from zoo.benchmarks.item_scores import item_scores, pseudo_values, read_rows
from zoo.benchmarks.results import RESULTS, Record, read_records
from zoo.benchmarks.scores import cell
from zoo.benchmarks.significance import Comparison, paired_bootstrap
from zoo.errors import ConfigError
from zoo.io.atomic import replacing_file

LAST = ", last layer"


@dataclass(frozen=True)
class Gain:
    """The records of one model on one set, and the difference of their scores."""

    last: Record
    chosen: Record
    comparison: Comparison

    def row(self) -> str:
        """A row of the table."""
        poolings = [choice.get("pooling", "") for choice in self.chosen.details.get("chosen", [])]
        pooling = max(set(poolings), key=poolings.count) if poolings else ""
        found, interval = self.comparison, self.comparison.interval
        difference = f"{found.difference:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
        cells = [self.chosen.task, self.chosen.model, cell(self.last), f"{cell(self.chosen)}, {pooling}", difference]
        return f"| {' | '.join(cells)} |"


def gains(folder: Path) -> list[Gain]:
    """The gains of all models on all sets, by model. Raises ConfigError if the folder has no pair of tasks."""
    records = [record for record in read_records(folder / RESULTS) if record.status == "ok"]
    by_name = {(record.model, record.task): record for record in records}
    found = []
    for (model, task), last in sorted(by_name.items()):
        chosen = by_name.get((model, task.removesuffix(LAST)))
        if task.endswith(LAST) and chosen is not None:
            found.append(Gain(last, chosen, _compared(folder, chosen, last)))
    if not found:
        raise ConfigError(f"{folder}: no model has a task X and a task 'X{LAST}'; run the suite protocols")
    return found


def _compared(folder: Path, chosen: Record, last: Record) -> Comparison:
    a, b = (_scores(folder, record) for record in (chosen, last))
    names = sorted(a.keys() & b.keys())
    values = [np.array([scores[name].value / scores[name].weight for name in names]) for scores in (a, b)]
    groups = np.array([a[name].group for name in names])
    return paired_bootstrap(values[0], values[1], np.ones(len(names)), groups)


def _scores(folder: Path, record: Record) -> dict:
    rows = read_rows(folder, record)
    return item_scores(record.kind, record.metric, rows) or pseudo_values(
        record.metric, rows, record.details.get("classes", ())
    )


def table(found: Sequence[Gain]) -> str:
    """The gains as Markdown, and the mean of each model over the sets with a t interval."""
    lines = ["| set | model | last layer, mean | chosen on dev | gain |", "|-|-|-|-|-|"]
    lines += [gain.row() for gain in found]
    lines.append("")
    for model in dict.fromkeys(gain.chosen.model for gain in found):
        values = np.array([gain.comparison.difference for gain in found if gain.chosen.model == model])
        if len(values) < 2:
            continue
        margin = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
        mean = values.mean()
        lines.append(
            f"- {model}: mean gain {mean:+.3f} ({mean - margin:+.3f} to {mean + margin:+.3f} over {len(values)} sets)"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    text = table(gains(arguments.folder))
    Console().print(text, markup=False, soft_wrap=True)
    if arguments.output:
        title = "# Layer and pooling chosen on dev, against the last layer and the mean\n\n"
        command = f"`python -m benchmarks.protocols.gain FOLDER -o {arguments.output}`\n\n"
        about = "Accuracy of k-shot regression (balanced for gender); intervals resample speakers or pieces.\n\n"
        with replacing_file(arguments.output) as partial:
            partial.write_text(title + command + about + text, encoding="utf-8")


if __name__ == "__main__":
    main()
