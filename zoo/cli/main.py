"""The `zoo` command: each verb a thin layer over a function that scripts can call. Heavy imports wait."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zoo import registry
from zoo._version import __version__
from zoo.cards import PACKAGED
from zoo.cli.bench import app as bench_app
from zoo.cli.corpora import app as corpora_app
from zoo.defaults import BATCH_SECONDS, SHARD_ITEMS
from zoo.errors import ConfigError
from zoo.io.terminal import readable_errors
from zoo.nn.kernels import openmp as openmp  # before anything imports torch

app = typer.Typer(
    help="Speech and music representations behind one embed().", no_args_is_help=True, add_completion=False
)
app.add_typer(corpora_app, name="corpora")
app.add_typer(bench_app, name="bench")
console = Console()


def main() -> None:
    """Run the command line."""
    with readable_errors():
        app()


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"audiozoo {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and stop")
    ] = False,
) -> None:
    """What stands before a verb."""


@app.command("list")
def list_models(pattern: Annotated[str, typer.Argument(help="Shell pattern, e.g. 'hubert*'")] = "*") -> None:
    """List the registered models."""
    table = Table(box=None, header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("weights", no_wrap=True)
    table.add_column("what it is")
    for name in registry.list_models(pattern):
        card = registry.info(name)
        size = f"{card.parameters:.0f} M" if card.parameters else "0"
        place = "inside" if card.source == PACKAGED else "hub"
        weights = place if card.source else "needs none" if card.has_weights else "untrained"
        table.add_row(name, size, weights, card.summary)
    console.print(table)


@app.command()
def info(name: str) -> None:
    """Show what the table knows of a registered model; `zoo card` tells more of those in the package."""
    card = registry.info(name)
    table = Table(show_header=False, box=None)
    for field, value in vars(card).items():
        shown = "\n".join(f"{k}: {v}" for k, v in value.items()) if field == "config" else value
        shown = "\n".join(shown) if isinstance(shown, tuple) else str(shown)
        table.add_row(f"[bold]{field}[/]", shown or "-")
    console.print(table)


@app.command()
def card(source: Annotated[str, typer.Argument(help="Registered name, or checkpoint directory")]) -> None:
    """Print a model's card: data, limits, results beside the baselines."""
    from zoo.cli.card import read

    console.print(read(source), markup=False, highlight=False, soft_wrap=True)


