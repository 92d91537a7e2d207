"""Fit a quantizer on the frames of a corpus. Features are not written to disk, except the sample in the state file.

    sample (1st pass over the audio) --> solve each codebook --> refine (more passes, if not all fit) --> Quantizer

The state of a run is one file beside the quantizer's file. It is replaced every minute. A killed run resumes from it
and gives a byte-identical quantizer. All codebooks are fitted at once, on the same frames.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from operator import index
from pathlib import Path
from typing import Any

from zoo._version import __version__
from zoo.cluster.quantizer import Quantizer, columns_of
from zoo.cluster.sample import SAMPLE_BYTES
from zoo.data.manifest import Entry
from zoo.errors import CheckpointError, ConfigError
from zoo.units.features import FeatureSource
from zoo.units.resumable_fit import Fit
from zoo.validation import check_range, to_integers


def fit_quantizer(
    entries: Sequence[Entry],
    source: FeatureSource,
    k: int | Sequence[int] = 100,
    *,
    path: str | Path | None = None,
    product: int | None = None,
    seed: int = 0,
    hours: float | None = None,
    sample_bytes: int = SAMPLE_BYTES,
    passes: int = 1,
    workers: int | None = None,
) -> Quantizer:
    """Fit k-means on the frames of entries.

    k: number of units; several numbers give several codebooks. product: split the features into this many slices of
        equal width, with a codebook of k units for each (HuBERT's product k-means has 3 slices of MFCC: cepstra, first
        and second differences).
    path: file for the quantizer. With a path, a killed run can be called again with the same arguments; it resumes and
        gives a byte-identical file. If the file exists already, it is read and returned.
    hours: audio to use, chosen at random with the seed; None uses all. Unreadable entries are skipped; `fit["skipped"]`
        counts them.
    sample_bytes, passes: see KMeans.

    Raises ConfigError for invalid arguments, for fewer frames than units, and if `path` has a quantizer fitted with
    other arguments; CheckpointError if `path` has a quantizer of another source.
    """
    sizes = _sizes(k)
    seed, sample_bytes, passes = to_integers(seed=seed, sample_bytes=sample_bytes, passes=passes)
    if product is not None:
        (product,) = to_integers(product=product)
    hours = None if hours is None else float(hours)
    check_range("hours", hours, 0, above=True)
    check_range("seed", seed, 0)
    if not sizes or min(sizes) < 1 or passes < 0:
        raise ConfigError(f"k {k}, passes {passes}: k must be at least 1, and passes at least 0")
    if product is not None and (len(sizes) > 1 or not 1 <= product <= source.dim):
        raise ConfigError(f"product {product} with k {k}: give one k, and a product of 1 to {source.dim}")
    chosen = _choose(entries, seed, hours)
    request = {
        "k": list(sizes),
        "product": product,
        "seed": seed,
        "hours": hours,
        "sample_bytes": sample_bytes,
        "passes": passes,
        "data": data_fingerprint(chosen),
        "zoo": __version__,
    }
    target = None if path is None else Path(path).expanduser().absolute()
    if target is not None and target.exists():
        return _load_finished(target, source, request)
    fit = Fit(chosen, source, request, columns_of(source.dim, sizes, product), target, workers)
    quantizer = fit.run()
    if target is not None:
        quantizer.save(target)
        fit.remove_state()
    return quantizer


def _sizes(k: int | Sequence[int]) -> tuple[int, ...]:
    """Units of each codebook, as Python integers, because JSON cannot store NumPy integers."""
    try:
        return (index(k),)  # type: ignore[arg-type]  # raises TypeError if k is not an integer
    except TypeError:
        return tuple(map(index, k))  # type: ignore[arg-type]


def data_fingerprint(entries: Sequence[Entry]) -> str:
    """16 hexadecimal digits of a SHA-256 over file names and spans, in order. It does not depend on the folder."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(json.dumps([entry.audio.name, entry.start, entry.end, entry.duration]).encode())
    return digest.hexdigest()[:16]


def _choose(entries: Sequence[Entry], seed: int, hours: float | None) -> list[Entry]:
    """The entries in a random order that depends on the seed, up to `hours` of audio."""
    order = list(entries)
    random.Random(seed).shuffle(order)
    if hours is None:
        return order
    chosen: list[Entry] = []
    seconds_left = hours * 3600
    for entry in order:
        if seconds_left <= 0:
            break
        chosen.append(entry)
        seconds_left -= entry.duration
    return chosen


def _load_finished(path: Path, source: FeatureSource, request: dict[str, Any]) -> Quantizer:
    quantizer = Quantizer.load(path)
    try:
        source.check(dict(quantizer.source))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}; or remove this file and the labels made with it") from None
    changed = [
        f"{key} {quantizer.fit.get(key)!r}, now {value!r}"
        for key, value in request.items()
        if key != "zoo" and quantizer.fit.get(key) != value
    ]
    if changed:
        raise ConfigError(
            f"{path}: was fitted with other arguments ({'; '.join(changed)}); choose another path, or remove the file"
        )
    return quantizer
