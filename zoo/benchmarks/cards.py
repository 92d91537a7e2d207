"""Model cards with results: the page of a checkpoint made from its header, its card and the examinations it sat.

Results belong to a checkpoint when they carry its fingerprint, whatever the subject was called in the run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from zoo import checkpoint, registry
from zoo.benchmarks import published, table
from zoo.benchmarks.results import read_records
from zoo.errors import ConfigError
from zoo.modelcard import model_card


def page(directory: Path, results: Sequence[Path]) -> str:
    """README.md of the checkpoint. results: results.json files, of which each suite's last one that names it counts.

    Raises CheckpointError, and ZooError for results that cannot be read.
    """
    header, model = checkpoint.read_header(directory), checkpoint.load(directory)
    packaged = directory.resolve().parent == registry.ASSETS.resolve()
    card = registry.info(model.name) if packaged else None
    latest: dict[str, str] = {}
    for path in sorted(results, key=lambda each: each.name):
        if section := _section(header["fingerprint"], path):
            latest[json.loads(path.read_text(encoding="utf-8"))["suite"]] = section
    return model_card(model, header, card, "\n\n".join(latest.values()) or "Not examined yet: `zoo bench run`.")


def _section(fingerprint: str, path: Path) -> str:
    """One suite: the model beside its baselines. Empty where the file does not hold the model."""
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file of results")
    records = [record for record in table.latest(read_records(path)) if record.status == "ok"]
    own = [record for record in records if record.model == fingerprint]
    if not own:
        return ""
    name = own[0].subject
    tasks = list(dict.fromkeys(record.task for record in own if record.subject == name))
    baselines = dict.fromkeys(r.subject for r in records if r.role == "baseline" and r.task in tasks)
    others = [other for other in baselines if not other.endswith(", untrained") or other == f"{name}, untrained"]
    content = json.loads(path.read_text(encoding="utf-8"))
    about = content["environment"]
    told = f"{path.name}, commit {about['commit']}, {about['machine']}, {about['threads']} threads, {about['torch']}"
    return (
        f"### Suite {content['suite']}\n\n{published.compact(path, tasks, [name, *others], plain=True)}\n\n"
        f"{table.FOOTNOTE} Bold: nobody is significantly better, and someone is worse. {told}."
    )
