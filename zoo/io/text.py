"""Text for files and messages: canonical JSON, printable file names, durations."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Collection, Sequence
from itertools import islice

LONGEST_VALUE = 80
MOST_LINES = 40
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class _ShortRepr(reprlib.Repr):
    """repr that looks at a few values of each container only."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 6
        self.maxstring = self.maxother = LONGEST_VALUE

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > 4 * LONGEST_VALUE:  # Python refuses to print integers of more than 4300 digits
            return f"<an integer of {x.bit_length()} bits>"
        return repr(x)


_short_repr = _ShortRepr()


def shorten(value: object, width: int = LONGEST_VALUE) -> str:
    """repr of a value from a file, for messages: at most `width` characters, in little time and memory."""
    text = _short_repr.repr(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."


def dumps(value: object) -> str:
    """Canonical JSON of a value, for comparing and hashing plans."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def first_lines(lines: Sequence[str]) -> str:
    """Lines of a message, indented. Of many lines only the first are shown."""
    shown = list(lines[:MOST_LINES])
    if len(lines) > MOST_LINES:
        shown.append(f"and {len(lines) - MOST_LINES:,} more")
    return "\n  ".join(shown)


def printable(text: str) -> str:
    """Text with lone surrogates escaped. Python uses these for bytes in file names that are not UTF-8.

    Parquet and JSON readers reject them.
    """
    return text.encode(errors="backslashreplace").decode()


def quote_names(names: Collection[str]) -> str:
    """The first few names, quoted, for a message."""
    quoted = ", ".join(shorten(name) for name in islice(names, 5))
    return quoted + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def visible(text: str) -> str:
    """The text with escapes such as \\x1b for all that controls a terminal, except line breaks and tabs.

    These are control characters, signs that change the direction of the text after them, and lone surrogates.
    """
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """As `visible`, with a space for each line break and tab: for the name of a file, a model or a tensor."""
    return visible(" ".join(text.splitlines()).replace("\t", " "))


def clock(seconds: float) -> str:
    """A duration as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
