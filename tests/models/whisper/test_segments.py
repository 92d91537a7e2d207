"""Tokens -> segments, with expected values computed by hand."""

from __future__ import annotations

import pytest

from zoo.models.whisper.segments import TokenSegment, split, split_all

Z = 100  # the first timestamp

CASES = [
    # tokens, segments as (start, end), seconds done, whether the text ends with a single timestamp
    ([Z, 1, 2, Z + 100], [(0.0, 2.0)], 10.0, True),
    ([Z, 1, Z + 100, Z + 100, 2, Z + 250], [(0.0, 2.0), (2.0, 5.0)], 10.0, True),
    ([Z, 1, Z + 100, Z + 100, 2, Z + 250, Z + 250], [(0.0, 2.0), (2.0, 5.0)], 5.0, False),
    ([Z, 1, Z + 100, Z + 100, 2, 3], [(0.0, 2.0)], 2.0, False),
    ([Z + 5, 1, Z + 100, Z + 150, 2], [(0.1, 2.0)], 2.0, False),
    ([Z, 1, 2], [(0.0, 10.0)], 10.0, False),
    ([Z + 25, 1, 2], [(0.0, 10.0)], 10.0, False),  # the first timestamp of the text is not its end
    ([7, Z + 25, 1, 2], [(0.0, 10.0)], 10.0, False),
    ([1, 2], [(0.0, 10.0)], 10.0, False),
    ([], [(0.0, 10.0)], 10.0, False),
    ([7, 1, Z + 100, Z + 100], [(0.0, 2.0)], 2.0, False),
]


@pytest.mark.parametrize(("tokens", "times", "done", "closed"), CASES)
def test_split(tokens: list[int], times: list[tuple[float, float]], done: float, closed: bool) -> None:
    cut = split(tokens, Z, 10.0)
    assert [t for s in cut.segments for t in (s.start, s.end)] == pytest.approx([t for pair in times for t in pair])
    assert (cut.done, cut.closed) == (pytest.approx(done), closed)


def test_split_all_loses_nothing() -> None:
    for tokens, _, _, _ in CASES:
        segments = split_all(tokens, Z, 10.0).segments
        words = [t for t in tokens if t < Z]
        assert [t for s in segments for t in s.tokens if t < Z] == words
        assert all(0 <= s.start <= s.end <= 10.0 for s in segments)
    assert split_all([Z, 1, Z + 100, Z + 150, 2], Z, 10.0).segments[-1] == TokenSegment([Z + 150, 2], 3.0, 10.0)
    assert split_all([Z, 1, Z + 600, Z + 600, 2], Z, 10.0).segments[-1] == TokenSegment([Z + 600, 2], 12.0, 12.0)
