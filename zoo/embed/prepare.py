"""Make the plan, store it in the output folder, and compare later runs with it.

So all files in a folder come from one model, one set of settings and one list of inputs. New inputs are added at the
end of the list.
"""

from __future__ import annotations

import itertools
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
FORMAT = 1


def prepare(out: Path, items: Sequence[Item], settings: EmbedSettings, workers: int, console: Console) -> Plan:
    """Read the plan in `out` and compare it with the request, or make a plan. Changed files are surveyed again.

    New items come after the others, in new shards.
    Raises ZooError if the folder has another model or other settings, or has items that are not in `items`.
    """
    old = read_plan(out / PLAN_NAME)
    if old is None and next(out.glob("part-*.parquet"), None) is not None:
        raise ZooError(f"{out} has part files but no {PLAN_NAME}: not written by zoo embed; use another folder")
    if old is not None:
        _check_settings(out, old.settings, settings)
        items = _append_new(out, old.items, items)
    known = {planned.item: planned for planned in old.items} if old else {}
    grown = (*old.grown, len(old.items)) if old and len(items) > len(old.items) else old.grown if old else ()
    folder = str(Path.cwd())
    plan = Plan(settings, tuple(survey(items, known, workers, console)), folder, grown)
    if old is not None and old.items != plan.items and old.folder != folder and _any_relative(items):
        raise ZooError(
            f"{out} was started in {old.folder}, and the same relative paths are other files here ({folder}); "
            "run zoo in that folder, or use another output folder"
        )
    if old is None or old.items != plan.items:
        _write(out / PLAN_NAME, plan)
    return plan


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


def _append_new(out: Path, old: Sequence[Planned], new: Sequence[Item]) -> list[Item]:
    """The items in the order of the plan, then the new items."""
    before = [planned.item for planned in old]
    missing = sorted(set(before) - set(new), key=str)
    if missing:
        examples = ", ".join(item.path for item in missing[:2])
        raise ZooError(
            f"{out} has {len(missing)} items that are not among the inputs now "
            f"({examples}{', ...' if missing[2:] else ''}). "
            "Add them to the inputs to continue, or use another folder"
        )
    return list(dict.fromkeys([*before, *new]))


def _write(path: Path, plan: Plan) -> None:
    head = {"format": FORMAT, "settings": asdict(plan.settings), "folder": plan.folder, "items": len(plan.items)}
    head |= {"grown": plan.grown} if plan.grown else {}
    with replacing_file(path) as partial, partial.open("wb") as file:
        for value in itertools.chain([head], map(astuple, plan.items)):
            file.write(dumps(value).encode() + b"\n")


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
            items = tuple(Planned(*json.loads(line)) for line in file)
            if len(items) != head["items"]:
                raise ValueError(f"{len(items)} of {head['items']} items")
            return Plan(EmbedSettings(**settings), items, head["folder"], tuple(head.get("grown", ())))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, StopIteration) as error:
        raise ZooError(f"{path}: damaged plan ({error}); delete the folder, or use another folder") from error
