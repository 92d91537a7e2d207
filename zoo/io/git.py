"""Git information about a cloned zoo."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git_info(*arguments: str) -> str | None:
    """The output of `git ARGUMENTS` in the repository of zoo.

    None without git, and for an installed copy of zoo, even if it is inside another repository.
    """
    git = ["git", "-C", str(Path(__file__).parents[1])]
    is_zoo_tracked = ("ls-files", "--error-unmatch", "__init__.py")
    commands = (is_zoo_tracked, arguments)
    try:
        results = [subprocess.run([*git, *words], capture_output=True, text=True, check=True) for words in commands]
    except (OSError, subprocess.CalledProcessError):
        return None
    return results[-1].stdout.strip()
