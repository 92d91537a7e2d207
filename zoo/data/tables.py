"""Rows of a table, columns to values, become entries: known columns are fields, all others labels.

A split goes by the first part of its name (train.clean.100, dev-other). Where no column tells the splits, one in twenty
speakers (or files, where no speakers are known) becomes "dev", chosen by a hash of its name.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

from zoo import audio
from zoo.data import manifest
from zoo.data.manifest import Entry
from zoo.data.rows import read as read_rows
from zoo.errors import AudioError, ConfigError, ManifestError, MissingDependencyError

# field -> names that columns of data sets commonly have for it
ALIASES = {
    "audio": ("audio", "path", "file", "file_name", "filename", "wav", "audio_path"),
    "text": ("text", "transcript", "transcription", "sentence", "normalized_text"),
    "captions": ("captions", "caption"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "lang": ("lang", "language", "locale"),
    "split": ("split", "subset", "partition"),
    "duration": ("duration",),
    "start": ("start",),
    "end": ("end",),
    "phones": ("phones",),
}
SPLITS = {"validation": "dev", "valid": "dev", "val": "dev", "eval": "dev", "testing": "test", "training": "train"}
DEV_SHARE = 20  # one in so many, where the source names no splits
PROBES = 8  # threads that read headers

Numbered = tuple[int, dict[str, Any]]  # the number of a row, and its record


def read(path: Path, columns: Mapping[str, str] | None = None) -> list[Entry]:
    """The entries of a .csv, .tsv or .parquet table. Raises as `from_records`, and ManifestError where it is none.

    Audio inside a .parquet ({bytes, path}) is written once to the cache (ZOO_CACHE).
    """
    audio_columns = (columns["audio"],) if columns and "audio" in columns else ALIASES["audio"]
    rows = read_rows(path, audio_columns)
    return from_records(enumerate(rows, 2 if path.suffix != ".parquet" else 1), path, columns)


def from_records(
    rows: Iterable[Numbered],
    path: Path,
    columns: Mapping[str, str] | None = None,
    name: str | None = None,
) -> list[Entry]:
    """Entries from rows of a table at `path`: (row number, column -> value).

    Rows without audio, or of a split that is none of train, dev and test, are left out with a warning of each kind.

    columns: field -> column. A column chosen there replaces the usual one of its field, which is then left out if it
    has the field's name (a label cannot have it). name: what messages call the table, by default its path.

    Raises ConfigError for a field or column that does not exist, ManifestError for values that do not fit.
    """
    if unknown := sorted((columns or {}).keys() - ALIASES.keys()):
        raise ConfigError(f"columns: {unknown[0]!r} is no field of a clip; choose among {', '.join(ALIASES)}")
    name = name or str(path)
    numbered = [(number, _fields(row, columns or {}, f"{name}:{number}")) for number, row in rows]
    numbered = _with_audio(numbered, name)
    splits_named = any("split" in record for _, record in numbered)
    if splits_named:
        numbered = _in_splits(numbered, name)
    with ThreadPoolExecutor(PROBES) as pool:
        durations = list(pool.map(lambda pair: _duration(pair[1], path.parent), numbered))
    unreadable = [d for d in durations if isinstance(d, AudioError)]
    if unreadable:
        first = "; ".join(str(error) for error in unreadable[:3])
        warnings.warn(f"{name}: {len(unreadable)} of {len(durations)} clips cannot be read ({first})", stacklevel=3)
    readable = [
        (number, record | {"duration": duration})
        for (number, record), duration in zip(numbered, durations, strict=True)
        if not isinstance(duration, AudioError)
    ]
    if not readable:
        raise ManifestError(f"{name}: holds no audio that can be read")
    if not splits_named:
        _deal([record for _, record in readable])
    return [manifest.parse(json.dumps(record), path.parent, where=f"{name}:{number}") for number, record in readable]


def _fields(row: dict[str, Any], columns: Mapping[str, str], where: str) -> dict[str, Any]:
    """A row as a manifest's record: named columns, then the usual names; what is left is a label if it can be one.

    A list of words becomes one label with commas between them.
    """
    left = {str(key): value for key, value in row.items() if not _empty(value)}
    record: dict[str, Any] = {}
    taken = set(ALIASES)  # also the usual column beside a chosen one: a label under its name would replace the field
    for name, names in ALIASES.items():
        if name in columns and columns[name] not in row:
            raise ConfigError(f"{where}: no column {columns[name]!r} for {name}; there are {', '.join(map(str, row))}")
        usual = [n for n in names if n not in columns.values()]  # what one field was given is not another's by its name
        found = next((n for n in ([columns[name]] if name in columns else usual) if n in left), None)
        if found is not None:
            record[name] = left[found]
            taken.add(found)
    if "audio" not in record and not {columns.get("audio", "audio"), *ALIASES["audio"]} & row.keys():
        raise ConfigError(f"{where}: no audio column among {', '.join(map(str, row))}; name it with columns")
    if not isinstance(record.get("audio", ""), str):
        kind = type(record["audio"]).__name__
        raise ManifestError(
            f"{where}: field 'audio': a path was expected, not {kind}; name another column with columns"
        )
    for name in ("duration", "start", "end"):
        if name in record and not math.isnan(seconds := _seconds(record.pop(name), name, where)):
            record[name] = seconds
    for name in ("text", "speaker", "lang"):
        if name in record:
            record[name] = str(record[name])
    if "phones" in record:
        record["phones"] = _timed(record["phones"])
    if isinstance(captions := record.get("captions"), str | list):
        record["captions"] = [captions] if isinstance(captions, str) else [c for c in captions if not _empty(c)]
    left = {k: v for k, v in left.items() if k not in taken}
    tags = {
        k: ", ".join(v) for k, v in left.items() if v and isinstance(v, list) and all(isinstance(x, str) for x in v)
    }
    return record | tags | {k: v for k, v in left.items() if isinstance(v, str | int | bool) or _is_finite(v)}


def _seconds(value: Any, name: str, where: str) -> float:
    """A number, or text that is one. Raises ManifestError, which begins with `where`, for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ManifestError(f"{where}: field {name!r}: seconds were expected, not {value!r}") from None


