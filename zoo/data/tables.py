"""Convert rows of a table, column -> value, to entries: columns with known names are fields, all others labels.

The first part of its name decides the split (train.clean.100, dev-other). If there is no split column, one in twenty
speakers (or files, if there are no speakers) becomes "dev", chosen by a hash of the name.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

from zoo import audio
from zoo.data import manifest
from zoo.data.manifest import Entry
from zoo.data.rows import read as read_rows
from zoo.data.rows import require_audio_column
from zoo.errors import AudioError, ConfigError, ManifestError, MissingDependencyError
from zoo.io.text import quote_names, shorten

# field -> common column names for it
ALIASES = {
    "audio": ("audio", "path", "file", "file_name", "filename", "wav", "audio_path", "audio_filepath"),
    "text": ("text", "transcript", "transcription", "sentence", "normalized_text"),
    "captions": ("captions", "caption"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "lang": ("lang", "language", "locale"),
    "split": ("split", "subset", "partition"),
    "duration": ("duration",),
    "start": ("start", "offset"),  # the second as in manifests of NeMo
    "end": ("end",),
    "phones": ("phones",),
}
SPLITS = {"validation": "dev", "valid": "dev", "val": "dev", "eval": "dev", "testing": "test", "training": "train"}
DEV_SHARE = 20  # if a source has no splits, one in this many speakers or files becomes dev
PROBES = 8  # threads that read headers

Numbered = tuple[int, dict[str, Any]]  # the number of a row, and its record


def read(path: Path, columns: Mapping[str, str] | None = None) -> list[Entry]:
    """The entries of a .csv, .tsv or .parquet table. Raises as `from_records`, and ManifestError if it is not a table.

    Audio inside a .parquet ({bytes, path}) is written once to the cache (ZOO_CACHE).
    """
    audio_columns = (columns["audio"],) if columns and "audio" in columns else ALIASES["audio"]
    return from_records(read_rows(path, audio_columns), path, columns)


def from_records(
    rows: Iterable[Numbered],
    path: Path,
    columns: Mapping[str, str] | None = None,
    name: str | None = None,
) -> list[Entry]:
    """Entries from rows of a table at `path`: (row number, column -> value).

    Rows without audio, and rows with a split other than train, dev and test, are skipped with a warning for each kind.

    columns: field -> column, used instead of the usual column. The usual column is then dropped if it has the name of
    the field, because a label cannot have that name. name: name of the table in messages, by default its path.

    Raises ConfigError for a field or column that does not exist, ManifestError for wrong values.
    """
    if unknown := sorted((columns or {}).keys() - ALIASES.keys()):
        raise ConfigError(f"columns: {unknown[0]!r} is not a field of a clip; fields are {', '.join(ALIASES)}")
    name = name or str(path)
    numbered = [(number, _fields(row, columns or {}, f"{name}:{number}")) for number, row in rows]
    numbered = _with_audio(numbered, name)
    has_splits = any("split" in record for _, record in numbered)
    if has_splits:
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
        raise ManifestError(f"{name}: has no audio that can be read; check the paths and the audio column")
    if not has_splits:
        _assign_splits([record for _, record in readable])
    return [manifest.parse(json.dumps(record), path.parent, where=f"{name}:{number}") for number, record in readable]


def _fields(row: dict[str, Any], columns: Mapping[str, str], where: str) -> dict[str, Any]:
    """A row as a manifest record. Fields come from `columns`, then from the usual names; other columns become labels
    if their values can be labels.

    A list of strings becomes one label, joined by commas.
    """
    cells = {str(key): value for key, value in row.items() if not is_empty(value)}
    record: dict[str, Any] = {}
    used = set(ALIASES)  # field names as well: a label of that name would replace the field
    for name, names in ALIASES.items():
        if name in columns and columns[name] not in row:
            raise ConfigError(f"{where}: no column {columns[name]!r} for {name}; there are {quote_names(row)}")
        usual = [n for n in names if n not in columns.values()]  # a column chosen for one field is not used for another
        column = next((n for n in ([columns[name]] if name in columns else usual) if n in cells), None)
        if column is not None:
            record[name] = cells[column]
            used.add(column)
    if "audio" in record:
        check_path(record["audio"], where)
    else:
        require_audio_column(list(row), {columns.get("audio", "audio"), *ALIASES["audio"]}, where)
    for name in ("duration", "start", "end"):
        number = seconds(record.pop(name, None), name, where)
        if number is not None:
            record[name] = number
    for name in ("text", "speaker", "lang"):
        if name in record:
            record[name] = str(record[name])
    if "phones" in record:
        record["phones"] = _with_times(record["phones"])
    if isinstance(captions := record.get("captions"), str | list):
        record["captions"] = [captions] if isinstance(captions, str) else [c for c in captions if not is_empty(c)]
    others = {k: v for k, v in cells.items() if k not in used}
    lists = {
        k: ", ".join(v) for k, v in others.items() if v and isinstance(v, list) and all(isinstance(x, str) for x in v)
    }
    return record | lists | {k: v for k, v in others.items() if isinstance(v, str | int | bool) or _is_finite(v)}


def cell(row: Mapping[str, Any], name: str) -> Any:
    """The value of a field in a row: that of its first usual column that is not empty; None if there is none."""
    return next((row[column] for column in ALIASES[name] if not is_empty(row.get(column))), None)


def check_path(value: Any, where: str) -> str:
    """`value`, a path of audio. Raises ManifestError, starting with `where`, for another value."""
    if not isinstance(value, str):
        kind = type(value).__name__
        raise ManifestError(f"{where}: field 'audio': expected a path, not {kind}; choose another column for it")
    return value


def seconds(value: Any, name: str, where: str) -> float | None:
    """A time in s, from a number or text with a number; None for an empty cell.

    Raises ManifestError, starting with `where`, for anything else.
    """
    if is_empty(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if math.isnan(number):
        return None
    if not 0 <= number < math.inf:
        raise ManifestError(f"{where}: field {name!r}: expected seconds >= 0, such as 1.5, not {shorten(value)}")
    return number


def _is_finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _with_times(phones: Any) -> Any:
    """Phones with times, from a list or from JSON in a cell. None for symbols without times, as in most tables."""
    if isinstance(phones, str):
        try:
            phones = json.loads(phones)
        except ValueError:
            return None
        if not isinstance(phones, list):
            return None
    return None if isinstance(phones, list) and all(isinstance(phone, str) for phone in phones) else phones


def is_empty(value: Any) -> bool:
    """Whether a cell is empty. In tables, NaN means a missing number."""
    return value is None or value == "" or (isinstance(value, float | Decimal) and math.isnan(value))


def _duration(record: dict[str, Any], folder: Path) -> float | AudioError:
    if "duration" in record:
        return record["duration"]
    try:
        total = audio.probe(folder / record["audio"]).duration
    except (AudioError, MissingDependencyError) as error:
        return error if isinstance(error, AudioError) else AudioError(record["audio"], str(error))
    if total <= 0:
        return AudioError(record["audio"], "has no samples")
    start = record.get("start", 0.0)
    if "end" not in record and start >= total:
        return AudioError(record["audio"], f"the start, {start:g} s, is after the end of the file, {total:g} s")
    return record.get("end", total) - start


def _with_audio(numbered: list[Numbered], name: str) -> list[Numbered]:
    with_audio = [(number, record) for number, record in numbered if "audio" in record]
    if missing := len(numbered) - len(with_audio):
        warnings.warn(f"{name}: {missing} of {len(numbered)} rows have no audio and are skipped", stacklevel=4)
    return with_audio


def _in_splits(numbered: list[Numbered], name: str) -> list[Numbered]:
    """The rows in train, dev and test, with these names as their split."""
    splits = [str(record.get("split", "train")) for _, record in numbered]
    names = {split: split_named(split) for split in splits}
    unknown = [split for split in names if names[split] is None]
    in_splits = [
        (n, r | {"split": names[split]}) for (n, r), split in zip(numbered, splits, strict=True) if names[split]
    ]
    if unknown and not in_splits:
        raise ManifestError(
            f"{name}:{numbered[0][0]}: field 'split': {shorten(unknown[0])} is not one of train, dev, test, and no "
            "other row has one of them; rename the splits, or choose another column in columns"
        )
    if unknown:
        warnings.warn(
            f"{name}: {len(numbered) - len(in_splits)} of {len(numbered)} clips are skipped, because their splits are "
            f"not train, dev or test: {quote_names(unknown)}",
            stacklevel=4,
        )
    return in_splits


def _assign_splits(records: list[dict[str, Any]]) -> None:
    """Assign one in DEV_SHARE speakers to dev and the others to train; files, if there is at most one speaker."""
    keys = [str(record.get("speaker") or record["audio"]) for record in records]
    if len(set(keys)) == 1:
        keys = [str(record["audio"]) for record in records]
    ranks = {key: hashlib.sha256(Path(key).name.encode(errors="surrogateescape")).hexdigest() for key in keys}
    dev = set(sorted(ranks, key=lambda key: ranks[key])[: max(1, len(ranks) // DEV_SHARE)]) if len(ranks) > 1 else ()
    for key, record in zip(keys, records, strict=True):
        record["split"] = "dev" if key in dev else "train"


def split_named(name: str) -> str | None:
    """train, dev or test if `name`, or its part before the first . _ or -, is a name of one of these; else None."""
    name = re.split(r"[._-]", name.strip().lower(), maxsplit=1)[0]
    name = SPLITS.get(name, name)
    return name if name in manifest.SPLITS else None
