"""Build a corpus: several processes make its parts, finished parts are kept on disk, the manifest is written last.

    <corpus>/clips/<split>/<name>.flac     lossless, so that samples can be compared
    <corpus>/manifest.jsonl  corpus.json   written last: if they exist, the corpus is complete
    <corpus>/.parts/                       settings of the build, and a record of each finished part; removed at the end

Every clip is a function of (size, seed, split, index), so the result does not depend on the number of processes or on
interruptions.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from zoo.corpora.parts import (
    CorpusPart,
    corpus_module,
    die_with_parent,
    finished_clips,
    make,
    parts,
    sample_hash,
    write_durably,
)
from zoo.data import manifest
from zoo.errors import ZooError
from zoo.io.cache import cache_folder

SPEC_VERSION = 1  # increase it if the same seed gives other samples or labels than before
KINDS = ("speech", "music", "scores")
SIZES = ("tiny", "small", "large")


def build(
    kind: str,
    size: str = "tiny",
    out: Path | str | None = None,
    *,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Build a generated corpus, or complete an interrupted build; returns the path of its manifest.

    A complete corpus is not built again.
    kind: "speech", "music" or, if music21 is installed, "scores".
    size: "tiny" (about 3 minutes), "small" (1 hour) or "large" (10 hours).
    out: folder, default `default_folder(kind, size, seed)`. workers: processes, default one per core; a script that
    calls this with more than one needs `if __name__ == "__main__":`.

    The same seed and packages give the same fingerprint (in corpus.json, next to the manifest).
    Raises MissingDependencyError without the packages of `audiozoo[corpora]`, ZooError if `out` has other content.
    """
    if kind not in KINDS or size not in SIZES:
        raise ZooError(f"no {kind!r} corpus of size {size!r}; kinds: {', '.join(KINDS)}; sizes: {', '.join(SIZES)}")
    folder = Path(out).expanduser().absolute() if out else default_folder(kind, size, seed)
    recipe = {"kind": kind, "size": size, "seed": seed, "spec": SPEC_VERSION}
    if not _finished(folder, recipe):
        corpus_module(kind).require()
        workers = workers or os.cpu_count() or 1
        if getattr(multiprocessing.current_process(), "_inheriting", False):  # it would wait for its parent's lock
            raise ZooError(
                f"the {kind} corpus is built by new processes, and these import your script again: put its code under "
                '`if __name__ == "__main__":`, or pass workers=1'
            )
        with _locked(folder):
            if not _finished(folder, recipe):  # another process may have built it meanwhile
                _begin(folder, recipe)
                all_parts = parts(kind, size, seed)
                _make_missing(folder, all_parts, workers, progress)
                _assemble(folder, all_parts, recipe)
    return folder / "manifest.jsonl"