def _is_finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _timed(phones: Any) -> Any:
    """Phones with their times, as a list or as JSON in a cell. Symbols alone, which is what most tables hold, are None:
    they have no times.
    """
    if isinstance(phones, str):
        try:
            phones = json.loads(phones)
        except ValueError:
            return None
        if not isinstance(phones, list):
            return None
    return None if isinstance(phones, list) and all(isinstance(phone, str) for phone in phones) else phones


def _empty(value: Any) -> bool:
    """Whether a cell says nothing: NaN, too, is how tables leave a number out."""
    return value is None or value == "" or (isinstance(value, float | Decimal) and math.isnan(value))


def _duration(record: dict[str, Any], folder: Path) -> float | AudioError:
    if "duration" in record:
        return record["duration"]
    try:
        whole = audio.probe(folder / record["audio"]).duration
    except (AudioError, MissingDependencyError) as error:
        return error if isinstance(error, AudioError) else AudioError(record["audio"], str(error))
    if whole <= 0:
        return AudioError(record["audio"], "holds no samples")
    start = record.get("start", 0.0)
    if "end" not in record and start >= whole:
        return AudioError(record["audio"], f"starts at {start:g} s, but lasts {whole:g} s only")
    return record.get("end", whole) - start


def _with_audio(numbered: list[Numbered], name: str) -> list[Numbered]:
    kept = [(number, record) for number, record in numbered if "audio" in record]
    if absent := len(numbered) - len(kept):
        warnings.warn(f"{name}: {absent} of {len(numbered)} rows have no audio and are left out", stacklevel=4)
    return kept


def _in_splits(numbered: list[Numbered], name: str) -> list[Numbered]:
    """The rows whose split is known, by the names that manifests have."""
    given = [str(record.get("split", "train")) for _, record in numbered]
    known = {split: split_named(split) for split in given}
    unknown = [split for split in known if known[split] is None]
    kept = [(n, r | {"split": known[split]}) for (n, r), split in zip(numbered, given, strict=True) if known[split]]
    if unknown and not kept:
        raise ManifestError(
            f"{name}:{numbered[0][0]}: field 'split': {unknown[0]!r} is none of train, dev, test, and no other row has "
            "one of them; rename the splits, or choose another column with columns"
        )
    if unknown:
        warnings.warn(
            f"{name}: {len(numbered) - len(kept)} of {len(numbered)} clips are left out, as their splits are none of "
            f"train, dev, test: {listed(unknown)}",
            stacklevel=4,
        )
    return kept


def listed(names: Sequence[str]) -> str:
    """The first few names, quoted, for a message."""
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _deal(records: list[dict[str, Any]]) -> None:
    """One in DEV_SHARE speakers, or files where there is one speaker or none is named, to dev; the others to train."""
    keys = [str(record.get("speaker") or record["audio"]) for record in records]
    if len(set(keys)) == 1:
        keys = [str(record["audio"]) for record in records]
    ranks = {key: hashlib.sha256(Path(key).name.encode(errors="surrogateescape")).hexdigest() for key in keys}
    chosen = set(sorted(ranks, key=lambda key: ranks[key])[: max(1, len(ranks) // DEV_SHARE)]) if len(ranks) > 1 else ()
    for key, record in zip(keys, records, strict=True):
        record["split"] = "dev" if key in chosen else "train"


def split_named(name: str) -> str | None:
    """train, dev or test, where `name`, or its part before the first . _ or -, is one of the names these go by."""
    name = re.split(r"[._-]", name.strip().lower(), maxsplit=1)[0]
    name = SPLITS.get(name, name)
    return name if name in manifest.SPLITS else None
