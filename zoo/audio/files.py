"""Finding recordings in folders."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.errors import ZooError

# What a folder is searched for. A file that is named outright is tried whatever its extension.
SUFFIXES = frozenset(
    (  # audio, then video
        *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
        *(".w64", ".rf64", ".m4a", ".aac", ".wma", ".ac3", ".amr", ".ape", ".wv"),
        *(".mp4", ".m4v", ".mkv", ".webm", ".mov", ".avi", ".mpg", ".mpeg", ".flv", ".3gp", ".ogv", ".wmv"),
    )
)


def find_media(folder: str) -> list[str]:
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