@app.command()
def embed(
    paths: Annotated[list[str], typer.Argument(help="Files, folders, globs, lists (.jsonl, .csv, .txt ...), -")],
    model: Annotated[str, typer.Option("--model", "-m", help="Name, directory, file or hf:owner/name")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of Parquet files; a rerun resumes")],
    layer: Annotated[str, typer.Option(help="0 = input of the stack, -1 = last, '0,6,12', 'all'")] = "-1",
    pooling: Annotated[str, typer.Option(help="mean, max, first, stats (mean + std), or none for frames")] = "mean",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16, int8")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    storage: Annotated[str, typer.Option(help="Numbers in the files: float32 or float16")] = "float32",
    batch_seconds: Annotated[float, typer.Option(help="Padded audio in one batch")] = BATCH_SECONDS,
    shard_items: Annotated[int, typer.Option(help="Most items in one file")] = SHARD_ITEMS,
    workers: Annotated[int | None, typer.Option(help="Decoding threads; default: one per core, at most 8")] = None,
    fail_on_error: Annotated[bool, typer.Option(help="Exit status 1 when any item failed, not only all")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr")] = False,
) -> None:
    """Embed any amount of audio into Parquet files. Unreadable items are listed in OUT/errors.jsonl."""
    from zoo import embed

    summary = embed.run(
        paths,
        model,
        out,
        layer=layer,
        pooling=None if pooling == "none" else pooling,
        dtype=dtype,
        device=device,
        storage=storage,
        batch_seconds=batch_seconds,
        shard_items=shard_items,
        workers=workers,
        progress=not quiet,
    )
    embed.raise_for_failures(summary.embedded + summary.skipped, summary.failed, out / "errors.jsonl", fail_on_error)


@app.command()
def index(
    paths: Annotated[list[str], typer.Argument(help="Files, folders, globs, lists (.jsonl, .csv, .txt ...), -")],
    model: Annotated[str, typer.Option("--model", "-m", help="Name, directory, file or hf:owner/name")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the index; a rerun updates it")],
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16, int8")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    storage: Annotated[str, typer.Option(help="Numbers in the index: float32 or float16")] = "float32",
    batch_seconds: Annotated[float, typer.Option(help="Padded audio in one batch")] = BATCH_SECONDS,
    workers: Annotated[int | None, typer.Option(help="Decoding threads; default: one per core, at most 8")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr")] = False,
) -> None:
    """Make audio searchable, or bring an index in line with its files: only new and changed ones are embedded."""
    from zoo.search import build

    build(
        paths,
        model,
        out,
        dtype=dtype,
        device=device,
        storage=storage,
        batch_seconds=batch_seconds,
        workers=workers,
        progress=not quiet,
    )


@app.command()
def search(
    index: Annotated[Path, typer.Argument(help="Folder that zoo index made")],
    text: Annotated[str | None, typer.Argument(help="What to look for, e.g. 'calm solo piano'")] = None,
    audio: Annotated[Path | None, typer.Option(help="A file to look for the like of, instead of a text")] = None,
    k: Annotated[int, typer.Option("-k", help="How many hits", min=1)] = 10,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Default: the one that made the index")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list instead of a table")] = False,
) -> None:
    """Find audio by a text or by its sound."""
    from zoo.search import ask, show

    hits = ask(index, text, audio=audio, k=k, model=model, device=device)
    show(hits, console, as_json=as_json)


@app.command()
def units(
    paths: Annotated[list[str], typer.Argument(help="Files, folders, globs, lists (.jsonl, .csv, .txt ...), -")],
    model: Annotated[str, typer.Option("--model", "-m", help="A HuBERT with a quantizer: name, directory ...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="JSON lines, one an item; a rerun resumes")],
    dedup: Annotated[bool, typer.Option("--dedup", help="Each run of equal units once, with its length")] = False,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16, int8")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Decoding threads; default: one per core, at most 8")] = None,
    fail_on_error: Annotated[bool, typer.Option(help="Exit status 1 when any item failed, not only all")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr")] = False,
) -> None:
    """Turn audio into hidden units. Items that cannot be read have an `error` in place of units."""
    from zoo.jobs.failures import raise_for_failures
    from zoo.units.writing import write_units

    made, failed = write_units(
        paths, model, out, dedup=dedup, dtype=dtype, device=device, workers=workers, progress=not quiet
    )
    if not quiet:
        told = f"units of {made} items" + (f"; {failed} failed, and have the reason there" if failed else "")
        Console(stderr=True).print(f"{escape(str(out))}: {told}", highlight=False, soft_wrap=True)
    raise_for_failures(made, failed, out, fail_on_error)


@app.command()
def transcribe(
    paths: Annotated[list[str], typer.Argument(help="Files, folders, globs, lists (.jsonl, .csv, .txt ...), -")],
    model: Annotated[str, typer.Option("--model", "-m", help="Whisper, or HuBERT with CTC: name, folder, file")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of transcripts; a rerun resumes")],
    formats: Annotated[str, typer.Option("--format", "-f", help="Of txt, srt, vtt, json, tsv; or all")] = "txt",
    language: Annotated[str | None, typer.Option(help="Code such as en; default: identified")] = None,
    task: Annotated[str, typer.Option(help="transcribe, or translate into English")] = "transcribe",
    mode: Annotated[str, typer.Option(help="batched: cut at pauses; sequential: as published")] = "batched",
    vad: Annotated[str, typer.Option(help="auto, silero, energy, none: what tells speech from silence")] = "auto",
    beam_size: Annotated[int, typer.Option(help="1 is greedy search", min=1)] = 1,
    temperature: Annotated[str, typer.Option(help="Tried in turn until the text is good")] = "0,0.2,0.4,0.6,0.8,1",
    prompt: Annotated[str | None, typer.Option(help="Text before each recording: names, spelling, style")] = None,
    previous_text: Annotated[bool, typer.Option("--previous-text", help="Each window knows the text so far")] = False,
    words: Annotated[bool, typer.Option("--words", help="Times of words, in json")] = False,
    context: Annotated[str | None, typer.Option(help="full: hear 30 s at a time; clip: no padding, faster")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Windows at once; default: as half a GiB holds")] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16, int8")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Decoding threads; default: one per core, at most 8")] = None,
    fail_on_error: Annotated[bool, typer.Option(help="Exit status 1 when any item failed, not only all")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr")] = False,
) -> None:
    """Write down what is said. Recordings that fail do not stop the rest; OUT/errors.jsonl lists them."""
    from zoo.jobs.failures import raise_for_failures
    from zoo.transcribe import run

    summary = run(
        paths,
        model,
        out,
        formats=formats,
        dtype=dtype,
        device=device,
        workers=workers,
        progress=not quiet,
        language=language,
        task=task,
        mode=mode,
        vad=vad,
        beam_size=beam_size,
        temperature=_numbers("temperature", temperature),
        prompt=prompt,
        condition_on_previous_text=previous_text,
        word_timestamps=words,
        context=context,
        **({} if batch_size is None else {"batch_size": batch_size}),
    )
    raise_for_failures(summary.written + summary.skipped, summary.failed, out / "errors.jsonl", fail_on_error)


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option} {text!r}: give a number, or several with commas between") from None


@app.command("selftest")
def selftest(
    models: Annotated[
        list[str] | None, typer.Argument(help="Names, directories, files; default: the packaged ones")
    ] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="bfloat16, float16, int8; repeatable; default: all")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
) -> None:
    """Check that reduced precision gives right numbers on this machine."""
    from zoo.cli.selftest import run

    run(models or [], dtype or [], device, console)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="Name, directory, file or hf:owner/name")],
    destination: Annotated[Path, typer.Argument(help="New checkpoint directory")],
    half: Annotated[bool, typer.Option("--half", help="Round the weights to float16: half the size")] = False,
) -> None:
    """Write weights of any kind as a zoo checkpoint directory."""
    from zoo import loading

    if half:
        from zoo.exporters.half import save_half

        model = loading.load(source, device="cpu")
        save_half(model, destination)
    else:
        model = loading.convert(source, destination)
    console.print(f"{destination}: {model.family}, {model.num_layers} layers, fingerprint {model.fingerprint()}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for vectors, map.png and the report")] = Path("demo"),
    exam: Annotated[bool, typer.Option(help="A few tasks of the mini suite, too")] = True,
) -> None:
    """Show the small models at work on generated speech and music, and examine them."""
    from zoo import demo

    demo.run(out, console, exam=exam)


if __name__ == "__main__":
    main()
