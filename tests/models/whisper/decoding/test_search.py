"""Greedy search, sampling and beams over a scripted decoder, against plain loops over one row at a time."""

from __future__ import annotations

import pytest
import torch
from fake_rows import FakeIds, FakeRows
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.models.whisper.decoding.beam import beam_search
from zoo.models.whisper.decoding.repetition import SPAN, cut_loop, doubled, loops
from zoo.models.whisper.decoding.rules import Rules
from zoo.models.whisper.decoding.sampling import Hypothesis, _draw, sample, uniform_numbers

IDS = FakeIds()
STEPS = 10


def rules(**options: object) -> Rules:
    return Rules(IDS, IDS.size, **options)  # type: ignore[arg-type]


def log_probabilities(rows: FakeRows, rule: Rules) -> torch.Tensor:
    """Of the next token (R, V), after the rules, computed from whole histories."""
    group = len(rows.histories) // len(rows.names)
    out = []
    for r, history in enumerate(rows.histories):
        state = rule.begin(1)
        for token in history:
            rule.advance(state, torch.tensor([token]))
        logits = torch.tensor(rows.logits(r, group), dtype=torch.float32)[None]
        rule.apply_(logits, state)
        out.append(logits.log_softmax(1)[0])
    return torch.stack(out)


def greedy_by_hand(name: int, rule: Rules, limit: int) -> Hypothesis:
    rows, tokens, score = FakeRows([name], IDS), [], 0.0
    for _ in range(limit):
        best, token = log_probabilities(rows, rule)[0].max(0)
        score += float(best)
        if int(token) == IDS.eot:
            break
        tokens.append(int(token))
        rows.histories = [tuple(tokens)]
    return Hypothesis(tokens, score)


def beam_by_hand(name: int, rule: Rules, limit: int, size: int, patience: float) -> dict[tuple[int, ...], float]:
    """Finished sequences and their scores: the published loop, with dictionaries."""
    beams: dict[tuple[int, ...], float] = {(): 0.0}
    finished: dict[tuple[int, ...], float] = {}
    candidates = max(1, round(size * patience))
    for _ in range(limit):
        scores: dict[tuple[int, ...], float] = {}
        for tokens, score in beams.items():
            rows = FakeRows([name], IDS)
            rows.histories = [tokens]
            for value, token in zip(*log_probabilities(rows, rule)[0].topk(size + 1), strict=True):
                scores[(*tokens, int(token))] = score + float(value)
        beams, ended = {}, {}
        for tokens in sorted(scores, key=lambda t: -scores[t]):
            if tokens[-1] == IDS.eot:
                ended[tokens[:-1]] = scores[tokens]
            else:
                beams[tokens] = scores[tokens]
                if len(beams) == size:
                    break
        for tokens, score in ended.items():
            if len(finished) < candidates and score > float("-inf"):
                finished[tokens] = score
        if len(finished) >= candidates:
            return finished
    for tokens, score in beams.items():
        if len(finished) < size:
            finished.setdefault(tokens, score)
    return finished


def run(names: list[int], rule: Rules, limits: list[int], **options: object) -> list[list[Hypothesis]]:
    rows = FakeRows(names, IDS)
    logits, _ = rows.begin()
    search = beam_search if "beam_size" in options else sample
    return search(rows, logits, rule, torch.tensor(limits), **options)  # type: ignore[arg-type]


