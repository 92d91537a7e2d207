"""The `zoo` command. Each subcommand calls a library function. Heavy imports are inside the commands."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zoo import registry
from zoo._version import __version__
from zoo.cards import PACKAGED
from zoo.cli.bench import app as bench_app
from zoo.cli.corpora import app as corpora_app
from zoo.cli.jobs import app as jobs_app
from zoo.cli.options import AddressOption, EngineOption, WorkerOption
from zoo.defaults import BATCH_SECONDS, SHARD_ITEMS
from zoo.errors import ConfigError, UnknownModelError
from zoo.io.terminal import print_plain, readable_errors
from zoo.io.text import visible
from zoo.nn.kernels import openmp as openmp  # before anything imports torch

app = typer.Typer(
    help="Speech and music encoders behind one call: embed, transcribe, search, benchmark.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: the tables of rich leave 20 characters of 80 for the text
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(corpora_app, name="corpora")
app.add_typer(bench_app, name="bench")
app.add_typer(jobs_app, name="jobs")
console = Console()


def main() -> None:
    """Run the command line."""
    with readable_errors():
        app()


def _version(requested: bool) -> None:
    if requested:
        console.print(f"audiozoo {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit")
    ] = False,
    imports: Annotated[
        list[str] | None, typer.Option("--import", help="Module that registers models of your own; repeatable")
    ] = None,
) -> None:
    """Options before the name of the command."""
    for module in imports or []:
        registry.import_plugin(module, "--import")


@app.command("list")
def list_models(
    pattern: Annotated[str, typer.Argument(help="Part of the names, or a pattern such as 'hubert*'")] = "*",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead of a table")] = False,
) -> None:
    """List the registered models."""
    names = registry.list_models(pattern)
    if not names:
        names = registry.list_models(f"*{pattern.lower()}*")
    if not names:
        raise UnknownModelError(f"no registered name matches {pattern!r}; `zoo list` shows all names")
    cards = [registry.info(name) for name in names]
    if as_json:
        console.print_json(data=[asdict(card) for card in cards])
        return
    table = Table(box=None, header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("weights", no_wrap=True)
    table.add_column("summary")
    for card in cards:
        size = f"{card.parameters:.0f} M" if card.parameters else "-"
        origin = "packaged" if card.source == PACKAGED else "hub"
        weights = origin if card.source else "needs none" if card.has_weights else "untrained"
        table.add_row(card.name, size, weights, card.summary)
    console.print(table)


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="Registered name; see zoo list")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table")] = False,
) -> None:
    """Show the registry entry of a model. For packaged models, `zoo card` shows more."""
    facts = asdict(registry.info(name))
    if as_json:
        console.print_json(data=facts)
        return
    table = Table(show_header=False, box=None)
    for field, value in facts.items():
        text = _lines(value) if value else ""
        table.add_row(f"[bold]{field}[/]", escape(visible(text)) or "-")
    console.print(table)


def _lines(value: Any) -> str:
    """A value for a cell of a table: one line for each entry of a mapping or a tuple."""
    if isinstance(value, dict):
        return "\n".join(f"{key}: {item}" for key, item in value.items())
    if isinstance(value, tuple):
        return "\n".join(map(str, value))
    return str(value)


@app.command()
def card(source: Annotated[str, typer.Argument(help="Registered name or checkpoint directory")]) -> None:
    """Show a model card: data, limits, results with baselines."""
    from zoo.cli.card import read

    print_plain(console, read(source))


@app.command()
def embed(
    paths: Annotated[
        list[str],
        typer.Argument(help="Files, folders, globs, lists (.jsonl, .csv, .txt ...); - for a list on standard input"),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="Model: name, directory, file or hf:owner/name")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder for Parquet files; a rerun resumes")],
    layer: Annotated[
        str, typer.Option(help="0: input of the transformer, -1: last layer; also '0,6,12' or 'all'")
    ] = "-1",
    pooling: Annotated[str, typer.Option(help="mean, max, first, stats (mean and std), or none for frames")] = "mean",
    dtype: Annotated[str, typer.Option(help="Computation: float32, auto, bfloat16, float16, int8")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    storage: Annotated[str, typer.Option(help="Number format in the files: float32 or float16")] = "float32",
    batch_seconds: Annotated[float, typer.Option(help="Seconds of audio in a batch, with padding")] = BATCH_SECONDS,
    shard_items: Annotated[int, typer.Option(help="Maximum number of items in one file")] = SHARD_ITEMS,
    workers: Annotated[int | None, typer.Option(help="Decoding threads; default: one per core, at most 8")] = None,
    keep_columns: Annotated[
        str, typer.Option(help="Columns of the lists to keep in the Parquet files, e.g. 'label,fold'")
    ] = "",
    prune: Annotated[bool, typer.Option("--prune", help="Remove the rows of items that are gone from PATHS")] = False,
    worker: WorkerOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    fail_on_error: Annotated[
        bool, typer.Option("--fail-on-error", help="Exit status 1 if any item failed, not only if all failed")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress on stderr")] = False,
) -> None:
    """Embed any amount of audio into Parquet files. Failed items are listed in OUT/_errors.jsonl."""
    from zoo import embed
    from zoo.jobs.failures import ERRORS_NAME

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
        keep_columns=keep_columns,
        prune=prune,
        worker=worker,
        engine=engine,
        address=address,
        progress=not quiet,
    )
    embed.raise_for_failures(summary.embedded + summary.skipped, summary.failed, out / ERRORS_NAME, fail_on_error)


@app.command()
def index(
    paths: Annotated[
        list[str],
        typer.Argument(help="Files, folders, globs, lists (.jsonl, .csv, .txt ...); - for a list on standard input"),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="Model: name, directory, file or hf:owner/name")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder for the index; a rerun updates it")],
    dtype: Annotated[str | None, typer.Option(help="Computation; default: that of the index, or float32")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    storage: Annotated[str, typer.Option(help="Number format in the index: float32 or float16")] = "float32",
    batch_seconds: Annotated[float, typer.Option(help="Seconds of audio in a batch, with padding")] = BATCH_SECONDS,
    workers: Annotated[int | None, typer.Option(help="Decoding threads; default: one per core, at most 8")] = None,
    fail_on_error: Annotated[
        bool, typer.Option(help="Exit status 1 if any item failed, not only if all failed")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress on stderr")] = False,
) -> None:
    """Build a search index of audio, or update it. Only new and changed files are embedded."""
    from zoo.jobs.failures import ERRORS_NAME, raise_for_failures
    from zoo.search import build
    from zoo.search.increment import FOLDER

    summary = build(
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
    raise_for_failures(summary.items, summary.failed, out / FOLDER / ERRORS_NAME, fail_on_error)


@app.command()
def search(
    index: Annotated[Path, typer.Argument(help="Folder that zoo index made")],
    text: Annotated[str | None, typer.Argument(help="Text to search for, e.g. 'calm solo piano'")] = None,
    audio: Annotated[Path | None, typer.Option(help="Audio file to search for, instead of a text")] = None,
    k: Annotated[int, typer.Option("-k", help="Number of hits", min=1)] = 10,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model; default: the model that made the index")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, not a table")] = False,
) -> None:
    """Search an index by text, or by sound with --audio."""
    from zoo.search import find, show

    hits = find(index, text, audio=audio, k=k, model=model, device=device)
    show(hits, console, as_json=as_json)


@app.command()
def units(
    paths: Annotated[
        list[str],
        typer.Argument(help="Files, folders, globs, lists (.jsonl, .csv, .txt ...); - for a list on standard input"),
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="HuBERT with a quantizer: name, directory, file or hf:owner/name")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Output file, one JSON object per item; a rerun resumes")],
    dedup: Annotated[bool, typer.Option("--dedup", help="Write each run of equal units once, with its length")] = False,
    dtype: Annotated[str, typer.Option(help="Computation: float32, auto, bfloat16, float16, int8")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Decoding threads; default: one per core, at most 8")] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove the lines of items that are gone from PATHS")] = False,
    worker: WorkerOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    fail_on_error: Annotated[
        bool, typer.Option("--fail-on-error", help="Exit status 1 if any item failed, not only if all failed")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress on stderr")] = False,
) -> None:
    """Write the hidden units of audio. Failed items have an `error` instead of units."""
    from zoo.jobs.failures import raise_for_failures
    from zoo.units.writing import write_units

    succeeded, failed = write_units(
        paths,
        model,
        out,
        dedup=dedup,
        dtype=dtype,
        device=device,
        workers=workers,
        prune=prune,
        worker=worker,
        engine=engine,
        address=address,
        progress=not quiet,
    )
    if not quiet:
        message = f"units of {succeeded} items" + (f"; {failed} failed, with the reason in the file" if failed else "")
        print_plain(Console(stderr=True), f"{out}: {message}")
    raise_for_failures(succeeded, failed, out, fail_on_error)


@app.command()
def transcribe(
    paths: Annotated[
        list[str],
        typer.Argument(help="Files, folders, globs, lists (.jsonl, .csv, .txt ...); - for a list on standard input"),
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Whisper, or HuBERT with CTC: name, directory, file or hf:owner/name")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder for transcripts; a rerun resumes")],
    formats: Annotated[
        str,
        typer.Option("--format", "-f", help="txt, srt, vtt, tsv, several with commas, or all; json is always written"),
    ] = "txt",
    language: Annotated[
        str | None, typer.Option(help="Code or name: es, Spanish; default: identified by the model")
    ] = None,
    task: Annotated[str, typer.Option(help="transcribe, or translate into English")] = "transcribe",
    mode: Annotated[str, typer.Option(help="batched: cut at pauses; sequential: as published")] = "batched",
    vad: Annotated[str, typer.Option(help="Speech detector: auto, silero, energy, none")] = "auto",
    beam_size: Annotated[int, typer.Option(help="1 is greedy search", min=1)] = 1,
    temperature: Annotated[
        str, typer.Option(help="Temperatures, tried in turn until the text is good")
    ] = "0,0.2,0.4,0.6,0.8,1",
    prompt: Annotated[str | None, typer.Option(help="Text before each recording: names, spelling, style")] = None,
    previous_text: Annotated[bool, typer.Option("--previous-text", help="Give each window the text so far")] = False,
    words: Annotated[
        bool, typer.Option("--words", help="Timestamps of words, in json; for subtitles see the next two options")
    ] = False,
    highlight_words: Annotated[
        bool, typer.Option("--highlight-words", help="srt, vtt: underline each word while it is spoken")
    ] = False,
    max_words_per_line: Annotated[
        int | None, typer.Option(min=1, help="srt, vtt: at most so many words in a cue; 1 for one cue a word")
    ] = None,
    padding: Annotated[str | None, typer.Option(help="30s: with silence, as published; none: without, faster")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Windows in a batch; default: as many as fit in half a GiB")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Computation: float32, auto, bfloat16, float16, int8")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Decoding threads; default: one per core, at most 8")] = None,
    worker: WorkerOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    fail_on_error: Annotated[
        bool, typer.Option("--fail-on-error", help="Exit status 1 if any item failed, not only if all failed")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress on stderr")] = False,
) -> None:
    """Transcribe speech to text. Recordings that fail do not stop the others; OUT/_errors.jsonl lists them."""
    from zoo.jobs.failures import ERRORS_NAME, raise_for_failures
    from zoo.transcribe import run

    summary = run(
        paths,
        model,
        out,
        formats=formats,
        highlight_words=highlight_words,
        max_words_per_line=max_words_per_line,
        dtype=dtype,
        device=device,
        workers=workers,
        worker=worker,
        engine=engine,
        address=address,
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
        padding=padding,
        **({} if batch_size is None else {"batch_size": batch_size}),
    )
    succeeded = summary.written + summary.rendered + summary.skipped
    raise_for_failures(succeeded, summary.failed, out / ERRORS_NAME, fail_on_error)


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option} {text!r}: give a number, or several numbers separated by commas") from None


@app.command("selftest")
def selftest(
    models: Annotated[
        list[str] | None, typer.Argument(help="Names, directories, files; default: the packaged ones")
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            help="bfloat16, float16, int8; repeatable; default: bfloat16 and int8; on a GPU, float16 for int8"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
) -> None:
    """Check that reduced precision gives right numbers on this machine."""
    from zoo.cli.selftest import run

    run(models or [], dtype or [], device, console)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="Model: name, directory, file or hf:owner/name")],
    destination: Annotated[Path, typer.Argument(help="New checkpoint directory")],
    half: Annotated[bool, typer.Option("--half", help="Store the weights in float16, for half the size")] = False,
) -> None:
    """Convert weights of any supported format to a zoo checkpoint directory."""
    from zoo import loading

    if half:
        from zoo.exporters.half import save_half

        model = loading.load(source, device="cpu")
        save_half(model, destination)
    else:
        model = loading.convert(source, destination)
    layers = f"{model.num_layers} layers"
    print_plain(console, f"{destination}: {model.family}, {layers}, fingerprint {model.fingerprint()}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the page, index.html")] = Path("demo"),
) -> None:
    """Show the small models at work on generated speech and music, as one page to look at and listen to."""
    from zoo import demo

    demo.run(out, console)


if __name__ == "__main__":
    main()
