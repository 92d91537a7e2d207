"""Retrieval and zero-shot on vectors with known neighbors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from synthetic import generator

from zoo.benchmarks.retrieval import chance, classify, retrieve
from zoo.errors import ConfigError


def test_ranks_by_hand() -> None:
    audio = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    texts = torch.tensor([[2.0, 0.1], [0.5, 0.9], [0.6, 0.8]])
    result = retrieve(audio, texts, np.arange(3))
    assert result.ranks.tolist() == [1, 2, 1]
    assert result.recall(1) == pytest.approx(2 / 3) and result.mean_reciprocal_rank == pytest.approx(2.5 / 3)
    assert result.recall(10) == 1 and result.median_rank == 1


def test_clips_with_the_same_caption_are_equally_right() -> None:
    audio = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    texts = audio[[1, 1, 2]]
    assert retrieve(audio, texts, np.arange(3)).ranks.tolist() == [2, 1, 1]
    assert retrieve(audio, texts, np.arange(3), np.array([0, 0, 1])).ranks.tolist() == [1, 1, 1]


def test_average_precision_by_hand_with_equal_captions_as_ties() -> None:
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    result = retrieve(texts, torch.tensor([[1.0, 0.1]] * 4), np.arange(4), np.array([0, 0, 1, 2]))
    assert result.average_precision() == pytest.approx([1, 1, 1 / 4, 1 / 3])
    later = retrieve(texts, torch.tensor([[0.5, 1.0]] * 2 + [[1.0, 0.0]] * 2), np.arange(4), np.array([0, 0, 1, 2]))
    assert later.average_precision() == pytest.approx([2 / 4, 2 / 4, 1 / 4, 1 / 3]), "a tie is one threshold"
    assert set(result.per_query()) == {"R@1", "R@5", "R@10", "MRR", "mAP"}


def test_a_model_with_constant_output_is_at_chance() -> None:
    result = retrieve(torch.ones(21, 4), torch.ones(21, 4), np.arange(21))
    assert set(result.ranks.tolist()) == {11.0} and result.recall(1) == pytest.approx(1 / 21)
    pair = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert retrieve(pair, pair, np.arange(3)).recall(1) == pytest.approx(2 / 3), "of a tie of two, half"
    same = np.arange(21) // 3  # three clips with one caption each
    by_chance = chance(np.full(21, 3), 21)
    result = retrieve(torch.ones(21, 4), torch.ones(21, 4), np.arange(21), same)
    assert [result.recall(k) for k in (1, 5, 10)] == pytest.approx([by_chance[f"R@{k}"] for k in (1, 5, 10)])
    with pytest.raises(ConfigError, match="two clips"):
        retrieve(torch.ones(1, 4), torch.ones(1, 4), np.arange(1))


def test_vectors_that_are_not_finite_are_refused() -> None:
    good, bad = torch.eye(3), torch.full((3, 3), torch.nan)
    for audio, texts in ((good, bad), (bad, good)):
        with pytest.raises(ConfigError, match="not finite"):
            retrieve(audio, texts, np.arange(3))
    with pytest.raises(ConfigError, match="not finite for texts"):
        classify(good, ["cat", "dog"], lambda texts: bad[: len(texts)], ["{}"])


@pytest.mark.parametrize("same", [np.arange(12), np.arange(12) // 4, np.array([0] * 9 + [1, 2, 3])])
def test_chance_is_that_of_random_vectors_also_with_shared_captions(same: np.ndarray) -> None:
    rates = []
    for seed in range(400):
        audio, texts = (torch.randn(12, 8, generator=generator(2 * seed + part)) for part in (0, 1))
        rates.append(retrieve(audio, texts, np.arange(12), same).mean_reciprocal_rank)
    by_chance = chance((same[:, None] == same).sum(1), 12)["MRR"]
    assert np.mean(rates) == pytest.approx(by_chance, abs=4 * np.std(rates) / 20)


def test_zero_shot_uses_all_templates_together_and_alone() -> None:
    names = {"cat": 0, "dog": 1}
    basis = torch.eye(4)

    def embed_text(texts: list[str]) -> torch.Tensor:
        return torch.stack([basis[names[t.split()[-1]] if t.startswith("good") else 3] for t in texts])

    audio = basis[[0, 1, 1]] + 0.01 * torch.rand(3, 4, generator=generator())
    together, alone = classify(audio, ["cat", "dog"], embed_text, ["good {}", "bad {}"])
    assert together.tolist() == [0, 1, 1] == alone[0].tolist()
    assert len(set(alone[1].tolist())) == 1
    with pytest.raises(ConfigError, match="template"):
        classify(audio, ["cat", "dog"], embed_text, ["no braces"])
