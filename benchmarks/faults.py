"""Bit flips in the deployed weights of ECON-T: a campaign of random masks, and the map of all single bits, against PyLandscape's way.

Work: the loss of encoder and decoder on all samples, for each set of flipped bits. The peers quantize a flipped weight again, and the
range of their quantizer has no -2^(b-1): their loss for a mask that makes this code is that of another network. The work is the same.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import pylandscape
from benchmarks.compare import OURS, Contest, Entry, Side, run_contest
from benchmarks.econ_t import COMPILED, Network, load
from benchmarks.pylandscape import Bits
from benchmarks.surface import mean_loss
from flow.landscape._problem import CHIP, Floats
from flow.robustness._bits import BitSpace, bit_space

TITLE = "bit flips against PyLandscape's attack and Brevitas in place"
SAMPLES, MASKS, FLIPS = 2048, 1000, 10
QUICK_SAMPLES, QUICK_MASKS = 64, 8
PEER_MASKS, TWIN_MASKS, PIECE = 12, 50, 250
ATTACK, IN_PLACE = "attack", "in_place"
MAP_LIMIT = 30.0


def weight_bits(net: Network) -> BitSpace:
    """Number the bits of the deployed weights, as the peers do; biases are not among them."""
    return bit_space(net.twin.codes(net.twin.params), net.twin.weights, ("weight",))


def faulty_points(net: Network, masks: Bits, size: int = PIECE) -> Iterator[Floats]:
    """Yield the deployed point with each set of flipped bits (M, flips), `size` sets at a time, as (., D)."""
    space, deployed, steps = weight_bits(net), net.problem.quantized(net.problem.point[None]), net.problem.steps
    where = np.concatenate([np.arange(len(steps))[net.problem.slices[CHIP + name]] for name in space.names])
    for piece in np.split(masks, range(size, len(masks), size)):
        words = space.flipped(piece)
        rows, columns = np.nonzero(words != space.words)
        points = np.repeat(deployed, len(piece), axis=0)
        points[rows, where[columns]] = words[rows, columns] * steps[where[columns]]
        yield points


def comparable(net: Network, masks: Bits) -> NDArray[np.bool_]:
    """Return which masks make no code outside of the range of the quantizer, (M,)."""
    words = np.isfinite(net.problem.steps)
    points = np.concatenate(list(faulty_points(net, masks)))
    return np.asarray((net.problem.quantized(points) == points)[:, words].all(axis=1))


def sides(net: Network, masks: Bits, peers: int) -> dict[str, Side]:
    """Return ours and the peers, who do only some of the masks; so do we without compiled code."""
    many = len(masks) if net.engine == COMPILED else min(TWIN_MASKS, len(masks))
    share, part = peers / len(masks), f"{peers} of {len(masks)} masks"

    def ours(count: int = many) -> Floats:
        return np.concatenate([net.problem.mean_losses(points, quantize=False) for points in faulty_points(net, masks[:count])])

    def peer(way: Callable[..., Floats], words: str) -> Side:
        return Side(
            lambda: way(net.chain, mean_loss(net), masks[:peers]), words, share, part, lambda: way(net.chain, mean_loss(net), masks[:2])
        )

    return {
        OURS: Side(ours, net.engine, many / len(masks), "" if many == len(masks) else f"{many} of {len(masks)} masks", lambda: ours(PIECE)),
        ATTACK: peer(pylandscape.attacked_losses, pylandscape.DEEPCOPY.format("mask")),
        IN_PLACE: peer(pylandscape.placed_attack_losses, pylandscape.IN_PLACE),
    }


def agreement(net: Network, masks: Bits) -> Callable[[Mapping[str, Any]], str]:
    """Return what says how well the losses agree."""

    def check(results: Mapping[str, Any]) -> str:
        peers = [peer for name, peer in results.items() if name != OURS]
        count = min(len(found) for found in results.values())
        same = comparable(net, masks[:count])
        if not same.any():
            return "all masks that the peers did make a code that their quantizer does not have"
        worst = max(float(np.max(np.abs(peer[:count] / results[OURS][:count] - 1)[same])) for peer in peers)
        return f"losses of all sides agree to {worst:.1e} for the {same.sum()} of {count} masks whose codes the peers' quantizer has"

    return check


def run(quick: bool = False) -> Iterator[str | Entry]:
    """Time the campaign and the map; yields lines to print and entries."""
    torch.set_num_threads(1)
    net = load(QUICK_SAMPLES if quick else SAMPLES, quick)
    few, total = net.take(QUICK_SAMPLES), weight_bits(net).total
    peers = 2 if quick else PEER_MASKS
    rng = np.random.default_rng(0)
    masks = np.stack([rng.choice(total, FLIPS, replace=False) for _ in range(QUICK_MASKS if quick else MASKS)]).astype(np.int64)
    bits = rng.permutation(total).astype(np.int64)[: QUICK_MASKS if quick else None, None]
    words = f"ECON-T, loss of encoder and decoder on {len(net.x)} samples"
    yield from run_contest(Contest(
        "fault_campaign", f"{words} for {len(masks)} masks of {FLIPS} flipped bits", ATTACK, sides(net, masks, peers),
        sides(few, masks[:4], 2), 1 if quick else 3, {ATTACK: 70.0, IN_PLACE: 40.0}, agreement(net, masks),
    ))  # fmt: skip
    yield from run_contest(Contest(
        "single_bit_map", f"{words} for each of {len(bits)} single bits", ATTACK, sides(net, bits, peers), sides(few, bits[:4], 2), 1, {},
        agreement(net, bits), MAP_LIMIT,
    ))  # fmt: skip
