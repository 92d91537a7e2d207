"""Comparison of units and phones of a labeled corpus."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.data.manifest import Entry
from zoo.errors import ManifestError
from zoo.units import fit_quantizer, label_corpus, measure, mfcc39


def test_measure_a_corpus(clips: list[Entry], tmp_path: Path) -> None:
    source = mfcc39(50)
    made = label_corpus(fit_quantizer(clips, source, 6), source, clips, tmp_path / "labels")
    measures = measure(made, clips)
    assert measures.frames == int(made.lengths.sum()) and measures.phones == 2 and measures.units == 6
    assert 0 < measures.pnmi < 1 and 0.5 <= measures.phone_purity <= 1
    one = measure(made, clips, ignore={clips[0].phones[0][2]})
    assert one.phones == 1 and one.frames < measures.frames and one.phone_purity == pytest.approx(1)
    with pytest.raises(ManifestError, match="units of 6 entries, not 5"):
        measure(made, clips[:5])
    with pytest.raises(ManifestError, match="phones"):
        measure(made, [Entry(entry.audio, entry.duration, "train") for entry in clips])
