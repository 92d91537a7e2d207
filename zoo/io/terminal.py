"""Errors and warnings as people read them in a terminal."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from zoo.errors import ZooError


@contextmanager
def readable_errors() -> Iterator[None]:
    """An error raised on purpose, or by the system over a file, becomes one readable line and exit status 1.

    So does a warning, without ending anything.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _print_warning
            yield
    except BrokenPipeError:
        raise  # the reader has seen enough: nothing to complain of
    except (ZooError, OSError) as error:
        said = str(error) if isinstance(error, ZooError) else _system_message(error)
        Console(stderr=True).print("[bold red]error:[/]", escape(said), highlight=False, soft_wrap=True)
        sys.exit(1)


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    Console(stderr=True).print("[yellow]warning:[/]", escape(str(message)), highlight=False, soft_wrap=True)


_REMEDIES = {
    errno.ENOSPC: "free some space and run the same command again",
    errno.EDQUOT: "free some space and run the same command again",
    errno.EROFS: "write to another folder",
    errno.EACCES: "change its permissions, or use another",
    errno.EISDIR: "name a file, not a folder",
}


def _system_message(error: OSError) -> str:
    files = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    what = error.strerror or str(error) or type(error).__name__
    return ": ".join(filter(None, (files, what))) + (f"; {way}" if (way := _REMEDIES.get(error.errno or 0)) else "")
