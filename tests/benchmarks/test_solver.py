"""The batched solver against scikit-learn, and against the definition of a minimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from synthetic import generator

from zoo.benchmarks.solver import LOSSES, Axes, class_targets, minimize
from zoo.errors import ConfigError

PENALTIES = torch.tensor([1.0, 0.01, 0.0001])


def clusters(items: int, width: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = generator(seed)
    y = torch.randint(classes, (items,), generator=g)
    y[:classes] = torch.arange(classes)
    x = torch.randn(items, width, generator=g) + 0.5 * torch.randn(classes, width, generator=g)[y]
    return (x - x.mean(0)) / x.std(0), y


def solve(x: torch.Tensor, targets: torch.Tensor, loss: str, penalties: torch.Tensor = PENALTIES) -> torch.Tensor:
    axes = Axes(x)
    weights = torch.full((len(penalties), len(x)), 1 / len(x))
    return axes.unrotate(minimize(axes, targets, weights, penalties, LOSSES[loss], tolerance=1e-4, max_iterations=300))


@pytest.mark.parametrize(("items", "width"), [(300, 20), (60, 150)])  # more items than features, and fewer
def test_softmax_finds_the_minimum_that_sklearn_finds(items: int, width: int) -> None:
    x, y = clusters(items, width, 4)
    solution = solve(x, class_targets(y, 4), "softmax")
    for w, penalty in zip(solution, PENALTIES.tolist(), strict=True):
        reference = LogisticRegression(C=1 / (penalty * items), tol=1e-8, max_iter=10_000).fit(x.double(), y)
        ours = (x @ w[:, :-1].T + w[:, -1]).softmax(1).numpy()
        assert np.abs(ours - reference.predict_proba(x.double())).max() < 0.01


def test_squared_is_ridge() -> None:
    x, _ = clusters(200, 30, 3)
    y = x @ torch.randn(30, 2, generator=generator(1)) + torch.randn(200, 2, generator=generator(2)) + 3
    solution = solve(x, y.T.contiguous(), "squared")
    for w, penalty in zip(solution, PENALTIES.tolist(), strict=True):
        reference = Ridge(alpha=penalty * 200).fit(x.double(), y.double())
        np.testing.assert_allclose(w[:, :-1], reference.coef_, atol=2e-3)
        np.testing.assert_allclose(w[:, -1], reference.intercept_, atol=2e-3)


def test_sigmoid_is_one_logistic_regression_per_tag() -> None:
    x, _ = clusters(300, 10, 3)
    tags = (x @ torch.randn(10, 3, generator=generator(3)) + torch.randn(300, 3, generator=generator(4)) > 1).float()
    solution = solve(x, tags.T.contiguous(), "sigmoid", torch.tensor([0.01]))[0]
    for tag in range(3):
        reference = LogisticRegression(C=1 / (0.01 * 300), tol=1e-8, max_iter=10_000).fit(x.double(), tags[:, tag])
        ours = (x @ solution[tag, :-1] + solution[tag, -1]).sigmoid().numpy()
        assert np.abs(ours - reference.predict_proba(x.double())[:, 1]).max() < 0.01


@settings(max_examples=15, deadline=None)
@given(items=st.integers(12, 80), width=st.integers(1, 60), classes=st.integers(2, 6), seed=st.integers(0, 99))
def test_the_gradient_vanishes_at_every_solution(items: int, width: int, classes: int, seed: int) -> None:
    x, y = clusters(items, width, classes, seed)
    rows = torch.rand(2, items, generator=generator(seed))
    rows, penalties = (rows / rows.sum(1, keepdim=True)).repeat(2, 1), torch.tensor([0.1, 0.1, 0.01, 0.01])
    axes, targets = Axes(x), class_targets(y, classes)
    together = minimize(axes, targets, rows, penalties, LOSSES["softmax"], tolerance=1e-3, max_iterations=300)
    w = axes.unrotate(together).requires_grad_()
    z = w[..., :-1] @ x.T + w[..., -1:]
    fit = ((z.logsumexp(1) - (z * targets).sum(1)) * rows).sum()
    (fit + (penalties[:, None, None] * w[..., :-1].square()).sum() / 2).backward()
    assert w.grad is not None and w.grad.abs().max() < 5e-3
    for p in range(4):
        alone = minimize(
            axes, targets, rows[p : p + 1], penalties[p : p + 1], LOSSES["softmax"], tolerance=1e-3, max_iterations=300
        )
        assert (alone[0] - together[p]).abs().max() < 0.05, "a problem's solution must not depend on its batch"


def test_numbers_that_are_not_finite_are_refused() -> None:
    x, y = clusters(20, 3, 2)
    with pytest.raises(ConfigError, match="finite"):
        minimize(Axes(x), class_targets(y, 2), torch.full((1, 20), torch.nan), torch.ones(1), LOSSES["softmax"])
