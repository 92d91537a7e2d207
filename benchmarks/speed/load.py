"""Loading time of the packaged models, each in new processes.

    python benchmarks/speed/load.py --out FILE.md

Wall time of `import zoo`, then of `import torch`, then of `zoo.load`, and then of embedding one second of audio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path

from zoo.benchmarks.results import environment

NAMES = ("hubert", "mulan", "whisper")
PARTS = ("import zoo", "import torch", "zoo.load", "first second")
CHILD = """
import json, sys, time
marks = [time.perf_counter()]
mark = lambda: marks.append(time.perf_counter())
import zoo; mark()
import torch; mark()
model = zoo.load(sys.argv[1]); mark()
model.embed(torch.zeros(16_000) + 0.1, 16_000); mark()
print(json.dumps([after - before for before, after in zip(marks, marks[1:])]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    times: dict[str, list[list[float]]] = {name: [] for name in NAMES}
    for _ in range(options.rounds + 1):
        for name in NAMES:
            done = subprocess.run([sys.executable, "-c", CHILD, name], capture_output=True, text=True, check=True)
            times[name].append(json.loads(done.stdout))
    about = environment()
    lines = [
        f"# Loading the models in the package, {date.today()}\n",
        f"`{' '.join(['python', *sys.argv])}`\n",
        f"commit {about['commit']}, {about['machine']}, {about['threads']} threads, torch {about['torch']}; seconds, "
        f"medians (ranges) of {options.rounds} new processes, after one that warms the disk cache.\n",
        "| model | " + " | ".join(PARTS) + " |",
        "|-" * (len(PARTS) + 1) + "|",
    ]
    for name, rows in times.items():
        columns = list(zip(*rows[1:], strict=True))
        cells = [f"{statistics.median(c):.2f} ({min(c):.2f} to {max(c):.2f})" for c in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
