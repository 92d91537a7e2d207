from __future__ import annotations

from random import Random

import pytest

pytest.importorskip("midirenderer")
pytest.importorskip("music21")

from zoo.corpora import captions, scores
from zoo.corpora.instruments import INSTRUMENTS
from zoo.errors import MissingDependencyError


def test_scores_belong_to_one_split() -> None:
    names = {split: {path.name for path in scores._paths(split)} for split in ("train", "dev", "test")}
    assert all(len(each) > 100 for each in names.values())
    assert sum(map(len, names.values())) == len(set.union(*names.values()))


@pytest.mark.parametrize("folder", ["bach", "ryansMammoth"])
def test_performance_of_a_score(folder: str) -> None:
    rng = Random(1)
    performed = []
    for path in scores._paths("dev"):
        if path.parent.name == folder and len(performed) < 5:
            performed.append(scores.perform(path, rng))
    pieces = [piece for piece in performed if piece is not None]
    assert pieces
    for piece in pieces:
        assert 20 <= piece.seconds <= 43
        end = piece.bars * piece.meter.bar
        for part in piece.parts:
            assert part.notes
            assert all(0 <= note.start < note.start + note.length <= end + 0.01 for note in part.notes)
        lead = piece.lead
        assert lead.instrument.name in INSTRUMENTS
        scale = {piece.key.tonic, (piece.key.tonic + 7) % 12}
        assert sum(note.pitch % 12 in scale for note in lead.notes) > 0.15 * len(lead.notes)
        for caption in captions.captions(piece, "test", rng):
            assert "A American" not in caption and "a American" not in caption


def test_clips_of_a_score() -> None:
    clips = scores.make("tiny", 0, "test", 0)
    again = scores.make("tiny", 0, "test", 0)
    assert clips
    for one, other in zip(clips, again, strict=True):
        assert (one.wave == other.wave).all()
        assert one.captions == other.captions
        assert one.labels["composer"] in ("Johann Sebastian Bach", "traditional")
        assert str(one.labels["piece"]).startswith(("bach/", "ryansMammoth/"))


def test_missing_music21_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="music21"):
        scores.require()
