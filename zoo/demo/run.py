"""Compute everything, write the page, print a summary."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from zoo.atomic import replacing_file
from zoo.demo import benchmark, page, results
from zoo.demo.maps import Map
from zoo.demo.results import Results

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
    print_summary(found, console)
    console.print(f"\nThe page: {path.resolve()}", highlight=False, soft_wrap=True)
    console.print(f"A larger benchmark, of about half an hour:\n  {benchmark.COMMAND}", highlight=False, soft_wrap=True)
    return path


def print_summary(found: Results, console: Console) -> None:
    """The numbers of the page, in short."""
    summary = Table("", "score", "95 % interval", "beside", box=None, header_style="bold")
    for maps, question in ((found.word_maps, "same word"), (found.music_maps, "same instrument family")):
        summary.add_row(f"{maps[-1].model}: nearest clip has the {question}", *_agreement(maps))
    for table in found.tables:
        best = table.rows[0]
        others = ", ".join(f"{row.model} {row.score:.2f}" for row in table.rows[1:])
        interval = f"{best.low:.2f} to {best.high:.2f}"
        summary.add_row(f"{best.model}: {table.title.lower()}", f"{best.score:.2f}", interval, others)
    known = [transcript for transcript in found.transcripts if transcript.known]
    correct = sum(transcript.correct for transcript in known)
    summary.add_row("whisper: transcripts without an error", f"{correct} of {len(known)}", "", "")
    console.print()
    console.print(summary)


def _agreement(maps: list[Map]) -> tuple[str, str, str]:
    others = ", ".join(f"{each.model} {each.agreement:.2f}" for each in maps[:-1])
    return f"{maps[-1].agreement:.2f}", "", f"{others}, chance {maps[-1].chance:.2f}"
