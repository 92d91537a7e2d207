"""What runs tell people: lines on standard error, or records of the logger "zoo" for an application that asks for them.

logging.getLogger("zoo").addHandler(...)      or, with handlers of the root logger:
logging.getLogger("zoo").setLevel("INFO")
"""

from __future__ import annotations

import io
import logging
import sys
from typing import TextIO

from rich.console import Console

logger = logging.getLogger("zoo")


def are_logged() -> bool:
    """Whether an application gave the logger "zoo" a handler or a level."""
    return bool(logger.handlers) or logger.level != logging.NOTSET


def stream() -> TextIO:
    """Where lines are written."""
    return LogStream() if are_logged() else sys.stderr


def console(*, quiet: bool = False) -> Console:
    """Where lines and progress bars are shown; a logger gets lines only."""
    if are_logged():
        return Console(file=LogStream(), quiet=quiet, force_terminal=False)
    return Console(stderr=True, quiet=quiet)


class LogStream(io.StringIO):
    """A text file whose lines become records of level INFO."""

    def __init__(self) -> None:
        super().__init__()
        self._unfinished = ""

    def write(self, text: str) -> int:
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        for line in lines:
            if line.strip():
                logger.info("%s", line)
        return len(text)
