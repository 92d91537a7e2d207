"""Units of a labeled corpus against its phones."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.data.manifest import Entry
from zoo.errors import ManifestError
from zoo.units import fit_quantizer, label_corpus, measure, mfcc39


def test_measure_a_corpus(clips: list[Entry], tmp_path: Path) -> None:
    source = mfcc39(50)
    made = label_corpus(fit_quantizer(clips, source, 6), source, clips, tmp_path / "labels")
    found = measure(made, clips)
    assert found.frames == int(made.lengths.sum()) and found.phones == 2 and found.units == 6
    assert 0 < found.pnmi < 1 and 0.5 <= found.phone_purity <= 1
    one = measure(made, clips, ignore={clips[0].phones[0][2]})
    assert one.phones == 1 and one.frames < found.frames and one.phone_purity == pytest.approx(1)
    with pytest.raises(ManifestError, match="units of 6 entries, not 5"):
        measure(made, clips[:5])
    with pytest.raises(ManifestError, match="phones"):
        measure(made, [Entry(entry.audio, entry.duration, "train") for entry in clips])
