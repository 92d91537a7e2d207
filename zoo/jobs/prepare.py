"""Make the plan of a job, store it in its folder, and compare later runs with it.

So all files in a folder come from one model, one set of settings and one list of inputs. New inputs are added at the
end of the list.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from rich.console import Console

from zoo.errors import ZooError
from zoo.io.terminal import print_plain
from zoo.jobs.lists import Item
from zoo.jobs.plan import PLAN_NAME, Plan, digest_inputs, read_plan, write_plan
from zoo.jobs.survey import survey


@dataclass(frozen=True)
class Request:
    """What a run asks for.

    items: all inputs. groups: those to compute; a shard holds items of one group. title: of the output, in messages.
    prune: items of the plan that are no longer among the inputs are dropped.
    """

    items: Sequence[Item]
    groups: Sequence[Sequence[Item]]
    title: Path
    prune: bool = False

    @property
    def selected(self) -> list[Item]:
        """The items to compute."""
        return [item for group in self.groups for item in group]

    @property
    def borders(self) -> tuple[int, ...]:
        """Indices in `selected` at which a group starts."""
        starts = list(accumulate(len(group) for group in self.groups))[:-1]
        return tuple(dict.fromkeys(start for start in starts if start))


def can_join(out: Path, new: Plan, items: Sequence[Item]) -> bool:
    """Whether the plan in `out` is that of these inputs and settings."""
    old = read_plan(out / PLAN_NAME)
    return old is not None and (old.settings, old.inputs) == (new.settings, digest_inputs(items))


def prepare(out: Path, request: Request, new: Plan, threads: int, console: Console) -> None:
    """Compare the plan in `out` with the request, or make a plan. Changed files are surveyed again.

    new: the plan without items. New items come after the others, in new shards.
    Raises ZooError if the folder has another model or other settings, or items that are not among the inputs.
    """
    path, title = out / PLAN_NAME, request.title
    old = read_plan(path)
    if old is None:
        _check_parts(out, request, new)
    else:
        _check_settings(title, old, new)
    before = old or new
    plan = _merge(before, request, new, threads, console)
    _check_removed(before, plan, request)
    changed = (before.items, before.removed, before.labels) != (plan.items, plan.removed, plan.labels)
    if changed and before.folder != plan.folder and _any_relative(request.items):
        raise ZooError(
            f"{title} was started in {before.folder}, and the same relative paths are other files here "
            f"({plan.folder}); run zoo in that folder, or use another output folder"
        )
    if old is None or changed:
        write_plan(path, plan)
    pruned = len(_gone(plan, request) - before.removed)
    if pruned:
        print_plain(console, f"{title}: {pruned} items are no longer among the inputs; their rows are removed")


def _check_parts(out: Path, request: Request, new: Plan) -> None:
    """Raise ZooError for parts without a plan. In a folder of a job's own, they are of a run that was killed."""
    for path in out.glob(f"part-*{new.suffix}"):
        if out == request.title:
            raise ZooError(
                f"{out} has part files but no {PLAN_NAME}: not written by zoo {new.task}; use another folder"
            )
        path.unlink()


def _merge(before: Plan, request: Request, new: Plan, threads: int, console: Console) -> Plan:
    """The plan for the items to compute: those of `before` in their order, then the new ones."""
    selected = request.selected
    known = {planned.item: planned for planned in before.items}
    labels = {planned.item: before.labels_of(index) for index, planned in enumerate(before.items)}
    labels |= {item.span: item.labels for item in selected}
    requested = {item.span for item in selected}
    order = list(dict.fromkeys([*known, *(item.span for item in selected)]))
    surveyed = survey([item for item in order if item in requested], known, threads, console)
    planned = tuple(next(surveyed) if item in requested else known[item] for item in order)
    grows = bool(known) and len(order) > len(known)
    return replace(
        new,
        items=planned,
        grown=(*before.grown, *([len(known)] if grows else [])) if known else request.borders,
        removed=frozenset(index for index, item in enumerate(order) if item not in requested),
        labels=tuple(labels[item] for item in order) if any(labels.values()) else (),
        inputs=digest_inputs(request.items),
    )


def _gone(plan: Plan, request: Request) -> set[int]:
    """Indices of the items of a plan that are not among the inputs."""
    inputs = {item.span for item in request.items}
    return {index for index in plan.removed if plan.items[index].item not in inputs}


def _check_removed(before: Plan, plan: Plan, request: Request) -> None:
    """Raise ZooError if items of the folder are not among the inputs, unless they may be pruned."""
    gone = _gone(plan, request)
    missing = sorted(gone - before.removed)
    if not missing:
        return
    examples = ", ".join(plan.items[index].path for index in missing[:2]) + (", ..." if missing[2:] else "")
    title = request.title
    if len(gone) == len(before.items):
        raise ZooError(f"{title} has other files ({examples}), and none of the inputs; use another output folder")
    if not request.prune:
        raise ZooError(
            f"{title} has {len(missing)} items that are not among the inputs now ({examples}). To remove their rows, "
            "use --prune (in Python prune=True). To keep them, add them to the inputs, or use another output folder"
        )


def _any_relative(items: Sequence[Item]) -> bool:
    return any(not os.path.isabs(item.path) for item in items)  # noqa: PTH117


def _check_settings(title: Path, old: Plan, new: Plan) -> None:
    changed = list_changes({"command": old.task, **old.settings}, {"command": new.task, **new.settings})
    if changed:
        raise ZooError(
            f"{title} was started with other settings: {', '.join(changed)}. "
            "Use the same settings to continue, or use another folder"
        )


def list_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The settings that differ, for a message. A setting that is not there has its default."""
    return [
        f"{name} {_shown(before, name)} (now {_shown(now, name)})"
        for name in {**before, **now}
        if name not in before or name not in now or before[name] != now[name]
    ]


def _shown(settings: Mapping[str, Any], name: str) -> str:
    return repr(settings[name]) if name in settings else "default"
