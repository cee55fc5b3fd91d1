"""A surface of the loss, 51x51 points along two directions of all parameters of ECON-T, against PyLandscape's way and against Brevitas."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import pylandscape
from benchmarks.compare import OURS, Contest, Entry, Side, run_contest
from benchmarks.econ_t import COMPILED, Network, load
from flow.landscape._problem import Floats

TITLE = "loss surface against deepcopy per point and Brevitas in place"
SAMPLES, SIDE = 2048, 51
QUICK_SAMPLES, QUICK_SIDE = 64, 3
RADIUS = 0.5  # of the norm of all parameters
PEER_POINTS = 100
DEEPCOPY, IN_PLACE = "deepcopy", "in_place"


def mean_loss(net: Network) -> Callable[[nn.Module], Tensor]:
    """Return the mean loss of a module that maps inputs to outputs."""
    return lambda network: net.model.loss(network(net.x), net.y).mean()


def rows(net: Network, side: int) -> Iterator[Floats]:
    """Yield the points of a surface row by row, each (side, D)."""
    centre, axis = net.problem.point, np.linspace(-RADIUS, RADIUS, side)
    directions = np.random.default_rng(0).standard_normal((2, centre.size))
    a, b = directions / np.linalg.norm(directions, axis=1, keepdims=True) * np.linalg.norm(centre)
    for step in axis:
        yield centre + step * a + axis[:, None] * b


def sides(net: Network, side: int) -> dict[str, Side]:
    """Return ours and the peers; without compiled code ours does a row only."""
    full = side if net.engine == COMPILED else 1
    first = next(rows(net, side))
    few = first[:PEER_POINTS]
    share, part = len(few) / side**2, f"{len(few)} of {side**2} points"

    def ours(count: int = full) -> Floats:
        return np.concatenate([net.problem.mean_losses(row) for _, row in zip(range(count), rows(net, side), strict=False)])

    return {
        OURS: Side(ours, net.engine, full / side, "" if full == side else f"{side} of {side**2} points", lambda: ours(1)),
        DEEPCOPY: Side(
            lambda: pylandscape.copied_losses(net.chain, mean_loss(net), few), pylandscape.DEEPCOPY.format("point"), share, part,
            lambda: pylandscape.copied_losses(net.chain, mean_loss(net), few[:2]),
        ),
        IN_PLACE: Side(
            lambda: pylandscape.placed_losses(net.chain, mean_loss(net), few), pylandscape.IN_PLACE, share, part,
            lambda: pylandscape.placed_losses(net.chain, mean_loss(net), few[:2]),
        ),
    }  # fmt: skip


def difference(results: Mapping[str, Any]) -> str:
    """Say how well the losses of the points agree that all sides have."""
    peers = [peer for name, peer in results.items() if name != OURS]
    worst = max(float(np.max(np.abs(peer / results[OURS][: len(peer)] - 1))) for peer in peers)
    return f"losses of all sides agree to {worst:.1e}"


def run(quick: bool = False) -> Iterator[str | Entry]:
    """Time a surface; yields lines to print and entries."""
    torch.set_num_threads(1)
    net = load(QUICK_SAMPLES if quick else SAMPLES, quick)
    side = QUICK_SIDE if quick else SIDE
    work = f"loss of ECON-T at {side}x{side} points, {len(net.x)} samples, weights quantized at each"
    yield from run_contest(Contest(
        "surface", work, DEEPCOPY, sides(net, side), sides(net.take(QUICK_SAMPLES), QUICK_SIDE), 1 if quick else 3,
        {DEEPCOPY: 60.0, IN_PLACE: 30.0}, difference,
    ))  # fmt: skip
