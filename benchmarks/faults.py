"""Bit flips in the deployed weights of ECON-T: a campaign of random masks, and the map of all single bits, against PyLandscape's way.

Work: the loss of encoder and decoder on all samples, for each set of flipped bits. Ours computes what a set of flips changes: on chip the
sums of the deployed network with the products of the changed weights exchanged, the decoder where any word of 16 samples differs. The
losses are those of a computation in full, bit by bit. Beside them stand the multiplications with additions that this took, as a share of
what one thread of the machine can do at most, measured in the same run. The peers quantize a flipped weight again, and the
range of their quantizer has no -2^(b-1): their loss for a mask that makes this code is that of another network. The work is the same.
"""

import ctypes
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import pylandscape
from benchmarks.compare import OURS, Contest, Entry, Side, run_contest
from benchmarks.econ_t import COMPILED, Network, load
from benchmarks.pylandscape import Bits
from benchmarks.surface import mean_loss
from flow.landscape._engine import Engine, load_code
from flow.landscape._engine.kernels import KERNELS
from flow.landscape._problem import CHIP, Floats
from flow.robustness._bits import BitSpace, bit_space

TITLE = "bit flips against PyLandscape's attack and Brevitas in place"
SAMPLES, MASKS, FLIPS = 2048, 1000, 10
QUICK_SAMPLES, QUICK_MASKS = 64, 8
PEER_MASKS, TWIN_MASKS, PIECE = 12, 50, 250
ATTACK, IN_PLACE = "attack", "in_place"
MAP_LIMIT = 30.0
SPARSE = f"{COMPILED}; products on chip of unchanged weights, and losses of unchanged words, are not computed again"
PEAK_SUMS, PEAK_TURNS, PEAK_ROUNDS = 12, 5_000_000, 5
PEAK = rf"""
extern "C" float peak(long turns, float x, float y) {{
    vf s[{PEAK_SUMS}];
    for (int i = 0; i < {PEAK_SUMS}; i++) s[i] = splat<vf>(i);
    for (long k = 0; k < turns; k++)
#pragma GCC unroll {PEAK_SUMS}
        for (int i = 0; i < {PEAK_SUMS}; i++) s[i] = s[i] * x + y;
    float all = 0;
    for (int i = 0; i < {PEAK_SUMS}; i++) all += s[i][0];
    return all;
}}
extern "C" int lanes() {{ return LANES; }}
"""


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


def peak_rate() -> float:
    """Return the most multiplications with additions in single precision that a thread does in a second, operands in registers."""
    with tempfile.TemporaryDirectory(prefix="hlscape-bench-") as folder:
        library = load_code(KERNELS + PEAK, Path(folder))
    library.peak.restype = ctypes.c_float
    arguments, seconds = (ctypes.c_long(PEAK_TURNS), ctypes.c_float(0.5), ctypes.c_float(1.0)), []
    for _ in range(PEAK_ROUNDS):
        start = time.process_time()
        library.peak(*arguments)
        seconds.append(time.process_time() - start)
    return float(PEAK_SUMS * PEAK_TURNS * library.lanes() / min(seconds))


def with_share(lines: Iterable[str | Entry], net: Network, masks: Bits, work: list[int]) -> Iterator[str | Entry]:
    """Yield the lines of a contest, and the share of the machine's peak that ours reached; `work` is what its rounds took."""
    if net.engine != COMPILED:
        yield from lines
        return
    engine, peak = cast(Engine, net.problem.engine), peak_rate()
    full, share = engine.products * len(net.x) * len(masks), 0.0
    for line in lines:
        if isinstance(line, Entry):
            share = work[-1] / line.figures["ours_s"] / peak
            some = {"ours_macs": work[-1], "full_macs": full, "peak_macs_per_s": peak, "peak_share": share}
            yield Entry(line.name, {**line.figures, **some})
        else:
            yield line
    yield (
        f"  ours: {work[-1] / 1e9:.3g} of the {full / 1e9:.3g} G multiply-accumulates that all networks take in full, "
        f"{share:.0%} of the peak of a thread, {peak / 1e9:.1f} G/s\n"
    )


def sides(net: Network, masks: Bits, peers: int, work: list[int] | None = None) -> dict[str, Side]:
    """Return ours and the peers, who do only some of the masks; so do we without compiled code. `work` takes what ours multiplied."""
    many = len(masks) if net.engine == COMPILED else min(TWIN_MASKS, len(masks))
    share, part = peers / len(masks), f"{peers} of {len(masks)} masks"

    def ours(count: int = many) -> Floats:
        losses, done = [], 0
        for points in faulty_points(net, masks[:count]):
            losses.append(net.problem.mean_losses(points, quantize=False))
            done += net.problem.engine.work[0] if isinstance(net.problem.engine, Engine) else 0
        if work is not None:
            work.append(done)
        return np.concatenate(losses)

    def peer(way: Callable[..., Floats], words: str) -> Side:
        return Side(
            lambda: way(net.chain, mean_loss(net), masks[:peers]), words, share, part, lambda: way(net.chain, mean_loss(net), masks[:2])
        )

    how, some = SPARSE if net.engine == COMPILED else net.engine, "" if many == len(masks) else f"{many} of {len(masks)} masks"
    return {
        OURS: Side(ours, how, many / len(masks), some, lambda: ours(PIECE)),
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
    of_campaign: list[int] = []
    yield from with_share(run_contest(Contest(
        "fault_campaign", f"{words} for {len(masks)} masks of {FLIPS} flipped bits", ATTACK, sides(net, masks, peers, of_campaign),
        sides(few, masks[:4], 2), 1 if quick else 3, {ATTACK: 70.0, IN_PLACE: 40.0}, agreement(net, masks),
    )), net, masks, of_campaign)  # fmt: skip
    of_map: list[int] = []
    yield from with_share(run_contest(Contest(
        "single_bit_map", f"{words} for each of {len(bits)} single bits", ATTACK, sides(net, bits, peers, of_map),
        sides(few, bits[:4], 2), 1, {}, agreement(net, bits), MAP_LIMIT,
    )), net, bits, of_map)  # fmt: skip
