"""Making the plan, keeping it in the output folder, and holding every later run against it, so that what the folder
holds always comes from one model, one set of settings and one list of inputs, which may grow at its end.
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

# The leading underscore makes Arrow, Spark and Dask skip the file when they are pointed at the whole folder.
PLAN_NAME = "_plan.jsonl"
FORMAT = 1


def prepare(out: Path, items: Sequence[Item], settings: EmbedSettings, workers: int, console: Console) -> Plan:
    """Read the plan of `out` and hold it against the request, or make one. Files that changed since are surveyed anew.

    Items that are new come behind the others, in shards of their own.
    Raises ZooError where the folder belongs to another model or other settings, or holds items that are not named.
    """
    old = read_plan(out / PLAN_NAME)
    if old is None and next(out.glob("part-*.parquet"), None) is not None:
        raise ZooError(f"{out} holds part files but no {PLAN_NAME}: not written by zoo embed; use another folder")
    if old is not None:
        _check_settings(out, old.settings, settings)
        items = _behind(out, old.items, items)
    known = {planned.asked: planned for planned in old.items} if old else {}
    grown = (*old.grown, len(old.items)) if old and len(items) > len(old.items) else old.grown if old else ()
    folder = str(Path.cwd())
    plan = Plan(settings, tuple(survey(items, known, workers, console)), folder, grown)
    if old is not None and old.items != plan.items and old.folder != folder and _any_relative(items):
        raise ZooError(
            f"{out} was begun in {old.folder}, and the same relative paths name other files here ({folder}); "
            "go back there, or use another folder"
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
            f"{out} was begun with other settings: {', '.join(changed)}. "
            "Repeat the former ones to go on with it, or use another folder"
        )


def _behind(out: Path, old: Sequence[Planned], new: Sequence[Item]) -> list[Item]:
    """The items in the order of the plan, those that it does not have behind them."""
    before = [planned.asked for planned in old]
    gone = sorted(set(before) - set(new), key=str)
    if gone:
        named = ", ".join(item.path for item in gone[:2])
        raise ZooError(
            f"{out} holds items that are not named now: {len(gone)} are gone ({named}{', ...' if gone[2:] else ''}). "
            "Name them too to go on with it, or use another folder"
        )
    return list(dict.fromkeys([*before, *new]))


def _write(path: Path, plan: Plan) -> None:
    head = {"format": FORMAT, "settings": asdict(plan.settings), "folder": plan.folder, "items": len(plan.items)}
    head |= {"grown": plan.grown} if plan.grown else {}
    with replacing_file(path) as partial, partial.open("wb") as file:
        for value in itertools.chain([head], map(astuple, plan.items)):
            file.write(dumps(value).encode() + b"\n")


def read_plan(path: Path) -> Plan | None:
    """The plan kept in a file; None where there is none. Raises ZooError for a damaged one."""
    try:
        with path.open(encoding="utf-8") as file:
            head = json.loads(next(file))
            if head["format"] != FORMAT:
                raise ZooError(
                    f"{path}: format {head['format']}, this version of zoo reads {FORMAT}; use another folder"
                )
            settings = head["settings"] | {"layers": tuple(head["settings"]["layers"])}
            items = tuple(Planned(*json.loads(line)) for line in file)
            if len(items) != head["items"]:
                raise ValueError(f"{len(items)} of {head['items']} items")
            return Plan(EmbedSettings(**settings), items, head["folder"], tuple(head.get("grown", ())))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, StopIteration) as error:
        raise ZooError(f"{path}: damaged plan ({error}); delete the folder, or use another") from error
