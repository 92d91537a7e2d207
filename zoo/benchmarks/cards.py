"""Model cards with results: the page of a checkpoint made from its header, its card and the examinations it sat.

Results belong to a checkpoint when they carry its fingerprint, whatever the subject was called in the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo import checkpoint, loading, registry
from zoo.benchmarks import table
from zoo.benchmarks.results import read_results
from zoo.card_page import model_card
from zoo.errors import ConfigError


def page(directory: Path, results: Sequence[Path]) -> str:
    """README.md of the checkpoint. results: results.json files, of which each suite's last one that names it counts.

    Raises CheckpointError, and ZooError for results that cannot be read.
    """
    header, model = checkpoint.read_header(directory), loading.load_checkpoint(directory)
    packaged = directory.resolve().parent == registry.ASSETS.resolve()
    card = registry.info(model.name) if packaged else None
    found = (_section(header["fingerprint"], path) for path in sorted(results, key=lambda each: each.name))
    latest = {suite: section for suite, section in found if section}
    return model_card(model, header, card, "\n\n".join(latest.values()) or "Not examined yet: `zoo bench run`.")


def _section(fingerprint: str, path: Path) -> tuple[str, str]:
    """Suite, and the model beside its baselines there. Nothing where the file does not hold the model."""
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file of results")
    results = read_results(path)
    records = [record for record in table.latest(results.records) if record.status == "ok"]
    own = next((record.subject for record in records if record.model == fingerprint), None)
    if own is None:
        return results.suite, ""
    tasks = list(dict.fromkeys(record.task for record in records if record.subject == own))
    others = dict.fromkeys(r.subject for r in records if r.role == "baseline" and r.task in tasks)
    names = [own, *(name for name in others if not name.endswith(", untrained") or name == f"{own}, untrained")]
    shown = [record for record in records if record.subject in names and record.task in tasks]
    lines = [f"### Suite {results.suite} ({path.name})", ""]
    lines += [*table.grid(shown, results.ranks, tasks, names, table.cell), "", table.FOOTNOTE, table.BOLD_ON_CARDS]
    if notes := table.notes(shown):
        lines += ["", "Notes:", "", *(f"- {note}" for note in notes)]
    lines += ["", *table.computed(results, shown), *table.told(shown)]
    return results.suite, "\n".join(lines)
