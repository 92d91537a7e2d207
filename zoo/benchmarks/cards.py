"""Model cards with results: the page of a checkpoint, made from its header, its card and its benchmark results.

Results belong to a checkpoint if they have its fingerprint. The name of the model in the run does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo import checkpoint, loading, registry
from zoo.benchmarks import details, scores, table
from zoo.benchmarks.results import Record, read_results
from zoo.card_page import model_card
from zoo.errors import ConfigError
from zoo.io.markdown import block, plain


def page(directory: Path, results: Sequence[Path]) -> str:
    """README.md of the checkpoint. results: results.json files; of each suite, the last one with this model counts.

    Raises CheckpointError, and ZooError for results that cannot be read.
    """
    header, model = checkpoint.read_header(directory), loading.load_checkpoint(directory)
    packaged = directory.resolve().parent == registry.ASSETS.resolve()
    card = registry.info(model.name) if packaged else None
    sections = (_section(header["fingerprint"], path) for path in sorted(results, key=lambda each: each.name))
    latest = {suite: section for suite, section in sections if section}
    return model_card(model, header, card, "\n\n".join(latest.values()) or "Not evaluated yet: `zoo bench run`.")


def _section(fingerprint: str, path: Path) -> tuple[str, str]:
    """The suite, and a table of the model and its baselines. The table is empty if the file does not hold the model."""
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file of results")
    results = read_results(path)
    records = [record for record in table.latest(results.records) if record.status == "ok"]
    own = next((record.model for record in records if record.fingerprint == fingerprint), None)
    if own is None:
        return results.suite, ""
    tasks = list(dict.fromkeys(record.task for record in records if record.model == own))
    names = [own, *_baselines(records, tasks, own)]
    shown = [record for record in records if record.model in names and record.task in tasks]
    lines = [f"### Suite {plain(results.suite)} ({plain(path.name)})", ""]
    bold_legend = table.legend(results, table.BOLD_ON_CARDS)
    lines += [*table.grid(shown, results.bold(shown), tasks, names, scores.cell), "", table.FOOTNOTE, bold_legend]
    if notes := table.notes(shown):
        lines += ["", "Notes:", "", *(f"- {block(note)}" for note in notes)]
    lines += ["", *table.computed_by(results, shown), *details.lines(shown)]
    return results.suite, "\n".join(lines)


def _baselines(records: Sequence[Record], tasks: Sequence[str], own: str) -> list[str]:
    """Names of the baselines on these tasks. Of the untrained models only that of this model."""
    names = dict.fromkeys(record.model for record in records if record.role == "baseline" and record.task in tasks)
    return [name for name in names if name == f"{own}, untrained" or not name.endswith(", untrained")]