def fingerprint(path: Path | str) -> str:
    """Compute the fingerprint of a corpus from its manifest and samples.

    It equals the fingerprint in corpus.json, unless a file was changed or damaged.
    """
    import soundfile

    path = Path(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    entries = manifest.read(path)
    return _fingerprint(
        (line, sample_hash(soundfile.read(entry.audio, dtype="int16")[0]))
        for line, entry in zip(lines, entries, strict=True)
    )


def default_folder(kind: str, size: str, seed: int = 0) -> Path:
    """The default folder of a corpus, inside the cache folder (`zoo.io.cache`)."""
    suffix = f"-seed{seed}" if seed else ""
    return cache_folder("corpora", f"{kind}-{size}-v{SPEC_VERSION}{suffix}")


def _fingerprint(rows: Iterator[tuple[str, str]]) -> str:
    total = hashlib.sha256()
    for line, samples in rows:
        total.update(f"{line}\n{samples}\n".encode())
    return total.hexdigest()


def _finished(folder: Path, recipe: dict[str, Any]) -> bool:
    return _is_about(folder / "corpus.json", recipe)


def _is_about(path: Path, recipe: dict[str, Any]) -> bool:
    """Whether the file exists and describes this corpus. Raises ZooError if it describes another corpus."""
    if not path.exists():
        return False
    recorded = json.loads(path.read_text(encoding="utf-8"))
    if any(recorded.get(key) != value for key, value in recipe.items()):
        description = " ".join(f"{key} {recorded.get(key)}" for key in recipe)
        raise ZooError(f"{path.parent}: contains another corpus ({description}); choose another folder or remove it")
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Create the folder and lock it; waits while another process builds in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _begin(folder: Path, recipe: dict[str, Any]) -> None:
    """Record the settings of the build. An interrupted build is continued if it used the same packages; otherwise it
    starts again.
    """
    record = folder / ".parts" / "recipe.json"
    content = json.dumps(recipe | _packages(recipe["kind"]))
    if _is_about(record, recipe):
        if record.read_text(encoding="utf-8") == content:
            return
        shutil.rmtree(folder / "clips", ignore_errors=True)
        shutil.rmtree(folder / ".parts")
    if others := sorted(path.name for path in folder.iterdir() if path.name != ".lock"):
        raise ZooError(f"{folder}: contains other files ({', '.join(others[:3])}); choose an empty folder")
    record.parent.mkdir()
    write_durably(record, content.encode())


def _packages(kind: str) -> dict[str, dict[str, str]]:
    return {"packages": {name: version(name) for name in corpus_module(kind).PACKAGES}}


def _make_missing(folder: Path, all_parts: list[CorpusPart], workers: int, progress: bool) -> None:
    missing = [part for part in all_parts if finished_clips(folder, part) is None]
    with _progress_bar(f"{all_parts[0].kind} {all_parts[0].size}", len(all_parts), len(missing), progress) as done:
        if min(workers, len(missing)) <= 1:
            for part in missing:
                done(make(folder, part))
            return
        with ProcessPoolExecutor(min(workers, len(missing)), get_context("spawn"), die_with_parent) as pool:
            try:
                for future in as_completed([pool.submit(make, folder, part) for part in missing]):
                    done(future.result())
            except BrokenProcessPool:
                raise ZooError(
                    f'{folder}: a worker process died (no memory? a script without `if __name__ == "__main__":`?); '
                    "finished parts are kept: run it again, if necessary with workers=1"
                ) from None
            finally:
                pool.shutdown(cancel_futures=True)


@contextmanager
def _progress_bar(name: str, total: int, missing: int, visible: bool) -> Iterator[Callable[[float], None]]:
    """A progress bar over parts, with minutes of audio and speed. Call the yielded function after each part, with its
    seconds of audio.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} parts, {task.fields[minutes]:.0f} min of audio"),
        TextColumn("{task.fields[speed]:.0f}x real time"),
        TimeRemainingColumn(),
    )
    began, seconds = time.monotonic(), 0.0
    with Progress(*columns, disable=not visible) as bar:
        task = bar.add_task(name, total=total, completed=total - missing, minutes=0.0, speed=0.0)

        def done(audio_seconds: float) -> None:
            nonlocal seconds
            seconds += audio_seconds
            speed = seconds / max(time.monotonic() - began, 1e-3)
            bar.update(task, advance=1, minutes=seconds / 60, speed=speed)

        yield done


def _assemble(folder: Path, all_parts: list[CorpusPart], recipe: dict[str, Any]) -> None:
    """Write manifest.jsonl from all parts, then corpus.json: its existence means that the corpus is complete."""
    rows = [row for part in all_parts for row in finished_clips(folder, part) or ()]
    path = folder / "manifest.jsonl"
    os.sync()  # the clips
    write_durably(path, "".join(f"{row.line}\n" for row in rows).encode())
    entries = manifest.read(path)
    splits = [entry.split for entry in entries]
    about = recipe | _packages(recipe["kind"])
    about["clips"] = {split: splits.count(split) for split in manifest.SPLITS}
    about["hours"] = round(sum(entry.duration for entry in entries) / 3600, 4)
    about["fingerprint"] = _fingerprint((row.line, row.samples) for row in rows)
    write_durably(folder / "corpus.json", json.dumps(about, indent=2).encode())
    shutil.rmtree(folder / ".parts")
