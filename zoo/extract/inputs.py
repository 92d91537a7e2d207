"""What the user named -> the list of items to embed: files, folders, globs and manifests, without duplicates."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from zoo.data import manifest
from zoo.errors import ZooError

# What a folder is searched for. A file that is named outright is tried whatever its extension.
SUFFIXES = frozenset(
    (  # audio, then video
        *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
        *(".w64", ".rf64", ".m4a", ".aac", ".wma", ".ac3", ".amr", ".ape", ".wv"),
        *(".mp4", ".m4v", ".mkv", ".webm", ".mov", ".avi", ".mpg", ".mpeg", ".flv", ".3gp", ".ogv", ".wmv"),
    )
)
MANIFEST_SUFFIX = ".jsonl"


class Item(NamedTuple):
    """One thing to embed: a file, or the span of it from `start` to `end` (seconds; None = the file's own border)."""

    path: str
    start: float | None = None
    end: float | None = None


def collect(paths: str | Path | Iterable[str | Path | Item]) -> list[Item]:
    """Expand paths into items, in the order given; what a folder or a glob holds comes sorted by name.

    paths: audio or video files, folders (searched recursively for audio and video extensions, hidden names left out),
        globs (`**` included, so that a quoted pattern works too) and manifests (`*.jsonl`, whose spans are respected);
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
            f"no audio found in {where}; give files, folders with audio or video files, globs or .jsonl manifests"
        )
    return list(found.values())


def _expand(path: str) -> Iterator[Item]:
    if os.path.lexists(path):  # a dangling link is a file that cannot be read: reported with the others
        yield from _one(path)
    elif glob.has_magic(path):
        for match in sorted(glob.glob(path, recursive=True)):  # noqa: PTH207 (keeps the path as given)
            yield from _one(match)
    else:
        raise ZooError(f"{path}: no such file or folder")


def _one(path: str) -> Iterator[Item]:
    if Path(path).is_dir():
        yield from (Item(file) for file in _walk(path))
    elif path.endswith(MANIFEST_SUFFIX):
        for entry in manifest.read(Path(path)):
            start, end = (None if border is None else float(border) for border in (entry.start, entry.end))
            yield Item(str(entry.audio), start, end)
    else:
        yield Item(path)


def _walk(folder: str) -> list[str]:
    """Audio and video files under a folder, sorted. Linked folders are followed, each real folder once."""

    def refuse(error: OSError) -> None:
        raise ZooError(f"{error.filename}: this folder cannot be listed ({error.strerror})") from error

    files: list[str] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [os.path.join(place, name) for name in names if _is_media(name)]  # noqa: PTH118 (as given)
    return sorted(files)


def _is_media(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
