"""Make the plan of a job, store it in its folder, and compare later runs with it.

So all files in a folder come from one model, one set of settings and one list of inputs. New inputs are added at the
end of the list.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from zoo.errors import ZooError
from zoo.io.terminal import print_plain
from zoo.jobs.lists import Item
from zoo.jobs.plan import PLAN_NAME, Plan, read_plan, write_plan
from zoo.jobs.survey import survey


def prepare(
    out: Path,
    items: Sequence[Item],
    new: Plan,
    threads: int,
    console: Console,
    *,
    prune: bool = False,
    join: bool = False,
) -> Plan:
    """Read the plan in `out` and compare it with the request, or make a plan. Changed files are surveyed again.

    new: the plan without items. New items come after the others, in new shards.
    prune: items of the plan that are not in `items` are removed.
    join: another worker has just made the plan, so a plan of the same items is used without a look at the files.
    Raises ZooError if the folder has another model or other settings, or, without `prune`, items not in `items`.
    """
    path = out / PLAN_NAME
    old = read_plan(path)
    if old is None and next(out.glob(f"part-*{new.suffix}"), None) is not None:
        raise ZooError(f"{out} has part files but no {PLAN_NAME}: not written by zoo {new.task}; use another folder")
    if old is not None:
        _check_settings(out, old, new)
    if old is not None and join and _has_items(old, items):
        return old
    before = old or new
    plan = _merge(before, items, new, threads, console)
    _check_removed(out, before, plan, prune)
    changed = (before.items, before.removed, before.labels) != (plan.items, plan.removed, plan.labels)
    if changed and before.folder != plan.folder and _any_relative(items):
        raise ZooError(
            f"{out} was started in {before.folder}, and the same relative paths are other files here ({plan.folder}); "
            "run zoo in that folder, or use another output folder"
        )
    if old is None or changed:
        write_plan(path, plan)
    pruned = len(plan.removed - before.removed)
    if pruned:
        print_plain(console, f"{out}: {pruned} items are no longer among the inputs; their rows are removed")
    return plan


def _has_items(plan: Plan, items: Sequence[Item]) -> bool:
    """Whether a plan has exactly these items, with the same labels."""
    planned = {item.item: plan.labels_of(index) for index, item in enumerate(plan.items) if index not in plan.removed}
    return planned == {item.span: item.labels for item in items} and plan.folder == str(Path.cwd())


def _merge(before: Plan, items: Sequence[Item], new: Plan, threads: int, console: Console) -> Plan:
    """The plan for these items: those of `before` in their order, then the new ones."""
    known = {planned.item: planned for planned in before.items}
    labels = {planned.item: before.labels_of(index) for index, planned in enumerate(before.items)}
    labels |= {item.span: item.labels for item in items}
    requested = {item.span for item in items}
    order = list(dict.fromkeys([*known, *(item.span for item in items)]))
    surveyed = survey([item for item in order if item in requested], known, threads, console)
    planned = tuple(next(surveyed) if item in requested else known[item] for item in order)
    grows = bool(known) and len(order) > len(known)
    return Plan(
        new.task,
        new.settings,
        new.limits,
        new.suffix,
        planned,
        new.folder,
        grown=(*before.grown, len(known)) if grows else (*new.grown, *before.grown),
        removed=frozenset(index for index, item in enumerate(order) if item not in requested),
        labels=tuple(labels[item] for item in order) if any(labels.values()) else (),
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


def _check_settings(out: Path, old: Plan, new: Plan) -> None:
    before, now = _compared(old), _compared(new)
    changed = [
        f"{name} {before.get(name)!r} (now {now.get(name)!r})"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise ZooError(
            f"{out} was started with other settings: {', '.join(changed)}. "
            "Use the same settings to continue, or use another folder"
        )


def _compared(plan: Plan) -> dict[str, Any]:
    return {"command": plan.task, **plan.settings}
