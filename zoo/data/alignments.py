"""Phone alignments from elsewhere: Praat TextGrid and NIST CTM, as the `phones` of manifest entries."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from zoo.data.manifest import Entry, Phone
from zoo.errors import ManifestError

SILENCE = "sil"  # what an interval without text becomes
SILENCES = frozenset((SILENCE, "SIL", "sp", "SP", "pau", "h#", "epi"))  # what pauses are called in common alignments
_STRING = re.compile(r'"((?:[^"]|"")*)"')
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TOKEN = re.compile(rf'"(?:[^"]|"")*"|<exists>|(?<![\w\[]){_NUMBER}(?![\w\]])')


def read_textgrid(path: str | Path, tier: str = "phones") -> list[Phone]:
    """One interval tier of a Praat TextGrid, long or short form, UTF-8 or UTF-16: [(start, end, symbol), ...].

    Raises ManifestError for a file that is none, or has no such tier.
    """
    path = Path(path)
    tiers = _tiers(path, _TOKEN.findall(_text(path)))
    if tier not in tiers:
        raise ManifestError(f"{path}: has no interval tier {tier!r}; it has {', '.join(map(repr, tiers)) or 'none'}")
    return tiers[tier]


def read_ctm(path: str | Path) -> dict[str, list[Phone]]:
    """Phones of each recording in a CTM file: lines of `recording channel start duration symbol [confidence]`.

    Raises ManifestError naming file and line; for a recording with several channels as well, which zoo hears as one.
    """
    path = Path(path)
    found: dict[str, list[Phone]] = defaultdict(list)
    channels: dict[str, str] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip() or line.startswith(";;"):
            continue
        fields = line.split()
        try:
            start, duration = float(fields[2]), float(fields[3])
            found[fields[0]].append((start, start + duration, fields[4]))
        except (IndexError, ValueError):
            raise ManifestError(
                f"{path}:{number}: `recording channel start duration symbol` was expected, not {line!r}"
            ) from None
        if (channel := channels.setdefault(fields[0], fields[1])) != fields[1]:
            raise ManifestError(
                f"{path}:{number}: {fields[0]} has phones of the channels {channel} and {fields[1]}; keep one of them, "
                "or make a recording of each"
            )
    return {name: sorted(phones) for name, phones in found.items()}


def attach(entries: Sequence[Entry], alignments: str | Path | Mapping[str, list[Phone]]) -> list[Entry]:
    """Entries with the phones of their recordings, looked up by file name without extension.

    alignments: phones by name, a CTM file, or a folder of TextGrids (searched recursively). Where names are alike, the
    folder decides: clips/anna/a01.wav goes with aligned/anna/a01.TextGrid, or what is named "anna/a01". Entries without
    an alignment are as they were. Raises ManifestError where not a single one is found, a file cannot be read, or
    neither name nor folder tells which recording an alignment is of.
    """
    known = _known(alignments)
    chosen = _chosen({entry.audio for entry in entries}, known)
    if not chosen:
        count, recordings = sum(map(len, known.values())), len(entries)
        raise ManifestError(f"none of {count} alignments is named like one of the {recordings} recordings")
    return [
        replace(entry, phones=_span(chosen[entry.audio], entry)) if entry.audio in chosen else entry
        for entry in entries
    ]


_Known = dict[str, dict[str, list[Phone]]]
"""Phones by name and folder, which is "" where no one says."""


def _known(alignments: str | Path | Mapping[str, list[Phone]]) -> _Known:
    known: _Known = defaultdict(dict)
    if isinstance(alignments, str | Path) and Path(alignments).is_dir():
        for grid in sorted(p for p in Path(alignments).rglob("*") if p.suffix.lower() == ".textgrid"):
            if grid.parent.name in known[grid.stem]:
                raise ManifestError(f"{grid}: there is another one of this name, in a folder named alike; remove one")
            known[grid.stem][grid.parent.name] = read_textgrid(grid)
        return known
    named = alignments if isinstance(alignments, Mapping) else read_ctm(alignments)
    for name, phones in named.items():
        folder, _, stem = name.rpartition("/")
        known[stem][folder.rpartition("/")[2]] = phones
    return known


def _chosen(recordings: Collection[Path], known: _Known) -> dict[Path, list[Phone]]:
    """The phones of each recording that has some."""
    named: dict[str, list[Path]] = defaultdict(list)
    for audio in sorted(recordings):
        named[audio.stem].append(audio)
    chosen: dict[Path, list[Phone]] = {}
    for name, alike in named.items():
        there = known.get(name, {})
        found = {audio: there[audio.parent.name] for audio in alike if audio.parent.name in there}
        if not found and len(alike) == len(there) == 1:
            found = dict(zip(alike, there.values(), strict=True))
        if there and not found:
            raise ManifestError(
                f"{alike[0]}: {len(alike)} recordings and {len(there)} alignments are named {name}, and their folders "
                "do not tell which belong together; name the folders alike"
            )
        chosen |= found
    return chosen


def _span(phones: Sequence[Phone], entry: Entry) -> list[Phone]:
    """The phones that lie in the entry's span of the recording, counted from its start."""
    first = entry.start or 0.0
    last = first + entry.duration if entry.end is None else entry.end
    return [
        (max(start, first) - first, min(end, last) - first, symbol)
        for start, end, symbol in phones
        if end > first and start < last
    ]


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read as text ({error})") from None


def _tiers(path: Path, tokens: list[str]) -> dict[str, list[Phone]]:
    """Interval tiers by name. Both forms hold the same values in the same order: the long one adds names to them.

    "ooTextFile" "TextGrid" xmin xmax <exists> size, then of each tier: class name xmin xmax size and its items.
    """
    tiers: dict[str, list[Phone]] = {}
    try:
        if tokens[:2] != ['"ooTextFile"', '"TextGrid"']:
            raise ValueError("not a TextGrid")
        place = tokens.index("<exists>") + 2
        for _ in range(int(tokens[place - 1])):
            kind, name, count = tokens[place], tokens[place + 1], int(tokens[place + 4])
            width = 3 if kind == '"IntervalTier"' else 2  # a point has a time and a mark
            items = tokens[place + 5 : place + 5 + count * width]
            if len(items) < count * width:
                raise ValueError("it ends early")
            if width == 3:
                tiers[_unquoted(name)] = [
                    (float(items[i]), float(items[i + 1]), _unquoted(items[i + 2]) or SILENCE)
                    for i in range(0, len(items), 3)
                ]
            place += 5 + count * width
    except (ValueError, IndexError) as error:
        raise ManifestError(f"{path}: cannot be read as a TextGrid ({error})") from None
    return tiers


def _unquoted(token: str) -> str:
    match = _STRING.fullmatch(token)
    if match is None:
        raise ValueError(f"a string was expected, not {token}")
    return match[1].replace('""', '"').strip()
