"""Bring the channels of one network into the order of another's: weight matching (Ainsworth et al., arXiv:2209.04836).

Networks that differ in the seed learn the same channels in another order, so that the straight line between them crosses a barrier that
says nothing about the landscape. The permutation of one group of channels that brings the weights closest is a linear assignment when the
other groups stand still; one group after the other is solved until nothing changes. That ends in a local optimum, so it is begun several
times, and the best end counts. Cost: an assignment for each group and round, milliseconds for small networks.
"""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import linear_sum_assignment

from flow.landscape._channels import Channels, Index, find_channels
from flow.landscape._problem import Floats, Problem

STARTS, ROUNDS = 32, 100


def _rows(problem: Problem, point: Floats, channels: Channels, group: int) -> Floats:
    """Return what belongs to each channel of a group, (channels, values), of all parameters one beside the other."""
    parts = []
    for one in channels.axes:
        if one.group == group:
            value = point[problem.slices[one.parameter]].reshape(problem.params[one.parameter].shape)
            parts.append(np.moveaxis(value, one.axis, 0).reshape(channels.sizes[group], -1))
    return np.concatenate(parts, axis=1)


def _match(problem: Problem, channels: Channels, target: Floats, point: Floats, moves: dict[int, Index], rng: np.random.Generator) -> float:
    """Improve the permutations of all groups in place until nothing changes, and return the inner product with the target."""
    reached = float(target @ point[channels.index(problem, moves)])
    for _ in range(ROUNDS):
        before = reached
        for group in rng.permutation(list(channels.sizes)).tolist():
            still = {**moves, group: np.arange(channels.sizes[group])}
            gains = _rows(problem, target, channels, group) @ _rows(problem, point[channels.index(problem, still)], channels, group).T
            tried = {**moves, group: linear_sum_assignment(gains, maximize=True)[1]}
            value = float(target @ point[channels.index(problem, tried)])
            if value > reached:  # a layer that reads its own group, behind a sum, is no assignment problem
                moves[group], reached = tried[group], value
        if reached <= before:
            break
    return reached


def align(problem: Problem, target: Floats, point: Floats, rng: np.random.Generator) -> Index:
    """Find the order of the parameters of `point` that brings it close to `target` and computes the same.

    Args:
        problem: a network of this structure.
        target: parameters (D,).
        point: parameters (D,) of another network.
        rng: source of the orders in which groups are solved, and of all starts but the first.

    Returns:
        The index (D,): ``point[index]`` is the aligned network.
    """
    channels = find_channels(problem)
    best: tuple[float, Mapping[int, Index]] | None = None
    for start in range(STARTS):
        moves = {g: rng.permutation(size) if start else np.arange(size) for g, size in channels.sizes.items()}
        reached = _match(problem, channels, target, point, moves, rng)
        if best is None or reached > best[0] * (1 + 1e-12):
            best = reached, moves
    return channels.index(problem, {} if best is None else best[1])
