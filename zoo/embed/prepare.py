"""Make the plan, store it in the output folder, and compare later runs with it.

So all files in a folder come from one model, one set of settings and one list of inputs. New inputs are added at the
end of the list.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, astuple, fields
from pathlib import Path

from rich.console import Console

from zoo.embed.plan import Plan
from zoo.embed.settings import EmbedSettings
from zoo.errors import ZooError
from zoo.io.atomic import replacing_file
from zoo.io.text import dumps
from zoo.jobs.lists import Item
from zoo.jobs.survey import Planned, survey

# Because of the leading underscore, Arrow, Spark and Dask skip the file when they read the whole folder.
PLAN_NAME = "_plan.jsonl"
FORMAT = 2


def prepare(
    out: Path, items: Sequence[Item], settings: EmbedSettings, workers: int, console: Console, prune: bool = False
) -> Plan:
    """Read the plan in `out` and compare it with the request, or make a plan. Changed files are surveyed again.

    New items come after the others, in new shards. prune: items of the plan that are not in `items` are removed.
    Raises ZooError if the folder has another model or other settings, or, without `prune`, items not in `items`.
    """
    old = read_plan(out / PLAN_NAME)
    if old is None and next(out.glob("part-*.parquet"), None) is not None:
        raise ZooError(f"{out} has part files but no {PLAN_NAME}: not written by zoo embed; use another folder")
    if old is not None:
        _check_settings(out, old.settings, settings)
    before = old or Plan(settings, (), str(Path.cwd()))
    plan = _merge(before, items, settings, workers, console)
    _check_removed(out, before, plan, prune)
    changed = (before.items, before.removed, before.labels) != (plan.items, plan.removed, plan.labels)
    if changed and before.folder != plan.folder and _any_relative(items):
        raise ZooError(
            f"{out} was started in {before.folder}, and the same relative paths are other files here ({plan.folder}); "
            "run zoo in that folder, or use another output folder"
        )
    if old is None or changed:
        _write(out / PLAN_NAME, plan)
    if pruned := len(plan.removed - before.removed):
        line = f"{out}: {pruned} items are no longer among the inputs; their rows are removed"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return plan


def _merge(before: Plan, items: Sequence[Item], settings: EmbedSettings, workers: int, console: Console) -> Plan:
    """The plan for these items: those of `before` in their order, then the new ones."""
    known = {planned.item: planned for planned in before.items}
    labels_before = {planned.item: before.labels_of(index) for index, planned in enumerate(before.items)}
    labels = labels_before | {item.span: item.labels for item in items}
    requested = {item.span for item in items}
    order = list(dict.fromkeys([*known, *(item.span for item in items)]))
    surveyed = survey([item for item in order if item in requested], known, workers, console)
    planned = tuple(next(surveyed) if item in requested else known[item] for item in order)
    return Plan(
        settings,
        planned,
        folder=str(Path.cwd()),
        grown=(*before.grown, len(known)) if known and len(order) > len(known) else before.grown,
        removed=frozenset(index for index, item in enumerate(order) if item not in requested),
        labels=tuple(labels[item] for item in order) if settings.columns else (),
    )


def _check_removed(out: Path, before: Plan, plan: Plan, prune: bool) -> None:
    """Raise ZooError if items of the folder are not among the inputs, unless they may be pruned."""
    missing = sorted(plan.removed - before.removed)
    if not missing:
        return
    examples = ", ".join(plan.items[index].path for index in missing[:2]) + (", ..." if missing[2:] else "")
    if len(plan.removed) == len(before.items):
        raise ZooError(f"{out} has other files ({examples}), and none of the inputs; use another output folder")
    if not prune:
        raise ZooError(
            f"{out} has {len(missing)} items that are not among the inputs now ({examples}). To remove their rows, use "
            "--prune (in Python prune=True). To keep them, add them to the inputs, or use another output folder"
        )


def _any_relative(items: Sequence[Item]) -> bool:
    return any(not os.path.isabs(item.path) for item in items)  # noqa: PTH117


def _check_settings(out: Path, old: EmbedSettings, new: EmbedSettings) -> None:
    changed = [
        f"{field.name} {getattr(old, field.name)!r} (now {getattr(new, field.name)!r})"
        for field in fields(EmbedSettings)
        if getattr(old, field.name) != getattr(new, field.name)
    ]
    if changed:
        raise ZooError(
            f"{out} was started with other settings: {', '.join(changed)}. "
            "Use the same settings to continue, or use another folder"
        )


def _write(path: Path, plan: Plan) -> None:
    head = {"format": FORMAT, "settings": asdict(plan.settings), "folder": plan.folder, "items": len(plan.items)}
    head |= {"grown": plan.grown} if plan.grown else {}
    head |= {"removed": sorted(plan.removed)} if plan.removed else {}
    with replacing_file(path) as partial, partial.open("wb") as file:
        file.write(dumps(head).encode() + b"\n")
        for index, item in enumerate(plan.items):
            file.write(dumps([*astuple(item), *plan.labels_of(index)]).encode() + b"\n")


def read_plan(path: Path) -> Plan | None:
    """The plan in a file; None if there is no file. Raises ZooError for a damaged plan."""
    try:
        with path.open(encoding="utf-8") as file:
            head = json.loads(next(file))
            if head["format"] != FORMAT:
                raise ZooError(
                    f"{path}: format {head['format']}, but this version of zoo reads {FORMAT}; use another folder"
                )
            settings = head["settings"] | {"layers": tuple(head["settings"]["layers"])}
            rows = [json.loads(line) for line in file]
        if len(rows) != head["items"]:
            raise ValueError(f"{len(rows)} of {head['items']} items")
        size = len(fields(Planned))
        return Plan(
            EmbedSettings(**settings),
            tuple(Planned(*row[:size]) for row in rows),
            head["folder"],
            grown=tuple(head.get("grown", ())),
            removed=frozenset(head.get("removed", ())),
            labels=tuple(tuple(row[size:]) for row in rows) if settings["columns"] else (),
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, StopIteration) as error:
        raise ZooError(f"{path}: damaged plan ({error}); delete the folder, or use another folder") from error
