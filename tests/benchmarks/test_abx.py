"""ABX: against plain loops over all triples, and as a task on tones."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from tone_tasks import evaluate, only

from zoo.benchmarks import abx, abx_score
from zoo.benchmarks.abx_score import Token
from zoo.benchmarks.items import EvalItem
from zoo.benchmarks.suite import SuiteTask
from zoo.data import manifest
from zoo.data.manifest import Entry
from zoo.errors import ConfigError


def plain_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Dynamic time warping over angles, then the path from its end, as fastabx 0.9 (csrc/dtw.cpp) does it."""
    angle = [[math.acos(np.clip(x @ y / math.sqrt((x @ x) * (y @ y)), -1, 1)) / math.pi for y in b] for x in a]
    cost = np.full((len(a), len(b)), math.inf)
    for i in range(len(a)):
        for j in range(len(b)):
            before = [cost[i - 1, j]] if i else []
            before += [cost[i, j - 1]] if j else []
            before += [cost[i - 1, j - 1]] if i and j else []
            cost[i, j] = angle[i][j] + min(before, default=0.0)
    i, j, length = len(a) - 1, len(b) - 1, 1
    while i > 0 and j > 0:
        up, left, diagonal = cost[i - 1, j], cost[i, j - 1], cost[i - 1, j - 1]
        if diagonal <= left and diagonal <= up:
            i, j = i - 1, j - 1
        elif left <= up:
            j -= 1
        else:
            i -= 1
        length += 1
    return float(cost[-1, -1] / (length + i + j))


def plain_abx(tokens: list[Token], frames: list[np.ndarray], across: bool) -> float:
    """Every triple; then means over contexts and speakers of X, over speakers, over pairs of phones."""
    cells = defaultdict(list)
    numbers = range(len(tokens))
    for a in numbers:
        for b in numbers:
            for x in numbers:
                ta, tb, tx = tokens[a], tokens[b], tokens[x]
                fits = ta.phone == tx.phone != tb.phone and ta.context == tb.context == tx.context and a != x
                speakers = ta.speaker == tb.speaker and (tx.speaker != ta.speaker) == across
                if fits and speakers:
                    far, near = plain_distance(frames[x], frames[a]), plain_distance(frames[x], frames[b])
                    error = 1.0 if far > near else 0.5 if far == near else 0.0
                    cells[ta.phone, tb.phone, ta.speaker, ta.context, tx.speaker].append(error)
    means = {key: float(np.mean(errors)) for key, errors in cells.items()}
    for size in (3, 2) if tokens[0].context else (2,):
        joined = defaultdict(list)
        for key, error in means.items():
            joined[key[:size]].append(error)
        means = {key: float(np.mean(errors)) for key, errors in joined.items()}
    return float(np.mean(list(means.values())))


def random_tokens(contexts: int, seed: int = 0, count: int = 36) -> tuple[list[Token], list[np.ndarray], np.ndarray]:
    """Tokens of three phones and three speakers with 1 to 5 random frames, in eight clips."""
    rng = np.random.default_rng(seed)
    tokens, frames = [], []
    centers = rng.normal(size=(3, 6))
    for number in range(count):
        phone = int(rng.integers(3))
        context = (f"c{rng.integers(contexts)}", "d") if contexts else ()
        tokens.append(Token("abc"[phone], f"s{number % 3}", context, number % 8, 0.0, 1.0))
        frames.append(centers[phone] + 1.5 * rng.normal(size=(int(rng.integers(1, 6)), 6)))
    return tokens, frames, np.array([token.clip for token in tokens])


@pytest.mark.parametrize("across", [False, True], ids=["within", "across"])
@pytest.mark.parametrize("contexts", [0, 2])
def test_abx_is_that_of_plain_loops(contexts: int, across: bool) -> None:
    tokens, frames, groups = random_tokens(contexts)
    found = abx_score.cells(tokens, frames, groups, across=across)
    assert found.error() == pytest.approx(plain_abx(tokens, frames, across), abs=1e-6)
    assert 0.05 < found.error() < 0.5 and len(found.errors) > 6


@pytest.mark.parametrize("across", [False, True], ids=["within", "across"])
def test_the_error_without_a_group_is_that_of_the_other_tokens(across: bool) -> None:
    tokens, frames, groups = random_tokens(contexts=2, seed=1)
    found = abx_score.cells(tokens, frames, groups, across=across)
    for group in (0, 5):
        kept = np.flatnonzero(groups != group)
        others = abx_score.cells([tokens[i] for i in kept], [frames[i] for i in kept], groups[kept], across=across)
        assert found.error_without(group) == pytest.approx(others.error(), abs=1e-12)
    assert found.error_without(99) == found.error()


