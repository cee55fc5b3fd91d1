"""Curves between two quantized networks: the loss along them, and a Bezier curve that is trained (Garipov et al., arXiv:1802.10026).

A curve is theta(t) = sum_i B_i(t) theta_i, with the Bernstein polynomials B_i and float parameters theta_i of which the first and the last
are the two networks. Every theta(t) is quantized like a network that is deployed. The two ends may have different scales, which cannot be
interpolated on a grid of powers of two: theta(t) takes all formats, of weights and of activations, from the nearer end. So both ends are
exactly the networks that were trained, every point between them could be deployed, and only t = 1/2 itself belongs to none of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from flow.landscape._channels import Index
from flow.landscape._problem import Floats, Problem

LEARNING_RATE = 5e-3
BATCH = 64


def bernstein(t: Floats, count: int) -> Floats:
    """Return the weights (T, count) of the points that define a Bezier curve."""
    i = np.arange(count)
    binomials = np.array([math.comb(count - 1, k) for k in i])
    return np.asarray(binomials * t[:, None] ** i * (1 - t[:, None]) ** (count - 1 - i))


@dataclass(frozen=True)
class Ends:
    """Two networks of the same structure.

    Attributes:
        first: network at t = 0.
        second: network at t = 1.
        order: index (D,) that brings the parameters of the second into the order of the first; curves are in that order.
    """

    first: Problem
    second: Problem
    order: Index

    @property
    def points(self) -> Floats:
        """The parameters of both, (2, D)."""
        return np.stack([self.first.point, self.second.point[self.order]])

    def near(self, t: float) -> tuple[Problem, Index]:
        """Return the network whose formats hold at t, and the index that brings a point into its order."""
        return (self.first, np.arange(len(self.order))) if t < 0.5 else (self.second, np.argsort(self.order))

    def losses(self, t: Floats, points: Floats) -> Floats:
        """Return the loss of each sample (T, N) at points (T, D) of a curve, by rising t."""
        parts = []
        for where in (t < 0.5, t >= 0.5):
            if where.any():
                problem, order = self.near(float(t[where][0]))
                parts.append(problem.sample_losses(points[where][:, order]))
        return np.concatenate(parts)

    def gradient(self, t: float, point: Floats, samples: Index) -> Floats:
        """Return the straight-through gradient (D,) of the mean loss of some samples at a point of a curve."""
        problem, order = self.near(t)
        leaves = {name: part[0].requires_grad_() for name, part in problem.split(torch.from_numpy(point[order][None])).items()}
        loss = problem.losses(leaves, problem.x[samples], problem.y[samples]).mean()
        gradients = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True, allow_unused=True)
        result = np.empty_like(point)
        result[order] = np.concatenate([g.double().reshape(-1).numpy() for g in gradients])
        return result


def straight(ends: Ends, count: int) -> Floats:
    """Return the points (count, D) of a Bezier curve that is the straight line."""
    share = np.linspace(0, 1, count)[:, None]
    return np.asarray((1 - share) * ends.points[0] + share * ends.points[1])


def curve_gradient(ends: Ends, nodes: Floats, t: Sequence[float], samples: Sequence[Index]) -> Floats:
    """Return the gradient (count, D) of the mean over some t, each with samples of its own, of the loss; by the chain rule."""
    total = np.zeros_like(nodes)
    for one, some in zip(t, samples, strict=True):
        weights = bernstein(np.array([one]), len(nodes))[0]
        total += weights[:, None] * ends.gradient(one, weights @ nodes, some) / len(t)
    return total


def train(ends: Ends, nodes: Floats, epochs: int, rng: np.random.Generator, seen: Callable[[int, Floats], None]) -> None:
    """Train the inner points of a curve with Adam on the loss at random t; the ends stay.

    Each step takes one t from either half of the curve, with half of the batch each, so that both sets of formats have their share.

    Args:
        ends: the two networks, with the samples to train on.
        nodes: points (count, D) to begin with.
        epochs: passes over the samples.
        rng: source of t and of the order of the samples.
        seen: called with the number of finished epochs, 0 first, and the points.
    """
    inner = torch.from_numpy(nodes[1:-1].copy()).requires_grad_()
    adam = torch.optim.Adam([inner], lr=LEARNING_RATE)

    def current() -> Floats:
        return np.concatenate([nodes[:1], inner.detach().numpy(), nodes[-1:]])

    seen(0, nodes)
    count = len(ends.first.x)
    steps = max(1, count // BATCH)
    for epoch in range(1, epochs + 1):
        for batch in np.array_split(rng.permutation(count), steps):
            low, high = rng.random(2) / 2
            halves = np.array_split(batch, 2)
            inner.grad = torch.from_numpy(curve_gradient(ends, current(), (low, high + 0.5), halves)[1:-1].copy())
            adam.step()
        seen(epoch, current())
