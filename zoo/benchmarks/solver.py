"""Train many linear models on the same features at once: preconditioned L-BFGS over all of them as one batch.

Every problem p (a penalty with a seed) minimizes

    sum_i w_pi loss(W_p x_i, y_i) + penalty_p / 2 |W_p|^2        the bias is not penalized

and all share the features x. So one product of x with all weights serves every problem. The features are first
rotated to their principal axes. There the Hessian of the model without features has h_c s_d + penalty on its diagonal
and almost nothing elsewhere, so preconditioning with the diagonal is cheap. A line search needs no further product.

Legend: N items, D features, C outputs, P problems, K principal axes and the bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from zoo.errors import ConfigError
from zoo.nn.linear import Linear

MEMORY = 10  # number of pairs in L-BFGS
_RAREST = 1e-4  # smallest assumed share of the items in a class
_FLATTEST = 1e-6  # smallest assumed mean curvature of a class
_HALVINGS = 8  # of a step that increased the objective
_RANK = 1e-6  # principal axes with less than this share of the largest variance are numerical noise


class Softmax:
    """Multinomial logistic loss; targets are one-hot."""

    def curvature(self, mean: Tensor, weights: Tensor) -> Tensor:
        """Second derivative by each output, mean over the items: mean (P, C, N), weights (P, N) -> (P, C)."""
        return (mean * (1 - mean) * weights[:, None]).sum(2).clamp(min=_FLATTEST)

    def bias(self, share: Tensor) -> Tensor:
        """The best model without features: (P, C) -> (P, C)."""
        return share.log()

    def value_and_mean(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """z (P, C, N), target (C, N) -> the loss (P, N), and the expected targets of the model (P, C, N)."""
        log_mean = z.log_softmax(1)  # takes half the time of logsumexp(z) - z target
        return -(log_mean * target).sum(1), log_mean.exp()  # targets sum to 1

    def value(self, z: Tensor, target: Tensor) -> Tensor:
        return self.value_and_mean(z, target)[0]

    def bend(self, mean: Tensor, d: Tensor) -> Tensor:
        """Second derivative along d: (P, C, N) -> (P, N)."""
        slope = mean * d
        return (slope * d).sum(1) - slope.sum(1).square()


class Sigmoid(Softmax):
    """One logistic loss per output, summed; targets 0 or 1."""

    def bias(self, share: Tensor) -> Tensor:
        return share.logit()

    def value_and_mean(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return (torch.nn.functional.softplus(z) - z * target).sum(1), z.sigmoid()

    def bend(self, mean: Tensor, d: Tensor) -> Tensor:
        return (mean * (1 - mean) * d.square()).sum(1)


class Squared(Softmax):
    """Half the squared error, summed over outputs: ridge regression."""

    def curvature(self, mean: Tensor, weights: Tensor) -> Tensor:
        return torch.ones_like(mean[..., 0])

    def bias(self, share: Tensor) -> Tensor:
        return share

    def value_and_mean(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return (z - target).square().sum(1) / 2, z

    def bend(self, mean: Tensor, d: Tensor) -> Tensor:
        return d.square().sum(1)


LOSSES = {"softmax": Softmax(), "sigmoid": Sigmoid(), "squared": Squared()}


def class_targets(labels: Tensor, classes: int) -> Tensor:
    """labels (N,) int -> one-hot targets (C, N)."""
    return one_hot(labels, classes).T.float().contiguous()


class Axes:
    """Features in their principal axes, with a bias, packed for fast products from both sides.

    x (N, D) float32, centered. Directions without variance are left out: no penalized solution has weight there.
    """

    @torch.no_grad()
    def __init__(self, x: Tensor) -> None:
        items, width = x.shape
        if width <= items:  # any orthogonal basis has the same solution, so float32 is enough
            squares, basis = torch.linalg.eigh(product_with(x.T.contiguous())(x.T))  # (D,), (D, D)
        else:  # fewer items than features: the same axes from the smaller matrix
            wide = x.double()  # the division by small squares needs the precision
            squares, left = torch.linalg.eigh(wide @ wide.T)  # (N,), (N, N)
            basis = wide.T @ left / squares.clamp(min=1e-300).sqrt()  # (D, N)
        selected = squares > _RANK * squares[-1].clamp(min=1e-30)
        selected[-1] = True  # for constant features: products need an axis; it gets no weight
        self.basis = basis[:, selected].float()  # (D, K - 1)
        rotated = torch.cat([product_with(self.basis.T.contiguous())(x), x.new_ones(items, 1)], dim=1)  # (N, K)
        self.variance = rotated.square().mean(0)  # (K,)
        self.penalized = torch.ones_like(self.variance)
        self.penalized[-1] = 0
        self._to_items, self._to_axes = product_with(rotated), product_with(rotated.T.contiguous())

    def outputs(self, w: Tensor) -> Tensor:
        """w (P, C, K) -> z (P, C, N)."""
        return self._to_items(w.flatten(0, 1)).view(*w.shape[:2], -1)

    def gather(self, residual: Tensor) -> Tensor:
        """(P, C, N) -> (P, C, K): the sum over items of residual times features."""
        return self._to_axes(residual.flatten(0, 1)).view(*residual.shape[:2], -1)

    def unrotate(self, w: Tensor) -> Tensor:
        """w (P, C, K) -> (P, C, D + 1), bias last."""
        return torch.cat([w[..., :-1] @ self.basis.T, w[..., -1:]], dim=-1)


def product_with(matrix: Tensor) -> Linear:
    """y -> y matrix^T, from the layout that is fastest on this device."""
    product = Linear(1, 1, bias=False)  # a placeholder: the next line sets the weight
    product.weight = torch.nn.Parameter(matrix, requires_grad=False)
    return product


@dataclass
class _State:
    """The unsolved problems. number (P,): their indices among all problems."""

    number: Tensor
    weights: Tensor  # (P, N)
    penalty: Tensor  # (P, K)
    inverse: Tensor  # (P, C, K): the preconditioner
    w: Tensor  # (P, C, K)
    z: Tensor  # (P, C, N)
    mean: Tensor  # (P, C, N)
    fit: Tensor  # (P, 1, 1)
    gradient: Tensor  # (P, C, K)
    steps: list[Tensor]  # up to MEMORY of (P, C, K)
    changes: list[Tensor]

    def keep(self, mask: Tensor) -> None:
        """Remove the other problems."""
        for name, value in vars(self).items():
            setattr(self, name, [v[mask] for v in value] if isinstance(value, list) else value[mask])

    def direction(self) -> Tensor:
        """The quasi-Newton direction (Nocedal & Wright, Numerical Optimization, algorithm 7.4): (P, C, K)."""
        q = self.gradient
        pairs = [(s, y, 1 / _dot(s, y).clamp(min=1e-20)) for s, y in zip(self.steps, self.changes, strict=True)]
        alphas = []
        for s, y, rho in reversed(pairs):
            alphas.append(rho * _dot(s, q))
            q = q - alphas[-1] * y
        r = self.inverse * q
        if pairs:
            s, y, _ = pairs[-1]
            r = r * (_dot(s, y) / _dot(y, self.inverse * y).clamp(min=1e-20))
        for (s, y, rho), alpha in zip(pairs, reversed(alphas), strict=True):
            r = r + (alpha - rho * _dot(y, r)) * s
        return -r

    def remember(self, step: Tensor, change: Tensor) -> None:
        self.steps, self.changes = [*self.steps, step][-MEMORY:], [*self.changes, change][-MEMORY:]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """(P, C, K) twice -> (P, 1, 1)."""
    return (a * b).sum((1, 2), keepdim=True)


@torch.no_grad()
def minimize(
    axes: Axes,
    targets: Tensor,
    weights: Tensor,
    penalties: Tensor,
    loss: Softmax,
    *,
    start: Tensor | None = None,
    tolerance: float = 3e-3,
    max_iterations: int = 100,
) -> Tensor:
    """Solve P problems: targets (C, N), weights (P, N) with rows that sum to 1, penalties (P,) -> w (P, C, K).

    start: (P, C, K), the solution of an easier problem. A problem is solved when its preconditioned gradient norm is
    under `tolerance`; this norm estimates the square root of twice the distance to the minimum.
    Raises ConfigError for weights or targets that are not finite.
    """
    if not (torch.isfinite(weights).all() and torch.isfinite(targets).all()):
        raise ConfigError("probe: weights and targets must be finite numbers")
    penalty = penalties[:, None] * axes.penalized  # (P, K)
    share = weights @ targets.T  # (P, C)
    if not isinstance(loss, Squared):
        share = share.clamp(_RAREST, 1 - _RAREST)
    if start is None:
        w = weights.new_zeros(*share.shape, len(axes.variance))
        w[..., -1] = loss.bias(share)
    else:
        w = start.clone()
    z = axes.outputs(w)
    fit, mean = _fit(z, targets, weights, loss)
    inverse = 1 / (loss.curvature(mean, weights)[..., None] * axes.variance + penalty[:, None])  # (P, C, K)
    gradient = axes.gather((mean - targets) * weights[:, None]) + penalty[:, None] * w
    numbers = torch.arange(len(w), device=w.device)
    state = _State(numbers, weights, penalty, inverse, w, z, mean, fit, gradient, [], [])
    solved = torch.empty_like(w)
    for _ in range(max_iterations):
        open_ = _dot(state.gradient, state.inverse * state.gradient)[:, 0, 0] > tolerance**2
        if not open_.all():
            solved[state.number[~open_]] = state.w[~open_]
            state.keep(open_)
        if not len(state.number):
            return solved
        _advance(state, axes, targets, loss)
    solved[state.number] = state.w
    return solved


def _advance(state: _State, axes: Axes, targets: Tensor, loss: Softmax) -> None:
    """One iteration of all unsolved problems."""
    direction = state.direction()  # (P, C, K)
    step = _search(state, direction, axes.outputs(direction), targets, loss) * direction
    state.w = state.w + step
    gradient = axes.gather((state.mean - targets) * state.weights[:, None]) + state.penalty[:, None] * state.w
    state.remember(step, gradient - state.gradient)
    state.gradient = gradient


def _search(state: _State, direction: Tensor, along: Tensor, targets: Tensor, loss: Softmax) -> Tensor:
    """Move z, mean and fit to the approximate minimum along the direction; return the step (P, 1, 1).

    A Newton step on the line from zero. It is halved where the objective increases by more than rounding.
    """
    slope = _dot(state.gradient, direction)
    curve = _dot(state.penalty[:, None] * direction, direction)
    linear = _dot(state.penalty[:, None] * state.w, direction)
    bend = (loss.bend(state.mean, along) * state.weights).sum(1)[:, None, None] + curve
    length = (-slope / bend.clamp(min=1e-20)).clamp(min=0)
    for _ in range(_HALVINGS):
        z = state.z + length * along
        fit, mean = _fit(z, targets, state.weights, loss)
        gain = state.fit - fit - length * linear - length.square() * curve / 2
        uphill = gain < -1e-6 * state.fit.abs()
        if not uphill.any():
            break
        length = torch.where(uphill, length / 2, length)
    state.z, state.fit, state.mean = z, fit, mean
    return length


def _fit(z: Tensor, targets: Tensor, weights: Tensor, loss: Softmax) -> tuple[Tensor, Tensor]:
    """The weighted loss (P, 1, 1), and the expected targets (P, C, N)."""
    value, mean = loss.value_and_mean(z, targets)
    return (value * weights).sum(1)[:, None, None], mean
