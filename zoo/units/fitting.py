"""Fitting a quantizer on the frames of a corpus: no feature is ever written but the sample that a run resumes from.

    sample (1st time through the audio) --> solve each codebook --> refine (once more, if it did not fit) --> Quantizer

The state of a run is one file beside the quantizer's, replaced every minute; with it a killed run goes on where it was,
and ends in the same bytes. All codebooks are fitted at once, from the same frames.
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
    """k-means over the frames of entries.

    k: units, or several numbers for as many codebooks. product: cut the features into so many slices of equal width,
        with a codebook of k units each (HuBERT's product k-means has 3 over MFCC: cepstra, first, second differences).
    path: where the quantizer goes. With it the run is resumable: killed at any moment and called again with the same
        arguments, it ends in the same bytes; once the file is there it is read and returned.
    hours: of audio to use, drawn by the seed; all by default. Unreadable entries are skipped and counted in `fit`.
    sample_bytes, passes: as for KMeans.

    Raises ConfigError for impossible arguments or fewer frames than units, CheckpointError where `path` holds a
    quantizer that was made with other arguments.
    """
    sizes = _sizes(k)
    seed, sample_bytes, passes = to_integers(seed=seed, sample_bytes=sample_bytes, passes=passes)
    if product is not None:
        (product,) = to_integers(product=product)
    hours = None if hours is None else float(hours)
    check_range("hours", hours, 0, above=True)
    check_range("seed", seed, 0)
    if not sizes or min(sizes) < 1 or passes < 0:
        raise ConfigError(f"k {k}, passes {passes}: one unit at least, and no negative number of passes")
    if product is not None and (len(sizes) > 1 or not 1 <= product <= source.dim):
        raise ConfigError(f"product {product} with k {k}: one k, and 1 to {source.dim} slices")
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
        return _finished(target, source, request)
    fit = Fit(chosen, source, request, columns_of(source.dim, sizes, product), target, workers)
    quantizer = fit.run()
    if target is not None:
        quantizer.save(target)
        fit.forget()
    return quantizer


def _sizes(k: int | Sequence[int]) -> tuple[int, ...]:
    """Units of each codebook, as Python's integers: JSON takes none of NumPy's."""
    try:
        return (index(k),)  # type: ignore[arg-type]  # raises for what is no integer
    except TypeError:
        return tuple(map(index, k))  # type: ignore[arg-type]


def data_fingerprint(entries: Sequence[Entry]) -> str:
    """16 hexadecimal digits of a SHA-256 over names and spans, in order; folders may move."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(json.dumps([entry.audio.name, entry.start, entry.end, entry.duration]).encode())
    return digest.hexdigest()[:16]


def _choose(entries: Sequence[Entry], seed: int, hours: float | None) -> list[Entry]:
    """All entries in an order drawn by the seed, up to `hours` of them."""
    order = list(entries)
    random.Random(seed).shuffle(order)
    if hours is None:
        return order
    chosen: list[Entry] = []
    left = hours * 3600
    for entry in order:
        if left <= 0:
            break
        chosen.append(entry)
        left -= entry.duration
    return chosen


def _finished(path: Path, source: FeatureSource, request: dict[str, Any]) -> Quantizer:
    found = Quantizer.load(path)
    try:
        source.check(dict(found.source))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}; or remove it, with the labels beside it") from None
    changed = [
        f"{key} {found.fit.get(key)!r}, now {value!r}"
        for key, value in request.items()
        if key != "zoo" and found.fit.get(key) != value
    ]
    if changed:
        raise ConfigError(
            f"{path}: was fitted with other arguments ({'; '.join(changed)}); choose another path, or remove it"
        )
    return found
