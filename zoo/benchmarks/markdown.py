"""Text of others inside Markdown: names, notes, reasons. It stays on its line and is shown as it is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_HTML = re.compile(r"<(?=[A-Za-z/!?])")
_ENTITY = re.compile(r"&(?=#|[A-Za-z][A-Za-z0-9]*;)")
_BLOCK = re.compile(r"^(?=[#>=~`|]|[-+*](?:\s|$)|[-*_]{3})")  # a heading, a quote, code, a list, a rule
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")  # they change the direction of the text after them


def one_line(text: str) -> str:
    """The text without line breaks, and with other control characters as escapes such as \\x1b."""
    line = " ".join(text.splitlines())
    return "".join(_visible(character) for character in line)


def plain(text: str) -> str:
    """The text on one line, with HTML and links escaped: for cells, and inside of lines."""
    line = _ENTITY.sub("&amp;", one_line(text).strip())
    return _HTML.sub("&lt;", line).replace("](", "]\\(")


def block(text: str) -> str:
    """The text as a heading or an item of a list: it starts no heading, quote, list or code of its own."""
    return _BLOCK.sub(r"\\", plain(text))


def code(text: str) -> str:
    """The text between backticks."""
    return "`" + one_line(text).replace("`", "'") + "`"


def row(cells: Sequence[str]) -> str:
    """A line of a table. Pipes and line breaks in the cells are escaped."""
    return "| " + " | ".join(" ".join(text.replace("|", "\\|").splitlines()) for text in cells) + " |"


def _visible(character: str) -> str:
    unsafe = unicodedata.category(character) in ("Cc", "Cs") or _TURNS.match(character)
    return character.encode("unicode_escape").decode() if unsafe else character
