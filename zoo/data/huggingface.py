"""Hugging Face audio data sets: their bytes as files in the cache, decoded by us like any other."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo.data import manifest, tables
from zoo.data.manifest import Entry
from zoo.data.rows import as_file
from zoo.errors import ConfigError, MissingDependencyError
from zoo.io.cache import cache_folder

_FORM = 2  # one more whenever the same set gives other entries than before, so that no older manifest is used


def read(name: str, columns: Mapping[str, str] | None = None) -> list[Entry]:
    """Entries of "owner/name", "owner/name:config" or a folder that `datasets` saved.

    Audio that is not in a file of its own is written once to the cache (ZOO_CACHE), beside a manifest.

    Splits whose names are none of train, dev and test are left out with a warning, or, where no name is one, taken
    together as if the set had no splits. Rows without audio are left out with a warning.

    Raises MissingDependencyError without the package, ConfigError for a set that cannot be opened or has no column of
    audio, ManifestError for one that has nothing in it.
    """
    splits = _open(name)
    column = _audio_column(name, splits, columns)
    marks = [f"{split} {data._fingerprint}" for split, data in sorted(splits.items())]
    made_from = (_FORM, name, column, sorted((columns or {}).items()), marks)
    digest = hashlib.sha256(repr(made_from).encode()).hexdigest()[:16]
    folder = cache_folder("datasets", digest)
    if (folder / "manifest.jsonl").is_file():
        return manifest.read(folder / "manifest.jsonl")
    columns = {**(columns or {}), "audio": column}
    splits, told = (splits, False) if "split" in columns else _known(f"hf:{name}", splits)
    rows = enumerate(_rows(splits, column, folder, told))
    manifest.write(folder / "manifest.jsonl", tables.from_records(rows, folder / "rows", columns, f"hf:{name}"))
    return manifest.read(folder / "manifest.jsonl")


def _open(name: str) -> dict[str, Any]:
    """split -> data set with undecoded audio."""
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError("Hugging Face data sets need: pip install 'audiozoo[datasets]'") from None
    path, _, config = os.path.expanduser(name).partition(":")  # noqa: PTH111 (a name on the hub stays as it is)
    try:
        found = datasets.load_from_disk(path) if Path(path).is_dir() else datasets.load_dataset(path, config or None)
    except Exception as error:  # the package raises many kinds
        raise ConfigError(f"hf:{name}: `datasets` cannot open it ({error})") from error
    splits = dict(found) if isinstance(found, datasets.DatasetDict) else {"train": found}
    undecoded = datasets.Audio(decode=False)
    for split, data in splits.items():
        for column, feature in data.features.items():
            if isinstance(feature, datasets.Audio):
                splits[split] = splits[split].cast_column(column, undecoded)
    return splits


def _known(name: str, splits: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The splits to read, and whether their names say what they are for: "train" alone does not, nor do languages."""
    known = {split: data for split, data in splits.items() if tables.split_named(split)}
    others = [split for split in splits if split not in known]
    if known and others:
        warnings.warn(
            f"{name}: left out are splits that are none of train, dev, test: {tables.listed(others)}", stacklevel=3
        )
    elif len(others) > 1:
        warnings.warn(f"{name}: no split is train, dev or test; {tables.listed(others)} are taken as one", stacklevel=3)
    said = len(splits) > 1 or tables.split_named(next(iter(splits))) != "train"
    return known or splits, bool(known) and said


def _rows(splits: Mapping[str, Any], column: str, folder: Path, told: bool) -> Iterator[dict[str, Any]]:
    """Every row, with the path of a file in the column of audio; told: with the name of its split, too."""
    for split, data in splits.items():
        for number, row in enumerate(data):
            row = {key: _plain(value, data.features[key]) for key, value in row.items()}
            clip = as_file(row[column], folder / split / f"{number:08d}")
            row[column] = clip and os.path.abspath(clip)  # noqa: PTH100 (a link is a file of its own)
            yield row | {"split": split} if told else row


def _audio_column(name: str, splits: Mapping[str, Any], columns: Mapping[str, str] | None) -> str:
    features = next(iter(splits.values())).features
    found = [column for column, feature in features.items() if type(feature).__name__ == "Audio"]
    wanted = (columns or {}).get("audio")
    if wanted in found or (wanted is None and len(found) == 1):
        return wanted or found[0]
    raise ConfigError(f"hf:{name}: audio columns are {found or 'none'} of {list(features)}; name one with columns")


def _plain(value: Any, feature: Any) -> Any:
    """The name behind a class number; anything else as it is."""
    return feature.int2str(value) if type(feature).__name__ == "ClassLabel" and value is not None else value
