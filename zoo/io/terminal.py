"""Print errors and warnings for users of the command line."""

from __future__ import annotations

import errno
import io
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from zoo.errors import TrainingStopped, ZooError
from zoo.io.text import visible

_BY_SIGNAL = 128  # exit status of a program that a signal ends, minus the number of the signal


@contextmanager
def readable_errors() -> Iterator[None]:
    """Print ZooError and OSError as one line and exit with status 1. Print warnings as one line and continue.

    A run that a signal ends has the status of programs that it ends: 130 for Ctrl-C, 143 for SIGTERM.
    """
    tolerate_any_encoding()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _print_warning
            yield
    except BrokenPipeError:
        raise  # the reader of a pipe closed it, which is not an error
    except TrainingStopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(_BY_SIGNAL + stopped.signal)
    except KeyboardInterrupt:
        print("stopped by SIGINT: run the same command again to continue", file=sys.stderr)
        sys.exit(_BY_SIGNAL + signal.SIGINT)
    except (ZooError, OSError) as error:
        message = str(error) if isinstance(error, ZooError) else _system_message(error)
        _print("[bold red]error:[/]", message)
        sys.exit(1)


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    _print("[yellow]warning:[/]", str(message))


def _print(label: str, message: str) -> None:
    Console(stderr=True).print(label, escape(visible(message)), highlight=False, soft_wrap=True)


def print_plain(console: Console, text: str) -> None:
    """Print text that may hold names of strangers: no markup, and no character that controls the terminal."""
    console.print(visible(text), markup=False, highlight=False, soft_wrap=True)


def tolerate_any_encoding() -> None:
    """Let standard output and error escape what their encoding lacks, instead of raising UnicodeEncodeError."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


_REMEDIES = {
    errno.ENOSPC: "free some space and run the same command again",
    errno.EDQUOT: "free some space and run the same command again",
    errno.EROFS: "write to another folder",
    errno.EACCES: "change its permissions, or use another path",
    errno.EISDIR: "give a file, not a folder",
}


def _system_message(error: OSError) -> str:
    files = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    reason = error.strerror or str(error) or type(error).__name__
    remedy = _REMEDIES.get(error.errno or 0)
    return ": ".join(filter(None, (files, reason))) + (f"; {remedy}" if remedy else "")
