"""`zoo bench` and `python -m zoo.benchmarks`. Heavy imports wait."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from zoo.errors import ConfigError
from zoo.io.atomic import replacing_file

app = typer.Typer(help="Examine encoders: probes, WER, retrieval, speed, with error bars.", no_args_is_help=True)


@app.command("run")
def run(
    model: Annotated[list[str], typer.Option("--model", "-m", help="What zoo.load takes, or NAME=that; repeatable")],
    suite: Annotated[str, typer.Option("--suite", "-s", help="Name, or a .yaml file")] = "mini",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of results; a rerun resumes")] = Path("bench"),
    task: Annotated[list[str] | None, typer.Option(help="Only this task; repeatable")] = None,
    baselines: Annotated[bool, typer.Option(help="MFCC, log-mel, untrained, chance")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16, int8")] = "float32",
    cache: Annotated[Path | None, typer.Option(help="Folder of features; default: ZOO_CACHE")] = None,
) -> None:
    """Examine models; write results.json, results.md, report.html and what was predicted of every test item."""
    from zoo.benchmarks import pages, runner

    said = ["zoo", "bench", "run", "--suite", suite, *(part for name in model for part in ("-m", name))]
    said += [part for name in task or [] for part in ("--task", name)]
    said += [] if baselines else ["--no-baselines"]
    said += [] if (device, dtype) == ("auto", "float32") else ["--device", device, "--dtype", dtype]
    runner.run(
        model,
        suite,
        out,
        baselines=baselines,
        tasks=task or [],
        device=device,
        dtype=dtype,
        cache=cache,
        command=shlex.join(said),
    )
    Console().print((out / pages.TABLE).read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)


@app.command("suites")
def suites() -> None:
    """List the suites that go by name, with their tasks."""
    from zoo.benchmarks import suite

    console = Console()
    for name in suite.names():
        found = suite.outline(name)
        needs = f" (needs {', '.join(found.variables)})" if found.variables else ""
        tasks = ", ".join(found.tasks)
        console.print(f"{name}: {found.about}{needs}\n  {tasks}", markup=False, highlight=False, soft_wrap=True)


@app.command("compare")
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders that zoo bench run wrote")],
    out: Annotated[
        list[Path] | None, typer.Option("--out", "-o", help="File to write, .md or .html (a report); repeatable")
    ] = None,
) -> None:
    """Rank everything in these results, task by task; who cannot be told apart shares a rank."""
    from zoo.benchmarks import compare
    from zoo.benchmarks.report import Report

    for path in out or []:
        if path.suffix not in (".md", ".html"):
            raise ConfigError(f"--out {path}: .md or .html is wanted")
    contests = compare.compare(folders)
    page = compare.markdown(contests)
    for path in out or []:
        records = [entrant.record for contest in contests for entrant in contest.entrants]
        title = f"Comparison of {', '.join(folder.name for folder in folders)}"
        text = page if path.suffix == ".md" else Report(title, records, contests).page()
        with replacing_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    Console().print(page, markup=False, highlight=False, soft_wrap=True)


@app.command("publish")
def publish(
    folders: Annotated[list[Path], typer.Argument(help="Folders that zoo bench run wrote, of one suite")],
    stem: Annotated[Path, typer.Option("--as", help="results/real-2026-11-22 for .json, .md and .html of that name")],
    note: Annotated[list[str] | None, typer.Option(help="A line for the top of the .md; repeatable")] = None,
) -> None:
    """Write results, of several folders as one, as three files to keep: data, table, report; without predictions."""
    from zoo.benchmarks import pages

    for remark in pages.publish(folders, stem, note or []):
        Console(stderr=True).print(remark, markup=False, highlight=False, soft_wrap=True)


@app.command("table")
def table(
    pages: Annotated[list[Path], typer.Argument(help="Markdown files with <!-- zoo bench table: ... --> blocks")],
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail where a page is out of step")] = False,
) -> None:
    """Write the tables of results in Markdown pages anew from the results they name."""
    from zoo.benchmarks import published

    for page in pages:
        text = published.updated(page)
        if check and text != page.read_text(encoding="utf-8"):
            raise ConfigError(f"{page}: its tables are out of step; run zoo bench table {page}")
        if not check:
            with replacing_file(page) as temporary:
                temporary.write_text(text, encoding="utf-8")


@app.command("card")
def card(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint directory whose README.md is written")],
    results: Annotated[list[Path] | None, typer.Argument(help="results.json files, of any models")] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail where the page is out of step")] = False,
) -> None:
    """Write a checkpoint's model card anew, with its results beside the baselines."""
    from zoo.benchmarks import cards
    from zoo.card_page import PAGE

    text = cards.page(checkpoint, results or [])
    page = checkpoint / PAGE
    if check and (not page.is_file() or text != page.read_text(encoding="utf-8")):
        raise ConfigError(f"{page} is out of step; run zoo bench card {checkpoint} RESULTS.json ...")
    if not check:
        with replacing_file(page) as temporary:
            temporary.write_text(text, encoding="utf-8")
