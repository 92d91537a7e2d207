"""Expand files, folders, globs and lists into a list of items without duplicates."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from zoo.audio.files import find_media
from zoo.errors import ZooError
from zoo.jobs import lists
from zoo.jobs.lists import Item as Item

STDIN = "-"


def collect(paths: str | Path | Iterable[str | Path | Item], keep_columns: Sequence[str] = ()) -> list[Item]:
    """Expand paths into items, in the order of `paths`. The files of a folder or a glob are sorted by name.

    paths: audio or video files; folders (searched recursively for audio and video extensions, without hidden files);
        globs (with `**`, so that a quoted pattern works too); lists (`zoo.jobs.lists`: .jsonl, .csv, .tsv and .parquet,
        with the spans that they give, and .txt); "-" for one path a line on standard input; items, used unchanged.
    keep_columns: columns of the lists that become the labels of the items; None for an item without such a column.
    Of several equal items the first is used.
    Raises ZooError if a path does not exist, a folder cannot be listed, or any of `paths` has no audio. The last is an
    error so that a mistyped path is noticed at once.
    """
    requested = [paths] if isinstance(paths, (str, Path)) else list(paths)
    unique: dict[tuple[str, float, float | None], Item] = {}
    empty: list[str] = []
    for path in requested:
        items = [path] if isinstance(path, Item) else list(_expand(os.fspath(path), keep_columns))
        if not items:
            empty.append(str(path))
        for item in items:
            absolute = os.path.abspath(item.path)  # noqa: PTH100 (a link counts as a separate file)
            unique.setdefault((absolute, item.start or 0.0, item.end), item)
    if empty or not requested:
        where = ", ".join(empty) or "an empty list of paths"
        raise ZooError(
            f"no audio found in {where}; give files, folders with audio or video files, globs, or lists (.jsonl, .csv, "
            ".tsv, .parquet, .txt)"
        )
    no_labels = (None,) * len(keep_columns)
    count = len(keep_columns)
    return [item if len(item.labels) == count else item._replace(labels=no_labels) for item in unique.values()]


def _expand(path: str, keep_columns: Sequence[str]) -> Iterator[Item]:
    if path == STDIN:
        yield from map(Item, lists.split_paths(sys.stdin.buffer.read()))
    elif os.path.lexists(path):  # a broken link is reported later, with the other unreadable files
        yield from _expand_existing(path, keep_columns)
    elif glob.has_magic(path):
        for match in sorted(glob.glob(path, recursive=True)):  # noqa: PTH207 (keeps the path as given)
            yield from _expand_existing(match, keep_columns)
    else:
        raise ZooError(f"{path}: no such file or folder")


def _expand_existing(path: str, keep_columns: Sequence[str]) -> Iterator[Item]:
    if Path(path).is_dir():
        yield from (Item(file) for file in find_media(path))
    elif lists.is_list(path):
        yield from lists.read(path, keep_columns)
    else:
        yield Item(path)
