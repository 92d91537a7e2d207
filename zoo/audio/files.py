"""Find recordings in folders; paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.errors import ZooError

# Extensions to search for in a folder. A file given by its path is read with any extension.
SUFFIXES = frozenset(
    (  # audio, then video
        *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
        *(".w64", ".rf64", ".m4a", ".aac", ".wma", ".ac3", ".amr", ".ape", ".wv"),
        *(".mp4", ".m4v", ".mkv", ".webm", ".mov", ".avi", ".mpg", ".mpeg", ".flv", ".3gp", ".ogv", ".wmv"),
    )
)


def expand_user(path: str | os.PathLike[str]) -> str:
    """The path with the home folder for ~ at its start, otherwise as it is written.

    A file of that very name goes first: in a folder called ~, `find_media` finds "~/a.wav".
    """
    written = os.fspath(path)
    if not written.startswith("~") or os.path.lexists(written):
        return written
    try:
        return os.path.expanduser(written)  # noqa: PTH111 (keeps the path as it is written)
    except ValueError:  # a null character, reported by whatever opens the path
        return written


def find_media(folder: str) -> list[str]:
    """Audio and video files under a folder, sorted. Links to folders are followed; each real folder is read once.

    Raises ZooError for a folder that cannot be listed.
    """

    def fail(error: OSError) -> None:
        raise ZooError(f"{error.filename}: this folder cannot be listed ({error.strerror})") from error

    files: list[str] = []
    seen: set[str] = set()
    for current, folders, names in os.walk(folder, followlinks=True, onerror=fail):
        real = os.path.realpath(current)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [os.path.join(current, name) for name in names if _is_media(name)]  # noqa: PTH118 (as given)
    return sorted(files)


def _is_media(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
