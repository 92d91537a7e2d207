"""Writes the speed table of README.md from the newest results: python benchmarks/speed/summary.py [--check]

<!-- speed table -->
the table replaces everything between these two lines
<!-- end of table -->
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
RESULTS = Path("benchmarks") / "results"
BLOCK = re.compile(r"(<!-- speed table -->\n).*?(<!-- end of table -->)", re.DOTALL)


@dataclass(frozen=True)
class SpeedRow:
    """A row of the table.

    title: what was measured. stem, section, column: the newest file with this stem, and the table in it.
    ours, others: row in that table -> name in README.md.
    """

    title: str
    stem: str
    column: str
    ours: dict[str, str]
    others: dict[str, str]
    section: str = ""


ROWS = (
    SpeedRow(
        "HuBERT Base embeds 64 recordings, x real time",
        "speed-embed",
        "x real time",
        {"zoo bfloat16": "bfloat16", "zoo float32": "float32"},
        {
            "transformers bf16 autocast": "transformers bfloat16",
            "transformers fp32": "transformers float32",
            "torchaudio fp32": "torchaudio float32",
        },
    ),
    SpeedRow(
        "Whisper tiny.en transcribes 40 short files, x real time",
        "speed-transcribe",
        "x real time",
        {"zoo bfloat16, context clip": "context clip", "zoo bfloat16": "as published"},
        {"faster-whisper int8, 2 workers": "faster-whisper int8", "openai-whisper float32": "openai-whisper"},
        "tiny.en, short",
    ),
    SpeedRow(
        "... ten minutes in one file",
        "speed-transcribe",
        "x real time",
        {"zoo bfloat16": "bfloat16", "zoo int8": "int8"},
        {"faster-whisper int8, batches of 8": "faster-whisper int8"},
        "tiny.en, long",
    ),
    SpeedRow(
        "MuLan's ResNet-50, clips a second",
        "speed-mulan",
        "clips a second",
        {"zoo bfloat16": "bfloat16"},
        {"torchvision bf16 autocast, channels-last": "torchvision bfloat16, channels-last"},
        "ResNet-50",
    ),
    SpeedRow(
        "MuLan's AST, clips a second",
        "speed-mulan",
        "clips a second",
        {"zoo bfloat16": "bfloat16"},
        {"transformers bf16 autocast": "transformers bfloat16"},
        "AST",
    ),
    SpeedRow(
        "HuBERT Base pre-trains, s a step",
        "speed-pretrain",
        "s a step",
        {"zoo bf16": "bfloat16", "zoo fp32": "float32"},
        {
            "transformers bf16": "transformers bfloat16",
            "transformers fp32": "transformers float32",
            "torchaudio bf16": "torchaudio bfloat16",
        },
    ),
    SpeedRow(
        "Whisper tiny trains, s a step",
        "speed-whisper-train",
        "s a step",
        {"zoo bf16": "bfloat16", "zoo, windows of 6 s bf16": "windows of 6 s"},
        {"transformers bf16": "transformers bfloat16"},
    ),
    SpeedRow(
        "k-means of 200,000 x 256 into 200, s",
        "speed-kmeans",
        "seconds",
        {"zoo": "float32"},
        {"faiss": "faiss", "scikit-learn": "scikit-learn's mini-batches"},
    ),
    SpeedRow(
        "325 probes, 13 layers of 3,000 x 768, s",
        "speed-probe",
        "seconds",
        {"batched, median of 3": "batched"},
        {"scikit-learn, 2 processes": "scikit-learn in two processes"},
    ),
    SpeedRow(
        "one search in 100,000 x 128, ms",
        "speed-search",
        "median",
        {"torch, 1": "exact"},
        {"faiss, 1": "faiss, exact"},
        "Stored as float32",
    ),
)


def table() -> str:
    """One line for each row of ROWS, with links to the files. Raises SystemExit for a missing file or row."""
    lines = ["| | zoo | others | |", "|-|-|-|-|"]
    for row in ROWS:
        files = sorted((TOP / RESULTS).glob(f"{row.stem}-2*.md"))
        if not files:
            sys.exit(f"{RESULTS}: there is no {row.stem}-DATE.md; run the benchmark")
        figures = _read(files[-1], row.section, row.column)
        sides = [
            ", ".join(f"{_find(figures, name, files[-1])} ({shown})" for name, shown in side.items())
            for side in (row.ours, row.others)
        ]
        lines.append(f"| {row.title} | {sides[0]} | {sides[1]} | [details]({RESULTS / files[-1].name}) |")
    return "\n".join(lines)


def _read(path: Path, section: str, column: str) -> dict[str, str]:
    """First table under the heading that begins with `section`: row name -> number in `column`, without range."""
    text = path.read_text(encoding="utf-8")
    if section:
        parts = [part for part in re.split(r"^## ", text, flags=re.MULTILINE) if part.startswith(section)]
        text = parts[0] if parts else ""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    at = next((n for n, cell in enumerate(rows[0]) if cell.startswith(column)), None) if rows else None
    if at is None:
        sys.exit(f"{path}: has no column {column!r} under {section or 'its title'!r}")
    keys = 2 if rows[0][1] == "queries at once" else 1
    return {", ".join(row[:keys]): row[at].split(" (")[0] for row in rows[2:] if len(row) > at}


def _find(figures: dict[str, str], name: str, path: Path) -> str:
    """The number of the row with this name, or with this name and a version."""
    matches = [
        figure for row, figure in figures.items() if row == name or re.fullmatch(rf"{re.escape(name)} [\d.]+", row)
    ]
    if len(matches) != 1:
        sys.exit(f"{path}: must have one row {name!r}; it has {', '.join(figures)}")
    return matches[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if README.md is out of date")
    arguments = parser.parse_args()
    page = TOP / "README.md"
    old = page.read_text(encoding="utf-8")
    new = BLOCK.sub(lambda match: f"{match[1]}{table()}\n{match[2]}", old)
    if arguments.check and new != old:
        sys.exit("README.md: the speed table is out of date; run make tables")
    if not arguments.check:
        page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
