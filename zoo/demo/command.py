"""Compute everything, write the page, print a summary."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from zoo.demo import benchmark, page, results
from zoo.demo.maps import Map
from zoo.demo.results import DemoResults
from zoo.io.atomic import replacing_file
from zoo.io.terminal import print_plain

PAGE = "index.html"


def run(out: Path, console: Console) -> Path:
    """Write the page into the folder `out`; returns its path."""
    began = time.monotonic()

    def report(step: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:4.0f} s[/]  {step}", highlight=False)

    found = results.compute(report)
    report("writing the page")
    path = out / PAGE
    with replacing_file(path) as partial:
        partial.write_text(page.build(found), encoding="utf-8")
    closing = ["", *summary(found), "", f"A larger benchmark: {benchmark.COMMAND}", f"The page: {path.resolve()}"]
    for line in closing:
        print_plain(console, line)
    return path


def summary(found: DemoResults) -> list[str]:
    """The numbers of the page, a line each."""
    lines = [_agreement(found.word_maps), _agreement(found.music_maps)]
    for table in found.tables:
        scores = "; ".join(f"{row.model} {row.score:.2f} ({row.low:.2f} to {row.high:.2f})" for row in table.rows)
        lines.append(f"{table.title} {scores}")
    known = [transcript for transcript in found.transcripts if transcript.known]
    correct = sum(transcript.correct for transcript in known)
    lines.append(f"Transcripts of new voices without an error: whisper {correct} of {len(known)}")
    return lines


def _agreement(maps: list[Map]) -> str:
    scores = ", ".join(f"{each.model} {each.agreement:.0%}" for each in reversed(maps))
    return f"Nearest clip has the same {maps[0].question}: {scores}, chance {maps[0].chance:.0%}"
