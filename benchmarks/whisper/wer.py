"""Word error rates of short recordings: zoo, openai-whisper and faster-whisper from the same weights.

    python -m benchmarks.whisper.wer --weights DIR --work transcripts.jsonl [--models tiny.en base] [--out FILE.md]

DIR holds for each model a CTranslate2 directory (tiny.en/) and an openai-whisper file (tiny.en.pt) of the same weights.
Sets under ZOO_DATA: all of `read`; the dev and test splits of the English `prompts`. Every recording is one file.

Transcripts are appended to the work file, so that a stopped run can be resumed. Rates are of the corpus, after the
English normalizer, with bootstrap intervals over recordings.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.whisper.recordings import Utterance, utterances
from benchmarks.whisper.systems import SEARCHES, Transcriber, faster, heading, openai, ours, publish
from benchmarks.whisper.transcript_store import BATCH, TranscriptStore
from zoo.benchmarks.wer import error_rates

Build = Callable[[Path, str, str], Transcriber]  # (folder of the weights, model, search)


def systems(threads: int) -> dict[str, Build]:
    """Systems by name."""
    table: dict[str, Build] = {
        "openai-whisper float32": lambda weights, name, search: openai(weights / f"{name}.pt", search)
    }
    for kind in ("float32", "int8"):
        table[f"faster-whisper {kind}"] = lambda weights, name, search, kind=kind: faster(  # type: ignore[misc]
            weights / name, search, kind, threads=threads
        )
    for dtype, padding in (("float32", "30s"), ("bfloat16", "30s"), ("bfloat16", "none"), ("int8", "30s")):
        label = f"zoo {dtype}" + (", context clip" if padding == "none" else "")  # the name in earlier results
        table[label] = lambda weights, name, search, dtype=dtype, padding=padding: ours(  # type: ignore[misc]
            weights / name, search, dtype, padding=padding, vad="none", mode="sequential", batch_size=BATCH
        )
    return table


def row(system: str, items: list[Utterance], texts: list[str], reference: list[str]) -> str:
    """A line of the table. reference: transcripts of openai-whisper."""
    rates = error_rates([item.text for item in items], texts, "english")
    same = sum(a.strip() == b.strip() for a, b in zip(texts, reference, strict=True))
    low, high = 100 * rates.interval.low, 100 * rates.interval.high
    return (
        f"| {system} | {100 * rates.wer:.2f} ({low:.1f} to {high:.1f}) | {rates.substitutions} | {rates.deletions} | "
        f"{rates.insertions} | {same} of {len(items)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument(
        "--only",
        default="",
        help="comma-separated parts of system names; others are shown only if the work file has them",
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sets = {"read": utterances("read"), "prompts": utterances("prompts", splits=("dev", "test"), lang="en")}
    store, table = TranscriptStore(options.work), systems(options.threads)
    lines = heading(
        "Whisper: word error rates", "python -m benchmarks.whisper.wer", "one recording a file, language given."
    )
    for name in options.models:
        for search in SEARCHES:
            for set_name, items in sets.items():
                minutes = sum(item.seconds for item in items) / 60
                lines += [f"## {name}, {search}, {set_name}: {len(items)} recordings, {minutes:.1f} minutes", ""]
                lines += ["| system | WER, % (95 % interval) | S | D | I | as openai-whisper |", "|-|-|-|-|-|-|"]
                reference: list[str] = []
                for system, build in table.items():
                    key = (name, system, search, set_name)
                    requested = any(part in system for part in options.only.split(","))
                    if not requested and len(store.texts.get(key, {})) < len(items):
                        continue
                    texts = store.complete(
                        key,
                        [item.wave for item in items],
                        lambda build=build, name=name, search=search: build(options.weights, name, search),  # type: ignore[misc]
                    )
                    reference = reference or texts
                    lines.append(row(system, items, texts, reference))
                lines.append("")
    publish(lines, options.out)


if __name__ == "__main__":
    main()
