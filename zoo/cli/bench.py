"""`zoo bench` and `python -m zoo.benchmarks`. Heavy modules are imported inside the commands."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from zoo.errors import ConfigError
from zoo.io.atomic import replacing_file
from zoo.io.terminal import print_plain

app = typer.Typer(
    help="Evaluate encoders: probes, WER, retrieval, speed, with confidence intervals.", no_args_is_help=True
)


@app.command("run")
def run(
    model: Annotated[
        list[str], typer.Option("--model", "-m", help="Name, folder, file or hf:owner/name, or NAME=that; repeatable")
    ],
    suite: Annotated[str, typer.Option("--suite", "-s", help="Name of a suite, or a .yaml file")] = "mini",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of results; a second run resumes")] = Path("bench"),
    task: Annotated[list[str] | None, typer.Option(help="Only this task; repeatable")] = None,
    baselines: Annotated[bool, typer.Option(help="Add MFCC, log-mel, untrained models and chance")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="Computation: float32, auto, bfloat16, float16, int8")] = "float32",
    cache: Annotated[Path | None, typer.Option(help="Folder of features; default: ZOO_CACHE")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress and no table")] = False,
) -> None:
    """Evaluate models; write results.json, results.md, report.html and the prediction for each test item.

    Exit status 1 if nothing was evaluated because all tasks were skipped.
    """
    from zoo.benchmarks import pages, runner

    command = ["zoo", "bench", "run", "--suite", suite, *(part for name in model for part in ("-m", name))]
    command += [part for name in task or [] for part in ("--task", name)]
    command += [] if baselines else ["--no-baselines"]
    command += [] if (device, dtype) == ("auto", "float32") else ["--device", device, "--dtype", dtype]
    store = runner.run(
        model,
        suite,
        out,
        baselines=baselines,
        tasks=task or [],
        device=device,
        dtype=dtype,
        cache=cache,
        command=shlex.join(command),
        console=Console(stderr=True, quiet=quiet),
    )
    page = (out / pages.TABLE).read_text(encoding="utf-8")
    print_plain(Console(quiet=quiet), page)
    runner.raise_if_nothing_evaluated(store)


@app.command("suites")
def suites(as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False) -> None:
    """List the packaged suites with their tasks."""
    from zoo.benchmarks import suite

    console = Console()
    outlines = {name: suite.outline(name) for name in suite.names()}
    if as_json:
        _print_json([{"name": name, **vars(outline)} for name, outline in outlines.items()])
        return
    for name, outline in outlines.items():
        needs = f" (needs {', '.join(outline.variables)})" if outline.variables else ""
        tasks = "; ".join(outline.tasks)  # names contain commas
        print_plain(console, f"{name}: {outline.about}{needs}\n  {tasks}")


@app.command("compare")
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders that zoo bench run wrote")],
    out: Annotated[
        list[Path] | None, typer.Option("--out", "-o", help="File to write, .md or .html (a report); repeatable")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables")] = False,
) -> None:
    """Rank the models in these results, task by task. Models without a significant difference share a rank."""
    from zoo.benchmarks import compare, differences, pages

    for path in out or []:
        if path.suffix not in (".md", ".html"):
            raise ConfigError(f"--out {path}: must end in .md or .html")
    comparisons = compare.compare(folders)
    page = differences.markdown(comparisons)
    for path in out or []:
        text = page if path.suffix == ".md" else pages.comparison_report(folders, comparisons)
        with replacing_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    if as_json:
        _print_json(differences.as_json(comparisons))
        return
    print_plain(Console(), page)


@app.command("publish")
def publish(
    folders: Annotated[list[Path], typer.Argument(help="Folders that zoo bench run wrote, all of one suite")],
    stem: Annotated[
        Path, typer.Option("--as", help="Path without ending, e.g. results/real-2026-11-22, for .json, .md and .html")
    ],
    note: Annotated[list[str] | None, typer.Option(help="Line for the top of the .md; repeatable")] = None,
) -> None:
    """Merge the results of one or more folders into three files: data, table and report, without predictions."""
    from zoo.benchmarks import pages

    for remark in pages.publish(folders, stem, note or []):
        print_plain(Console(stderr=True), remark)


@app.command("table")
def table(
    pages: Annotated[list[Path], typer.Argument(help="Markdown files with <!-- zoo bench table: ... --> blocks")],
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if a page is outdated")] = False,
) -> None:
    """Update the tables of results in Markdown pages, from the results that they name."""
    from zoo.benchmarks import published

    for page in pages:
        text = published.updated(page)
        if check and text != page.read_text(encoding="utf-8"):
            raise ConfigError(f"{page}: its tables are outdated; run zoo bench table {page}")
        if not check:
            with replacing_file(page) as temporary:
                temporary.write_text(text, encoding="utf-8")


@app.command("card")
def card(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint directory; its README.md is written")],
    results: Annotated[list[Path] | None, typer.Argument(help="results.json files, of any models")] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if the page is outdated")] = False,
) -> None:
    """Write the model card of a checkpoint, with its results and those of the baselines."""
    from zoo.benchmarks import cards
    from zoo.card_page import PAGE

    text = cards.page(checkpoint, results or [])
    page = checkpoint / PAGE
    if check and (not page.is_file() or text != page.read_text(encoding="utf-8")):
        raise ConfigError(f"{page} is outdated; run zoo bench card {checkpoint} RESULTS.json ...")
    if not check:
        with replacing_file(page) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=1, allow_nan=False))
