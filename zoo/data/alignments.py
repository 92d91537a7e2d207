"""Phone alignments from other tools: read Praat TextGrid and NIST CTM as the `phones` of manifest entries."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from zoo.data.manifest import Entry, Phone
from zoo.errors import ManifestError
from zoo.io.text import shorten

SILENCE = "sil"  # symbol for an interval without text
SILENCES = frozenset((SILENCE, "SIL", "sp", "SP", "pau", "h#", "epi"))  # symbols for pauses in common alignments
_STRING = re.compile(r'"((?:[^"]|"")*)"')
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TOKEN = re.compile(rf'"(?:[^"]|"")*"|<exists>|(?<![\w\[]){_NUMBER}(?![\w\]])')


def read_textgrid(path: str | Path, tier: str = "phones") -> list[Phone]:
    """One interval tier of a Praat TextGrid, long or short form, UTF-8 or UTF-16: [(start, end, symbol), ...].

    Raises ManifestError for a file that is not a TextGrid or has no such tier.
    """
    path = Path(path)
    tiers = _tiers(path, _TOKEN.findall(_text(path)))
    if tier not in tiers:
        raise ManifestError(f"{path}: has no interval tier {tier!r}; it has {', '.join(map(repr, tiers)) or 'none'}")
    return tiers[tier]


def read_ctm(path: str | Path) -> dict[str, list[Phone]]:
    """Phones of each recording in a CTM file: lines of `recording channel start duration symbol [confidence]`.

    Raises ManifestError, naming file and line; also for a recording with phones in several channels, because zoo mixes
    channels to mono.
    """
    path = Path(path)
    by_recording: dict[str, list[Phone]] = defaultdict(list)
    channels: dict[str, str] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip() or line.startswith(";;"):
            continue
        fields = line.split()
        try:
            start, duration = float(fields[2]), float(fields[3])
            by_recording[fields[0]].append((start, start + duration, fields[4]))
        except (IndexError, ValueError):
            raise ManifestError(
                f"{path}:{number}: expected `recording channel start duration symbol`, not {shorten(line)}"
            ) from None
        if (channel := channels.setdefault(fields[0], fields[1])) != fields[1]:
            raise ManifestError(
                f"{path}:{number}: {fields[0]} has phones in channels {channel} and {fields[1]}; keep only one of "
                "them, or split the channels into two recordings"
            )
    return {name: sorted(phones) for name, phones in by_recording.items()}


def attach(entries: Sequence[Entry], alignments: str | Path | Mapping[str, list[Phone]]) -> list[Entry]:
    """Entries with the phones of their recordings, matched by file name without extension.

    alignments: phones by name, a CTM file, or a folder of TextGrids (searched recursively). If several recordings have
    the same name, their folder must match too: clips/anna/a01.wav belongs to aligned/anna/a01.TextGrid, or to the name
    "anna/a01". Entries without an alignment do not change.
    Raises ManifestError if no alignment matches, a file cannot be read, or an alignment could belong to several
    recordings.
    """
    by_name = _by_name(alignments)
    matched = _match({entry.audio for entry in entries}, by_name)
    if not matched:
        count, recordings = sum(map(len, by_name.values())), len(entries)
        raise ManifestError(
            f"none of {count} alignments has the name of one of the {recordings} recordings; rename the files, without "
            "regard to extensions"
        )
    return [
        replace(entry, phones=_span(matched[entry.audio], entry)) if entry.audio in matched else entry
        for entry in entries
    ]


_ByName = dict[str, dict[str, list[Phone]]]
"""Name -> folder -> phones. The folder is "" if it is not known."""


def _by_name(alignments: str | Path | Mapping[str, list[Phone]]) -> _ByName:
    by_name: _ByName = defaultdict(dict)
    if isinstance(alignments, str | Path) and Path(alignments).is_dir():
        for grid in sorted(p for p in Path(alignments).rglob("*") if p.suffix.lower() == ".textgrid"):
            if grid.parent.name in by_name[grid.stem]:
                raise ManifestError(f"{grid}: another file has the same name and the same folder name; remove one")
            by_name[grid.stem][grid.parent.name] = read_textgrid(grid)
        return by_name
    alignments = alignments if isinstance(alignments, Mapping) else read_ctm(alignments)
    for name, phones in alignments.items():
        folder, _, stem = name.rpartition("/")
        by_name[stem][folder.rpartition("/")[2]] = phones
    return by_name


def _match(recordings: Collection[Path], by_name: _ByName) -> dict[Path, list[Phone]]:
    """Recording -> phones, for the recordings that have an alignment."""
    same_name: dict[str, list[Path]] = defaultdict(list)
    for audio in sorted(recordings):
        same_name[audio.stem].append(audio)
    matched: dict[Path, list[Phone]] = {}
    for name, paths in same_name.items():
        by_folder = by_name.get(name, {})
        matches = {audio: by_folder[audio.parent.name] for audio in paths if audio.parent.name in by_folder}
        if not matches and len(paths) == len(by_folder) == 1:
            matches = dict(zip(paths, by_folder.values(), strict=True))
        if by_folder and not matches:
            raise ManifestError(
                f"{paths[0]}: {len(paths)} recordings and {len(by_folder)} alignments are named {name}, and their "
                "folders do not match; give the folders the same names"
            )
        matched |= matches
    return matched


def _span(phones: Sequence[Phone], entry: Entry) -> list[Phone]:
    """The phones in the entry's span of the recording, with times from the start of the span."""
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
    except FileNotFoundError:
        raise ManifestError(f"{path}: there is no such file; check the path of the alignment") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read as text ({error})") from None


def _tiers(path: Path, tokens: list[str]) -> dict[str, list[Phone]]:
    """Interval tiers by name. The long and the short form have the same values in the same order; the long form adds
    names.

    "ooTextFile" "TextGrid" xmin xmax <exists> size, then for each tier: class name xmin xmax size and its items.
    """
    tiers: dict[str, list[Phone]] = {}
    try:
        if tokens[:2] != ['"ooTextFile"', '"TextGrid"']:
            raise ValueError("not a TextGrid")
        position = tokens.index("<exists>") + 2
        for _ in range(int(tokens[position - 1])):
            kind, name, count = tokens[position], tokens[position + 1], int(tokens[position + 4])
            width = 3 if kind == '"IntervalTier"' else 2  # a point has a time and a mark
            items = tokens[position + 5 : position + 5 + count * width]
            if len(items) < count * width:
                raise ValueError("it ends early")
            if width == 3:
                tiers[_unquoted(name)] = [
                    (float(items[i]), float(items[i + 1]), _unquoted(items[i + 2]) or SILENCE)
                    for i in range(0, len(items), 3)
                ]
            position += 5 + count * width
    except (ValueError, IndexError) as error:
        raise ManifestError(f"{path}: cannot be read as a TextGrid ({error})") from None
    return tiers


def _unquoted(token: str) -> str:
    match = _STRING.fullmatch(token)
    if match is None:
        raise ValueError(f"expected a string, not {token}")
    return match[1].replace('""', '"').strip()
