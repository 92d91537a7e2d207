"""Text of others inside Markdown: names, notes, reasons. It stays on its line and is shown as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zoo.io.text import one_line

_HTML = re.compile(r"<(?=[A-Za-z/!?])")
_ENTITY = re.compile(r"&(?=#|[A-Za-z][A-Za-z0-9]*;)")
_BLOCK = re.compile(r"^(?=[#>=~`|]|[-+*](?:\s|$)|[-*_]{3})")  # a heading, a quote, code, a list, a rule


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
