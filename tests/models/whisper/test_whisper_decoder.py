"""The decoder's cache: tokens, rows and beams must give the same logits as one plain pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from zoo.errors import ConfigError
from zoo.models.whisper.decoder import AudioStates, Cache, Decoder

VOCABULARY, POSITIONS, DIM = 50, 24, 32
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture
def decoder() -> Decoder:
    torch.manual_seed(0)
    made = Decoder(VOCABULARY, POSITIONS, DIM, heads=4, layers=3, alignment_heads=((1, 2), (2, 0), (2, 3)))
    torch.nn.init.normal_(made.positions, std=0.5)  # so that a wrong position shows
    return made.eval()


def states(*lengths: int) -> AudioStates:
    x = torch.randn(len(lengths), max(lengths), DIM, generator=torch.Generator().manual_seed(1))
    return AudioStates(x, torch.tensor(lengths))


def tokens(rows: int, size: int, seed: int = 2) -> Tensor:
    return torch.randint(VOCABULARY, (rows, size), generator=torch.Generator().manual_seed(seed))


def alone(decoder: Decoder, audio: AudioStates, window: int, text: Tensor) -> Tensor:
    """(U, V) logits of one text against one window, in one pass without padding."""
    one = AudioStates(audio.x[window : window + 1, : int(audio.lengths[window])], audio.lengths[window : window + 1])
    cache = decoder.new_cache(1, len(text))
    return decoder(text[None], decoder.cross(one), cache, last_only=False)[0][0]


def test_token_by_token_equals_one_pass(decoder: Decoder) -> None:
    audio, text = states(9, 9), tokens(2, 10)
    whole, _ = decoder(text, decoder.cross(audio), decoder.new_cache(2, 10), last_only=False)
    cache, cross = decoder.new_cache(2, 12), decoder.cross(audio)
    steps = [decoder(text[:, :4], cross, cache)[0]]
    steps += [decoder(text[:, u : u + 1], cross, cache)[0] for u in range(4, 10)]
    assert whole.dtype == torch.float32 and whole.shape == (2, 10, VOCABULARY)
    torch.testing.assert_close(torch.stack(steps, 1), whole[:, 3:], atol=TOLERANCE, rtol=0)


def test_logits_of_chosen_columns(decoder: Decoder) -> None:
    audio, text = states(9, 9), tokens(2, 6)
    whole, _ = decoder(text, decoder.cross(audio), decoder.new_cache(2, 6), last_only=False)
    at = torch.tensor([[0, 5], [3, 5]])
    found, _ = decoder(text, decoder.cross(audio), decoder.new_cache(2, 6), at=at)
    torch.testing.assert_close(found, whole[torch.arange(2)[:, None], at], atol=TOLERANCE, rtol=0)


def test_rows_of_different_prompts_and_windows_are_independent(decoder: Decoder) -> None:
    audio, sizes, more = states(12, 5, 8), [7, 2, 4], 3
    texts = [tokens(1, size + more, seed)[0] for seed, size in enumerate(sizes)]
    padding = torch.tensor([7 - size for size in sizes])
    prompt = torch.stack([torch.cat([torch.full((7 - n,), 3), t[:n]]) for n, t in zip(sizes, texts, strict=True)])
    cache, cross = decoder.new_cache(3, 10, padding), decoder.cross(audio)
    found = [decoder(prompt, cross, cache)[0]]
    for u in range(more):
        found.append(
            decoder(torch.stack([t[n + u : n + u + 1] for n, t in zip(sizes, texts, strict=True)]), cross, cache)[0]
        )
    for row, (size, text) in enumerate(zip(sizes, texts, strict=True)):
        expected = alone(decoder, audio, row, text)[size - 1 :]
        torch.testing.assert_close(torch.stack(found)[:, row], expected, atol=TOLERANCE, rtol=0)


def test_beams_share_their_window(decoder: Decoder) -> None:
    audio, text = states(6, 9), tokens(6, 5)
    found, _ = decoder(text, decoder.cross(audio), decoder.new_cache(6, 5), last_only=False)
    for row in range(6):
        torch.testing.assert_close(found[row], alone(decoder, audio, row // 3, text[row]), atol=TOLERANCE, rtol=0)


def test_beams_are_reordered_and_finished_rows_leave(decoder: Decoder) -> None:
    audio, text = states(6, 9), tokens(4, 4)
    cross, cache = decoder.cross(audio), decoder.new_cache(4, 8)
    decoder(text, cross, cache)
    cache.select(torch.tensor([1, 1, 3, 2]))
    following = tokens(4, 1, 5)
    reordered, _ = decoder(following, cross, cache)
    for row, parent in enumerate([1, 1, 3, 2]):
        expected = alone(decoder, audio, row // 2, torch.cat([text[parent], following[row]]))[-1]
        torch.testing.assert_close(reordered[row], expected, atol=TOLERANCE, rtol=0)
    cache.select(torch.tensor([2, 3]))
    cross.keep(torch.tensor([1]))
    last, _ = decoder(following[:2], cross, cache)
    assert cache.rows == 2 and cache.length == 6
    for row, parent in enumerate([3, 2]):
        ids = torch.cat([text[parent], following[row + 2], following[row]])
        torch.testing.assert_close(last[row], alone(decoder, audio, 1, ids)[-1], atol=TOLERANCE, rtol=0)


def test_scores_of_alignment_heads(decoder: Decoder) -> None:
    audio, text = states(9, 6), tokens(2, 5)
    logits, scores = decoder(text, decoder.cross(audio), decoder.new_cache(2, 5), last_only=False, need_attention=True)
    assert scores is not None and scores.shape == (2, 3, 5, 9) and scores.dtype == torch.float32
    weights = scores.softmax(-1)
    assert weights[1, :, :, 6:].abs().max() == 0
    plain, nothing = decoder(text, decoder.cross(audio), decoder.new_cache(2, 5), last_only=False)
    assert nothing is None
    torch.testing.assert_close(plain, logits)
    half = Decoder(VOCABULARY, POSITIONS, DIM, heads=4, layers=4)
    assert half.alignment_heads == tuple((layer, head) for layer in (2, 3) for head in range(4))


def test_texts_too_long_are_refused(decoder: Decoder) -> None:
    cross = decoder.cross(states(4))
    with pytest.raises(ConfigError, match="cache holds 3"):
        decoder(tokens(1, 4), cross, decoder.new_cache(1, 3))
    with pytest.raises(ConfigError, match="24 positions"):
        decoder(tokens(1, 25), cross, decoder.new_cache(1, 30))
    padded: Cache = decoder.new_cache(1, 30, torch.tensor([6]))
    assert decoder(tokens(1, 30), cross, padded)[0].shape == (1, VOCABULARY)