@pytest.mark.parametrize("seed", range(5))
def test_warped_distances_are_those_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = [rng.normal(size=(int(n), 4)) for n in rng.integers(1, 8, 5)]
    second = [rng.normal(size=(int(n), 4)) for n in rng.integers(1, 8, 70)]
    found = abx_score._distances([abx_score._unit(a) for a in first], [abx_score._unit(b) for b in second])
    expected = [[plain_distance(a, b) for b in second] for a in first]
    assert found == pytest.approx(np.array(expected), abs=1e-9)


def test_frames_that_never_differ_are_half_an_error() -> None:
    tokens, frames, groups = random_tokens(contexts=0)
    same = [np.ones((len(each), 3)) for each in frames]
    assert abx_score.cells(tokens, same, groups, across=False).error() == 0.5


def test_few_speakers_of_x_are_drawn() -> None:
    tokens, frames, groups = random_tokens(contexts=0, count=60)
    spread = [Token(t.phone, f"s{i % 6}", (), t.clip, 0.0, 1.0) for i, t in enumerate(tokens)]
    every, some = (abx_score.cells(spread, frames, groups, across=True, others=n) for n in (5, 2))
    assert len(some.errors) < len(every.errors) < 6 * 5 * 6 + 1


# Tokens


def spoken(*phones: tuple[float, float, str]) -> EvalItem:
    return EvalItem(Entry(Path("a.wav"), 9.0, "test", speaker="s", phones=list(phones)), "", "s", "a")


def test_tokens_have_neighbors_that_touch_and_speak() -> None:
    item = spoken((0, 1, "pau"), (1, 2, "a"), (2, 3, "b"), (3, 4, "c"), (4, 5, "d"), (5.5, 6, "e"), (6, 7, "f"))
    triphones = abx.choose_tokens([item], "triphone", 10)
    assert [(t.phone, t.context, t.start, t.end) for t in triphones] == [
        ("b", ("a", "c"), 1, 4),
        ("c", ("b", "d"), 2, 5),
    ]
    phones = abx.choose_tokens([item], "phone", 10)
    assert [(t.phone, t.context, t.start, t.end) for t in phones] == [("b", ("a", "c"), 2, 3), ("c", ("b", "d"), 3, 4)]
    assert [t.phone for t in abx.choose_tokens([item], "any", 10)] == list("abcdef")


def test_the_number_of_tokens_is_limited() -> None:
    items = [spoken((0, 1, "a"), (1, 2, "b"), (2, 3, "a")) for _ in range(20)]
    tokens = abx.choose_tokens(items, "any", 7)
    assert [token.phone for token in tokens] == ["a"] * 7 + ["b"] * 7
    assert abx.choose_tokens(items, "any", 7) == tokens


def test_frames_of_a_token() -> None:
    token = Token("a", "s", (), 0, 1.0, 1.1)
    assert abx.span(token, 100, 0.01, 50.0) == slice(50, 55), "centers at 1.01 ... 1.09"
    assert abx.span(token, 53, 0.01, 50.0) == slice(50, 53)
    assert abx.span(token, 40, 0.01, 50.0) == slice(39, 40), "the clip has no frame there: the last one"
    assert abx.span(Token("a", "s", (), 0, 0.95, 0.96), 100, 0.02, 25.0) == slice(23, 24), "the nearest to 0.955"


# Task


def cut_tones(corpus: Path) -> None:
    """Three phones for each tone: the label, high or low, between two others that are always the same."""
    entries = manifest.read(corpus)
    for entry in entries:
        third = entry.duration / 3
        symbol = entry.phones[0][2]
        entry.phones = [(0.0, third, "x"), (third, 2 * third, symbol), (2 * third, entry.duration, "x")]
    manifest.write(corpus, entries)


@pytest.mark.parametrize("speakers", ["within", "across"])
def test_the_task_on_tones(corpus: Path, tmp_path: Path, speakers: str) -> None:
    cut_tones(corpus)
    task = SuiteTask("phones", kind="abx", options={"speakers": speakers})
    record = only(evaluate(corpus, tmp_path / "out", task, models=["logmel"]))
    assert record.status == "ok", record.reason
    assert record.metric == f"ABX error, {speakers} speakers" and record.lower_is_better
    assert record.score is not None and record.score < 0.2
    assert record.details["tokens"] == 12 and record.details["cells"] > 0


def test_two_phones_are_needed(corpus: Path, tmp_path: Path) -> None:
    task = SuiteTask("phones", kind="abx")
    record = only(evaluate(corpus, tmp_path / "out", task, models=["mfcc"]))
    assert record.status == "skipped" and "no two phones to compare" in record.reason, "tones have one phone each"


def test_options_of_abx_are_checked(corpus: Path, tmp_path: Path) -> None:
    for options, message in (({"speakers": "both"}, "within, across"), ({"context": "word"}, "triphone, phone, any")):
        with pytest.raises(ConfigError, match=message):
            evaluate(corpus, tmp_path / "out", SuiteTask("phones", kind="abx", options=options))
