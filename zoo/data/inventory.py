"""Describe a source of audio: hours, splits and label values."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from zoo.data import manifest, sources
from zoo.data.manifest import Entry

_MAX_LISTED = 40  # a column with more different values is counted, not listed


def describe(source: Path | str) -> dict[str, Any]:
    """Clips and hours per split, the values of every label column, and the content of corpus.json if there is one.

    source: as for `zoo.data.sources.open`. The result has JSON types only. For a column with more than 40 different
    values, only their number is given. Raises as `open` does.
    """
    path = Path(source)
    entries = sources.open(source)
    about = (path if path.is_dir() else path.parent) / "corpus.json"
    result: dict[str, Any] = {"source": str(source)}
    if about.exists():
        result |= json.loads(about.read_text(encoding="utf-8"))
    result |= {"clips": len(entries), "hours": _hours(entries)}
    result["splits"] = {}
    for split in manifest.SPLITS:
        of_split = [entry for entry in entries if entry.split == split]
        speakers = {entry.speaker for entry in of_split if entry.speaker}
        result["splits"][split] = {"clips": len(of_split), "hours": _hours(of_split), "speakers": len(speakers)}
    texts = [entry.text for entry in entries if entry.text]
    result["with_text"] = len(texts)
    result["with_captions"] = sum(bool(entry.captions) for entry in entries)
    result["words"] = len({word.strip('.,;:!?"«»„“¿¡') for text in texts for word in text.lower().split()})
    result["languages"] = _inventory([entry.lang for entry in entries])
    result["phones"] = _inventory([symbol for entry in entries for *_, symbol in entry.phones])
    columns = sorted({key for entry in entries for key in entry.labels})
    result["labels"] = {column: _inventory([entry.labels.get(column) for entry in entries]) for column in columns}
    return result


def _hours(entries: list[Entry]) -> float:
    return round(sum(entry.duration for entry in entries) / 3600, 4)


def _inventory(values: list[Any]) -> dict[str, int] | int:
    counts = Counter(str(value) for value in values if value is not None)
    return dict(counts.most_common()) if len(counts) <= _MAX_LISTED else len(counts)
