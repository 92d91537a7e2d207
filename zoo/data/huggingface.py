"""Hugging Face audio data sets: their audio is written to files in the cache, then decoded like any other file."""

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
from zoo.errors import ConfigError, MissingDependencyError, install
from zoo.io.cache import cache_folder
from zoo.io.text import quote_names

_FORM = 2  # increase it if the same data set gives other entries than before, so that old cached manifests are not used


def read(name: str, columns: Mapping[str, str] | None = None) -> list[Entry]:
    """Entries of "owner/name", "owner/name@revision:config" or a folder saved by `datasets`.

    Audio inside the data set is written once to the cache (ZOO_CACHE), together with a manifest.

    Splits other than train, dev and test are skipped with a warning. If there are only such splits, they are joined as
    if the data set had no splits. Rows without audio are skipped with a warning.

    Raises MissingDependencyError without the package `datasets`, ConfigError for a data set that cannot be opened or
    has no audio column, ManifestError for an empty one.
    """
    splits = _open(name)
    column = _audio_column(name, splits, columns)
    marks = [f"{split} {data._fingerprint}" for split, data in sorted(splits.items())]
    key = (_FORM, name, column, sorted((columns or {}).items()), marks)
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    folder = cache_folder("datasets", digest)
    if (folder / "manifest.jsonl").is_file():
        return manifest.read(folder / "manifest.jsonl")
    columns = {**(columns or {}), "audio": column}
    splits, with_split = (splits, False) if "split" in columns else _choose_splits(f"hf:{name}", splits)
    rows = enumerate(_rows(splits, column, folder, with_split))
    manifest.write(folder / "manifest.jsonl", tables.from_records(rows, folder / "rows", columns, f"hf:{name}"))
    return manifest.read(folder / "manifest.jsonl")


def _open(name: str) -> dict[str, Any]:
    """split -> data set with undecoded audio."""
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError(f"Hugging Face data sets need: {install('datasets')}") from None
    path, _, config = os.path.expanduser(name).partition(":")  # noqa: PTH111 (a name on the hub stays as it is)
    repository, _, revision = path.partition("@")
    pinned = {"revision": revision} if revision else {}
    try:
        if Path(path).is_dir():
            loaded = datasets.load_from_disk(path)
        else:
            loaded = datasets.load_dataset(repository, config or None, **pinned)
    except Exception as error:  # the package raises many types
        raise ConfigError(f"hf:{name}: `datasets` cannot open it ({error})") from error
    splits = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    undecoded = datasets.Audio(decode=False)
    for split, data in splits.items():
        for column, feature in data.features.items():
            if isinstance(feature, datasets.Audio):
                splits[split] = splits[split].cast_column(column, undecoded)
    return splits


def _choose_splits(name: str, splits: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The splits to read, and whether entries get the split names: a single split "train" has no dev set, and other
    names, such as languages, are not splits.
    """
    usable = {split: data for split, data in splits.items() if tables.split_named(split)}
    others = [split for split in splits if split not in usable]
    if usable and others:
        warnings.warn(f"{name}: skipped splits that are not train, dev or test: {quote_names(others)}", stacklevel=3)
    elif len(others) > 1:
        warnings.warn(f"{name}: no split is train, dev or test; {quote_names(others)} are joined", stacklevel=3)
    has_split_names = len(splits) > 1 or tables.split_named(next(iter(splits))) != "train"
    return usable or splits, bool(usable) and has_split_names


def _rows(splits: Mapping[str, Any], column: str, folder: Path, with_split: bool) -> Iterator[dict[str, Any]]:
    """All rows, with a path in the audio column. with_split: add a column `split`."""
    for split, data in splits.items():
        for number, row in enumerate(data):
            row = {key: _plain(value, data.features[key]) for key, value in row.items()}
            clip = as_file(row[column], folder / split / f"{number:08d}")
            row[column] = clip and os.path.abspath(clip)  # noqa: PTH100 (do not resolve links)
            yield row | {"split": split} if with_split else row


def _audio_column(name: str, splits: Mapping[str, Any], columns: Mapping[str, str] | None) -> str:
    features = next(iter(splits.values())).features
    available = [column for column, feature in features.items() if type(feature).__name__ == "Audio"]
    requested = (columns or {}).get("audio")
    if requested in available or (requested is None and len(available) == 1):
        return requested or available[0]
    raise ConfigError(f"hf:{name}: audio columns are {available or 'none'} of {list(features)}; choose one in columns")


def _plain(value: Any, feature: Any) -> Any:
    """The class name for a class index; any other value unchanged."""
    return feature.int2str(value) if type(feature).__name__ == "ClassLabel" and value is not None else value
