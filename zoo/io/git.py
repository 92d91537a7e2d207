"""The repository that zoo is imported from, where it is one of a clone and not an installed copy."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git_info(*words: str) -> str | None:
    """What git says there. None for an installed copy, also where its environment lies inside a repository of
    something else, and without git.
    """
    git = ["git", "-C", str(Path(__file__).parents[1])]
    ours = ("ls-files", "--error-unmatch", "__init__.py")
    try:
        said = [subprocess.run([*git, *what], capture_output=True, text=True, check=True) for what in (ours, words)]
    except (OSError, subprocess.CalledProcessError):
        return None
    return said[-1].stdout.strip()
