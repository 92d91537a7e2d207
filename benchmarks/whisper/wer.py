"""Word error rates of short recordings: zoo, openai-whisper and faster-whisper from the same weights.

    python -m benchmarks.whisper.wer --weights DIR --work said.jsonl [--models tiny.en base] [--out FILE.md]

DIR holds for each model a CTranslate2 directory (tiny.en/) and an openai-whisper file (tiny.en.pt) of the same weights.
Sets under ZOO_DATA: all of `read`; the dev and test splits of the English `prompts`. Every recording is one file.

What each system says is appended to the work file as it comes, so that a run that is stopped goes on where it was.
Rates are of the corpus, after the English normalizer, with bootstrap intervals over recordings.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.whisper.recordings import Utterance, utterances
from benchmarks.whisper.said import BATCH, Said
from benchmarks.whisper.systems import SEARCHES, Transcriber, faster, heading, openai, ours, publish
from zoo.benchmarks.wer import error_rates

Build = Callable[[Path, str, str], Transcriber]  # (folder of the weights, model, search)


def systems(threads: int) -> dict[str, Build]:
    """By name."""
    table: dict[str, Build] = {
        "openai-whisper float32": lambda where, name, search: openai(where / f"{name}.pt", search)
    }
    for kind in ("float32", "int8"):
        table[f"faster-whisper {kind}"] = lambda where, name, search, kind=kind: faster(  # type: ignore[misc]
            where / name, search, kind, threads=threads
        )
    for dtype, context in (("float32", "full"), ("bfloat16", "full"), ("bfloat16", "clip"), ("int8", "full")):
        label = f"zoo {dtype}" + (", context clip" if context == "clip" else "")
        table[label] = lambda where, name, search, dtype=dtype, context=context: ours(  # type: ignore[misc]
            where / name, search, dtype, context=context, vad="none", mode="sequential", batch_size=BATCH
        )
    return table


def row(system: str, items: list[Utterance], texts: list[str], reference: list[str]) -> str:
    """A line of the table. reference: what openai-whisper said."""
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
    parser.add_argument("--only", default="", help="comma-separated parts of the systems' names; others only if known")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sets = {"read": utterances("read"), "prompts": utterances("prompts", splits=("dev", "test"), lang="en")}
    said, table = Said(options.work), systems(options.threads)
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
                    asked = any(part in system for part in options.only.split(","))
                    if not asked and len(said.texts.get(key, {})) < len(items):
                        continue
                    texts = said.complete(
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
