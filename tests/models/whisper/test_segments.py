"""From tokens to segments, by hand; the walk through a recording."""

from __future__ import annotations

import pytest

from zoo.models.whisper.segments import TokenSegment, split, split_all

Z = 100  # the first timestamp

CASES = [
    # tokens, segments as (start, end), seconds done, whether the model said that no speech follows
    ([Z, 1, 2, Z + 100], [(0.0, 2.0)], 10.0, True),
    ([Z, 1, Z + 100, Z + 100, 2, Z + 250], [(0.0, 2.0), (2.0, 5.0)], 10.0, True),
    ([Z, 1, Z + 100, Z + 100, 2, Z + 250, Z + 250], [(0.0, 2.0), (2.0, 5.0)], 5.0, False),
    ([Z, 1, Z + 100, Z + 100, 2, 3], [(0.0, 2.0)], 2.0, False),
    ([Z + 5, 1, Z + 100, Z + 150, 2], [(0.1, 2.0)], 2.0, False),
    ([Z, 1, 2], [(0.0, 10.0)], 10.0, False),
    ([Z + 25, 1, 2], [(0.0, 10.0)], 10.0, False),  # a time that opens the text does not end it
    ([7, Z + 25, 1, 2], [(0.0, 10.0)], 10.0, False),
    ([1, 2], [(0.0, 10.0)], 10.0, False),
    ([], [(0.0, 10.0)], 10.0, False),
    ([7, 1, Z + 100, Z + 100], [(0.0, 2.0)], 2.0, False),
]


@pytest.mark.parametrize(("tokens", "times", "done", "closed"), CASES)
def test_split(tokens: list[int], times: list[tuple[float, float]], done: float, closed: bool) -> None:
    cut = split(tokens, Z, 10.0)
    assert [t for p in cut.pieces for t in (p.start, p.end)] == pytest.approx([t for pair in times for t in pair])
    assert (cut.done, cut.closed) == (pytest.approx(done), closed)


def test_split_all_loses_nothing() -> None:
    for tokens, _, _, _ in CASES:
        pieces = split_all(tokens, Z, 10.0).pieces
        words = [t for t in tokens if t < Z]
        assert [t for p in pieces for t in p.tokens if t < Z] == words
        assert all(0 <= p.start <= p.end <= 10.0 for p in pieces)
    assert split_all([Z, 1, Z + 100, Z + 150, 2], Z, 10.0).pieces[-1] == TokenSegment([Z + 150, 2], 3.0, 10.0)
    assert split_all([Z, 1, Z + 600, Z + 600, 2], Z, 10.0).pieces[-1] == TokenSegment([Z + 600, 2], 12.0, 12.0)