windows = st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, STEPS)), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(windows, st.booleans())
def test_greedy_search_is_that_of_each_window_alone(chosen: list[tuple[int, int]], timestamps: bool) -> None:
    rule = rules(timestamps=timestamps)
    names, limits = [n for n, _ in chosen], [limit for _, limit in chosen]
    for (name, limit), (found,) in zip(chosen, run(names, rule, limits), strict=True):
        expected = greedy_by_hand(name, rule, limit)
        assert found.tokens == expected.tokens
        assert found.score == pytest.approx(expected.score, abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(windows, st.integers(2, 5), st.sampled_from([0.5, 1.0, 2.0]), st.booleans())
def test_beam_search_is_the_published_one(
    chosen: list[tuple[int, int]], size: int, patience: float, timestamps: bool
) -> None:
    rule = rules(timestamps=timestamps)
    names, limits = [n for n, _ in chosen], [limit for _, limit in chosen]
    results = run(names, rule, limits, beam_size=size, patience=patience)
    for (name, limit), found in zip(chosen, results, strict=True):
        expected = beam_by_hand(name, rule, limit, size, patience)
        finite = {t: s for t, s in expected.items() if s > float("-inf")}
        ours = {tuple(h.tokens): h.score for h in found if h.score > float("-inf")}
        assert ours == pytest.approx(finite, abs=1e-3)


def test_ended_windows_are_dropped_from_the_batch() -> None:
    rows = FakeRows(list(range(40)), IDS)
    logits, _ = rows.begin()
    found = sample(rows, logits, rules(), torch.full((40,), 30))
    work = sum(len(h.tokens) for (h,) in found)
    assert rows.rows_stepped < 1.5 * work
    assert 40 * max(len(h.tokens) for (h,) in found) > 2 * work  # the work without dropping


@given(windows, st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_samples_do_not_depend_on_the_batch(chosen: list[tuple[int, int]], group: int) -> None:
    names, limits = [n for n, _ in chosen], [limit for _, limit in chosen]
    together = run(names, rules(), limits, temperature=0.7, uniform=uniform_numbers(names, group, max(limits), 5))
    for (name, limit), found in zip(chosen, together, strict=True):
        uniform = uniform_numbers([name], group, max(limits), 5)
        (alone,) = run([name], rules(), [limit], temperature=0.7, uniform=uniform)
        assert [h.tokens for h in alone] == [h.tokens for h in found]
        assert len(found) == group


def test_numbers_depend_on_seed_and_start_only() -> None:
    numbers = uniform_numbers([7, 9], 2, 5, seed=1)
    assert torch.equal(numbers[1], uniform_numbers([9], 2, 5, seed=1)[0])
    assert not torch.equal(numbers[1], uniform_numbers([9], 2, 5, seed=2)[0])
    assert not torch.equal(numbers[0], numbers[1]) and numbers.min() >= 0 and numbers.max() < 1


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([0.0, 1.0, float("-inf"), 2.0])
    uniform = (torch.arange(3000) + 0.5) / 3000
    drawn = _draw(logits.expand(3000, -1), 0.5, uniform).bincount(minlength=4) / 3000
    torch.testing.assert_close(drawn, (logits / 0.5).softmax(0), atol=1e-3, rtol=0)
    assert _draw(logits[None], 0.5, torch.tensor([0.0])).item() == 0


PHRASES = [([7], True), ([1, 2, 3], True), (list(range(12)), True), (list(range(13)), False)]


@pytest.mark.parametrize(("phrase", "is_loop"), PHRASES)
def test_a_loop_is_a_repeated_phrase(phrase: list[int], is_loop: bool) -> None:
    tokens = [50, 51, *(phrase * 60)[: SPAN + 5]]
    assert bool(loops(torch.tensor([tokens]), 100)[0]) == is_loop
    assert cut_loop(tokens, 100) == ([50, 51, *phrase] if is_loop else tokens)


def test_a_phrase_with_growing_timestamps_is_a_loop_too() -> None:
    tokens = [t for i in range(20) for t in (100 + i, 5, 6, 101 + i)]
    assert bool(loops(torch.tensor(tokens), 100)) and len(cut_loop(tokens, 100)) == 4
    assert not loops(torch.tensor(tokens[: SPAN - 1]), 100)
    assert cut_loop(tokens[: SPAN - 1], 100) == tokens[: SPAN - 1]


REPEATED = [
    ("Dial again. Dial again.", True),
    ("It is: check the number and dial again, check the number, and dial again!", True),
    ("17, 17.", True),
    ("你好。你好。", True),
    ("Dial again. Please dial again.", False),
    ("Very, very good.", False),
    ("", False),
]


@pytest.mark.parametrize(("text", "twice"), REPEATED)
def test_a_text_that_ends_with_the_same_twice(text: str, twice: bool) -> None:
    assert doubled(text) == twice


def test_a_loop_ends_its_window_alone() -> None:
    class Looping(FakeRows):
        def logits(self, row: int, group: int):  # type: ignore[no-untyped-def]
            values = super().logits(row, group)
            if self.names[row // group] == 1:
                values[4] = 99.0
            return values

    rows = Looping([0, 1, 2], IDS)
    logits, _ = rows.begin()
    rule = rules(timestamps=False)
    found = sample(rows, logits, rule, torch.full((3,), 200), repetition_stop=True)
    assert [h.looped for (h,) in found] == [False, True, False]
    assert found[1][0].tokens == [4] * SPAN and rows.steps < SPAN
