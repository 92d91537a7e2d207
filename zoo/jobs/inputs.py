"""What the user named -> the list of items to embed: files, folders, globs and lists, without duplicates."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from zoo.audio.files import find_media
from zoo.errors import ZooError
from zoo.jobs import lists
from zoo.jobs.lists import Item as Item

STDIN = "-"


def collect(paths: str | Path | Iterable[str | Path | Item]) -> list[Item]:
    """Expand paths into items, in the order given; what a folder or a glob holds comes sorted by name.

    paths: audio or video files, folders (searched recursively for audio and video extensions, hidden names left out),
        globs (`**` included, so that a quoted pattern works too), lists (`zoo.jobs.lists`: manifests and others in
        .jsonl, .csv, .tsv and .parquet, whose spans are respected, .txt) and "-", one path a line on standard input;
        items are taken as they are.
    An item named twice is taken once, at its first place.
    Raises ZooError where a path does not exist, a folder cannot be listed, or any of `paths` holds nothing: what is
    left out by a slip would otherwise be missed only later, or be dropped from an index.
    """
    named = [paths] if isinstance(paths, (str, Path)) else list(paths)
    found: dict[tuple[str, float, float | None], Item] = {}
    empty: list[str] = []
    for path in named:
        items = [path] if isinstance(path, Item) else list(_expand(os.fspath(path)))
        if not items:
            empty.append(str(path))
        for item in items:
            place = os.path.abspath(item.path)  # noqa: PTH100 (a link is a file of its own)
            found.setdefault((place, item.start or 0.0, item.end), item)
    if empty or not named:
        where = ", ".join(empty) or "an empty list of paths"
        raise ZooError(
            f"no audio found in {where}; give files, folders with audio or video files, globs, or lists (.jsonl, .csv, "
            ".tsv, .parquet, .txt)"
        )
    return list(found.values())


def _expand(path: str) -> Iterator[Item]:
    if path == STDIN:
        yield from map(Item, lists.split_paths(sys.stdin.buffer.read()))
    elif os.path.lexists(path):  # a dangling link is a file that cannot be read: reported with the others
        yield from _one(path)
    elif glob.has_magic(path):
        for match in sorted(glob.glob(path, recursive=True)):  # noqa: PTH207 (keeps the path as given)
            yield from _one(match)
    else:
        raise ZooError(f"{path}: no such file or folder")


def _one(path: str) -> Iterator[Item]:
    if Path(path).is_dir():
        yield from (Item(file) for file in find_media(path))
    elif lists.is_list(path):
        yield from lists.read(path)
    else:
        yield Item(path)
