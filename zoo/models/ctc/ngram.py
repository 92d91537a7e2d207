"""Back-off n-gram models of words in ARPA format, as written by SRILM and KenLM.

log p(w | h) = the entry of (h, w) if there is one, else back-off(h) + log p(w | h without its first word)
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from zoo.errors import ConfigError
from zoo.io.text import shorten

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
UNSEEN = -10 * math.log(10)  # log-probability of an unknown word if the model has no <unk>

LONGEST_LINE = 1 << 16  # characters

Context = tuple[str, ...]


class NGram:
    """An n-gram model.

    entries: n-gram -> (log-probability, back-off), natural logarithms; order: length of the longest n-gram.
    Raises ConfigError without entries.
    """

    def __init__(self, entries: Mapping[Context, tuple[float, float]]) -> None:
        if not entries:
            raise ConfigError("an n-gram model needs at least one entry")
        self.entries = dict(entries)
        self.order = max(map(len, self.entries))
        self.start: Context = (BEGIN,) if self.order > 1 else ()

    @classmethod
    def read(cls, path: str | Path) -> NGram:
        """Read an ARPA file, gzipped or not. Raises ConfigError, naming the line that is not an n-gram."""
        path = Path(path).expanduser()
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: not a regular file")
        try:
            with (
                gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file
            ):
                entries = _entries(_lines(file, path), path)
        except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
            raise ConfigError(f"{path}: cannot be read as an ARPA n-gram model ({error})") from None
        if not entries:
            raise ConfigError(f"{path}: holds no n-grams; an ARPA file is expected, not a binary one of KenLM")
        return cls(entries)

    @property
    def words(self) -> set[str]:
        """The words of the model, without <s>, </s> and <unk>."""
        return {gram[0] for gram in self.entries if len(gram) == 1} - {BEGIN, END, UNKNOWN}

    def score(self, context: Context, word: str) -> tuple[float, Context]:
        """log p(word | context), and the context of the next word."""
        if (word,) not in self.entries:
            word = UNKNOWN
        back_off = 0.0
        history = context
        while (entry := self.entries.get((*history, word))) is None and history:
            back_off += self.entries.get(history, (0.0, 0.0))[1]
            history = history[1:]
        log_prob = UNSEEN if entry is None else entry[0]
        after = (*context, word)
        return back_off + log_prob, after[max(0, len(after) - self.order + 1) :]


def _lines(file: TextIO, path: Path) -> Iterator[str]:
    """The lines of a file. Raises ConfigError for one that is too long: a compressed file may hold gigabytes in one."""
    number = 0
    while True:
        line = file.readline(LONGEST_LINE)
        number += 1
        if not line:
            return
        if len(line) == LONGEST_LINE:
            raise ConfigError(f"{path}:{number}: longer than {LONGEST_LINE} characters, so not a line of an ARPA file")
        yield line


def _entries(lines: Iterable[str], path: Path) -> dict[Context, tuple[float, float]]:
    entries: dict[Context, tuple[float, float]] = {}
    length = 0
    for number, line in enumerate(lines, 1):
        text = line.strip()
        heading = re.fullmatch(r"\\([1-9][0-9]?)-grams:", text)
        if heading is not None:
            length = int(heading[1])
        elif text == "\\end\\":
            break
        elif text and length:
            parts = text.split()
            try:
                log_prob, back_off = float(parts[0]), float(parts[length + 1]) if len(parts) > length + 1 else 0.0
                if not length + 1 <= len(parts) <= length + 2:
                    raise ValueError
                if not (log_prob < math.inf and back_off < math.inf):  # NaN is not below either
                    raise ValueError
            except ValueError:
                raise ConfigError(f"{path}:{number}: not a {length}-gram of an ARPA file: {shorten(text)}") from None
            entries[tuple(parts[1 : length + 1])] = (log_prob * math.log(10), back_off * math.log(10))
    return entries
