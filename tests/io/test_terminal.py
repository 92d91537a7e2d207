"""Names of strangers on the terminal: no control characters, no markup, one line each."""

from __future__ import annotations

import io

from rich.console import Console

from zoo.io.terminal import print_plain
from zoo.io.text import one_line, visible
from zoo.search.index import Hit
from zoo.search.query import show

HOSTILE = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202egpj.\r\x00\udcff[bold]"


def printed(text: str) -> str:
    output = io.StringIO()
    print_plain(Console(file=output, force_terminal=True), text)
    return output.getvalue()


def test_controls_are_escaped_and_markup_is_text() -> None:
    expected = r"\x1b[31mred\x1b]0;title\x07\x9b2J\u202egpj.\r\x00\udcff[bold]"
    assert visible(HOSTILE) == expected
    assert printed(HOSTILE + "\nnext") == expected + "\nnext\n"
    assert visible("naïve café 慢い\n\t🎵") == "naïve café 慢い\n\t🎵"


def test_a_name_stays_on_its_line() -> None:
    assert one_line("a.wav\nerror: all is lost\r\n\tb\u2028c") == "a.wav error: all is lost  b c"


def test_paths_of_hits_are_escaped() -> None:
    output = io.StringIO()
    show([Hit(HOSTILE + "\nforged", None, 0.5)], Console(file=output, force_terminal=True))
    lines = output.getvalue().splitlines()
    assert len(lines) == 2 and "\x1b" not in lines[1] and r"\x1b[31mred" in lines[1] and lines[1].endswith("forged")
