"""The rules for the next token: by hand, against transformers, and as properties."""

from __future__ import annotations

import pytest
import torch
from fake_rows import FakeIds
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GenerationConfig
from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor

from zoo.models.whisper.decoding.rules import Rules, State

IDS = FakeIds()
Z = IDS.timestamp_begin
NEVER = float("-inf")


def rules(**options: object) -> Rules:
    plain = {"max_initial": None, "suppress_blank": False, "suppress_non_speech": False}
    return Rules(IDS, IDS.size, **{**plain, **options})  # type: ignore[arg-type]


def after(rule: Rules, *rows: list[int]) -> State:
    """The state after rows of tokens, all of one length."""
    state = rule.begin(len(rows))
    for tokens in zip(*rows, strict=True):
        rule.advance(state, torch.tensor(tokens))
    return state


def allowed(rule: Rules, state: State, logits: torch.Tensor | None = None) -> list[list[int]]:
    logits = torch.zeros(len(state.latest), IDS.size) if logits is None else logits.clone()
    rule.apply_(logits, state)
    return [(row > NEVER).nonzero()[:, 0].tolist() for row in logits]


def test_a_window_begins_with_a_timestamp() -> None:
    assert allowed(rules(), after(rules(), [])) == [list(range(Z, IDS.size))]
    assert allowed(rules(max_initial=2), after(rules(), [])) == [[Z, Z + 1, Z + 2]]


def test_without_timestamps_it_begins_with_a_word_that_is_no_space() -> None:
    rule = rules(timestamps=False, suppress_blank=True, suppress_non_speech=True)
    words = [t for t in range(12) if t not in (0, 3, 5)]
    assert allowed(rule, after(rule, []))[0] == words
    assert allowed(rule, after(rule, [1]))[0] == sorted([0, *words, IDS.eot])


def test_ids_after_the_last_timestamp_are_never_chosen() -> None:
    size = Z + 1501
    rule = Rules(IDS, size + 3, max_initial=None, suppress_blank=False, suppress_non_speech=False)
    logits = torch.zeros(1, size + 3)
    rule.apply_(logits, rule.begin(1))
    assert (logits[0] > NEVER).nonzero()[:, 0].tolist() == list(range(Z, size))


LOUD_WORDS = torch.zeros(1, IDS.size).index_fill_(1, torch.arange(13), 9.0)  # so that no timestamp is forced
HISTORIES = [
    ([Z + 1], [*range(12), IDS.eot]),  # opened: words or the end
    ([Z + 1, 4], [*range(12), IDS.eot, *range(Z + 2, IDS.size)]),  # a segment has a length
    ([Z + 1, 4, Z + 3], [IDS.eot, *range(Z + 3, IDS.size)]),  # closed: the same timestamp or a later one, or the end
    ([Z + 1, 4, Z + 3, Z + 3], [*range(12), IDS.eot]),  # opened again
    ([Z + 1, 4, Z + 5], [IDS.eot, Z + 5]),
    ([Z + 5, 4], [*range(12), IDS.eot]),  # no time is left
]


@pytest.mark.parametrize(("history", "expected"), HISTORIES)
def test_the_grammar_of_timestamps(history: list[int], expected: list[int]) -> None:
    assert allowed(rules(), after(rules(), history), LOUD_WORDS) == [expected]


PREFIXES = [
    ([], list(range(Z, IDS.size))),
    ([Z, 4, 7], [*range(12), IDS.eot, *range(Z + 1, IDS.size)]),  # the text goes on
    ([4, 7], [*range(12), IDS.eot, *range(Z, IDS.size)]),  # without a timestamp too
    ([Z, 4, Z + 3], [IDS.eot, *range(Z + 3, IDS.size)]),
]


def test_a_prefix_goes_on_and_shares_a_batch_with_rows_that_begin() -> None:
    state = rules().begin(len(PREFIXES), [prefix for prefix, _ in PREFIXES])
    assert allowed(rules(), state, LOUD_WORDS.repeat(len(PREFIXES), 1)) == [expected for _, expected in PREFIXES]
    state.select(torch.tensor([1, 0, 1]))
    assert allowed(rules(), state, LOUD_WORDS.repeat(3, 1)) == [PREFIXES[i][1] for i in (1, 0, 1)]


def test_a_timestamp_is_forced_if_their_sum_exceeds_every_word() -> None:
    state = after(rules(), [Z, 4])
    logits = torch.zeros(1, IDS.size)
    logits[0, 7] = 1.5  # 5 timestamps of weight 1 against e^1.5 = 4.5
    assert allowed(rules(), state, logits) == [list(range(Z + 1, IDS.size))]
    logits[0, 7] = 1.7  # e^1.7 = 5.5
    assert 7 in allowed(rules(), state, logits)[0]


def test_a_row_without_allowed_tokens_ends() -> None:
    rule = rules(suppress=tuple(range(IDS.size)))
    logits = torch.zeros(2, IDS.size)
    norm = rule.apply_(logits, after(rule, [Z], [Z]))
    assert logits.argmax(1).tolist() == [IDS.eot] * 2 and norm.tolist() == [0.0, 0.0]


@st.composite
def histories(draw: st.DrawFn) -> list[list[int]]:
    length = draw(st.integers(0, 6))
    token = st.one_of(st.integers(0, 11), st.integers(Z, IDS.size - 1))
    return draw(st.lists(st.lists(token, min_size=length, max_size=length), min_size=1, max_size=5))


@settings(max_examples=150, deadline=None)
@given(histories(), st.integers(0, 2**32 - 1), st.sampled_from([None, 0, 3]), st.floats(0.1, 6))
def test_the_same_tokens_are_allowed_as_in_transformers(
    rows: list[list[int]], seed: int, initial: int | None, scale: float
) -> None:
    rule = rules(max_initial=initial)
    logits = torch.randn(len(rows), IDS.size, generator=torch.Generator().manual_seed(seed)) * scale
    logits[:, rule.never] = NEVER
    config = GenerationConfig(eos_token_id=IDS.eot, no_timestamps_token_id=IDS.no_timestamps)
    config.max_initial_timestamp_index = initial
    theirs = WhisperTimeStampLogitsProcessor(config, begin_index=0)(
        torch.tensor(rows, dtype=torch.long).view(len(rows), -1), logits.clone()
    )
    ours = logits.clone()
    norm = rule.apply_(ours, after(rule, *rows))
    left = (theirs > NEVER).any(1)  # transformers does not handle rows without allowed tokens
    assert torch.equal(ours[left], theirs[left])
    torch.testing.assert_close(norm, ours.logsumexp(1))


@given(histories(), st.integers(0, 99))
def test_rows_can_be_dropped_and_reordered(rows: list[list[int]], seed: int) -> None:
    rule, logits = rules(), torch.randn(len(rows), IDS.size, generator=torch.Generator().manual_seed(seed))
    order = torch.randperm(len(rows))[: max(1, len(rows) - 1)]
    state = after(rule, *rows)
    whole = logits.clone()
    rule.apply_(whole, state)
    state.select(order)
    part = logits[order]
    rule.apply_(part, state)
    assert torch.equal(part, whole[order])
