"""Build a corpus: parts spread over processes, finished ones kept on disk, one manifest at the end.

    <corpus>/clips/<split>/<name>.flac     lossless, so that samples can be compared
    <corpus>/manifest.jsonl  corpus.json   written last: where they are, the corpus is complete
    <corpus>/.parts/                       what was begun, and the record of each finished part; removed at the end

Every clip is a function of (size, seed, split, index), so neither the number of processes nor an interruption leaves a
trace in the result.
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

SPEC_VERSION = 1  # raised whenever the same seed would give other samples or labels
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
    """Build an embedded corpus, finish an interrupted one or find a complete one; returns the path of its manifest.

    kind: "speech", "music" or, where music21 is installed, "scores".
    size: "tiny" (about 3 minutes), "small" (1 hour) or "large" (10 hours).
    out: folder, default `default_folder(kind, size, seed)`. workers: processes, default one per core; a script that
    calls this with more than one needs the usual `if __name__ == "__main__":`.

    The same seed and packages give the same fingerprint (in corpus.json, beside the manifest).
    Raises MissingDependencyError without the packages of `audiozoo[corpora]`, ZooError when `out` holds something else.
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
                f"the {kind} corpus is built by new processes, which import your script again: put what it runs under "
                '`if __name__ == "__main__":`, or pass workers=1'
            )
        with _alone_in(folder):
            if not _finished(folder, recipe):  # another process may have built it meanwhile
                _begin(folder, recipe)
                wanted = parts(kind, size, seed)
                _make_missing(folder, wanted, workers, progress)
                _assemble(folder, wanted, recipe)
    return folder / "manifest.jsonl"


def fingerprint(path: Path | str) -> str:
    """Compute the fingerprint of a corpus anew from its manifest and samples.

    It equals the one in corpus.json unless a file was changed or damaged.
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
    """Where `build` puts a corpus: in the cache folder (`zoo.io.cache`)."""
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
    """Whether a file about a corpus is there; raises when it is about another corpus."""
    if not path.exists():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    if any(found.get(key) != value for key, value in recipe.items()):
        said = " ".join(f"{key} {found.get(key)}" for key in recipe)
        raise ZooError(f"{path.parent}: holds another corpus ({said}); choose another folder or remove it")
    return True


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process builds in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _begin(folder: Path, recipe: dict[str, Any]) -> None:
    """Note what is being built, or go on if it was begun by the same packages; with others it starts over."""
    note = folder / ".parts" / "recipe.json"
    content = json.dumps(recipe | _packages(recipe["kind"]))
    if _is_about(note, recipe):
        if note.read_text(encoding="utf-8") == content:
            return
        shutil.rmtree(folder / "clips", ignore_errors=True)
        shutil.rmtree(folder / ".parts")
    if others := sorted(path.name for path in folder.iterdir() if path.name != ".lock"):
        raise ZooError(f"{folder}: holds other files ({', '.join(others[:3])}); choose an empty folder")
    note.parent.mkdir()
    write_durably(note, content.encode())


def _packages(kind: str) -> dict[str, dict[str, str]]:
    return {"packages": {name: version(name) for name in corpus_module(kind).PACKAGES}}


def _make_missing(folder: Path, wanted: list[CorpusPart], workers: int, progress: bool) -> None:
    missing = [part for part in wanted if finished_clips(folder, part) is None]
    with _progress_bar(f"{wanted[0].kind} {wanted[0].size}", len(wanted), len(missing), progress) as done:
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
                    "finished parts are kept: run it again, with workers=1 if need be"
                ) from None
            finally:
                pool.shutdown(cancel_futures=True)


@contextmanager
def _progress_bar(name: str, total: int, missing: int, visible: bool) -> Iterator[Callable[[float], None]]:
    """A bar over parts with minutes of audio and speed; call the yielded function with each part's seconds of audio."""
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


def _assemble(folder: Path, wanted: list[CorpusPart], recipe: dict[str, Any]) -> None:
    """All parts -> manifest.jsonl, then corpus.json, whose presence says that the corpus is complete."""
    rows = [row for part in wanted for row in finished_clips(folder, part) or ()]
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
