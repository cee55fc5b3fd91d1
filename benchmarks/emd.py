"""Exact energy mover's distance of ECON-T test samples against loops over samples with packages from PyPI.

Below it stands a certified lower bound of the distance after faults, for screening: how near it comes and how fast it is.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import ot
import torch
from ot.lp.emd_wrap import emd_c

from benchmarks.compare import EXTRA, OURS, Contest, Entry, Side, installed, run_contest, version
from benchmarks.econ_t import Network, load
from benchmarks.faults import weight_bits
from benchmarks.timing import processor_time
from flow.landscape._problem import Floats
from flow.model import Array

TITLE = "exact EMD against loops over samples"
SAMPLES, QUICK_SAMPLES = 2048, 64
NAIVE, CPP, WRAPPED, BARE = "pyemd", "pyemd_cpp", "ot_emd2", "ot_emd_c"
MOST_ITERATIONS = 1_000_000
BOUND_FLIPS, BOUND_MASKS = (1, 10), 10


def _geometry(net: Network) -> tuple[Floats, Callable[[Array], Array]]:
    """Return the ground distance (48, 48), and what takes the cells (N, 48) out of images."""
    package = str(net.model.score.per_sample.__module__).rpartition(".")[0]
    geometry = importlib.import_module(f"{package}.geometry")
    return geometry.DISTANCE, geometry.to_cells


def _loop(net: Network, solve: Callable[[Floats, Floats, Floats], float]) -> Callable[[], Floats]:
    """Return a loop over samples; both histograms are scaled to the same sum first, as for ours."""
    distance, to_cells = _geometry(net)
    outputs, targets = net.outputs, net.y.numpy()

    def run() -> Floats:
        a, b = (to_cells(image).astype(np.float64) for image in (outputs, targets))
        a, b = (cells / cells.sum(axis=1, keepdims=True) for cells in (a, b))
        return np.array([solve(p, q, distance) for p, q in zip(a, b, strict=True)])

    return run


def _bare(a: Floats, b: Floats, distance: Floats) -> float:
    """Call the network simplex of POT without its checks."""
    return float(emd_c(a, b * (a.sum() / b.sum()), distance, MOST_ITERATIONS, 1)[1])


def sides(net: Network) -> dict[str, Side]:
    """Return ours and the peers that are installed."""
    outputs, targets = net.outputs, net.y.numpy()
    found = {OURS: Side(lambda: net.model.score.per_sample(outputs, targets), "charge that stays is cancelled first, then POT's simplex")}
    if installed("pyemd"):
        pyemd = importlib.import_module("pyemd").emd
        found[NAIVE] = Side(_loop(net, pyemd), f"{version('pyemd')}, one call for each sample")
        found[CPP] = Side(_loop(net, partial(pyemd, backend="cpp")), f"{version('pyemd')}, its older solver in C++")
    found[WRAPPED] = Side(_loop(net, ot.emd2), f"{version('POT')}, ot.emd2 for each sample")
    found[BARE] = Side(_loop(net, _bare), f"{version('POT')}, its solver emd_c called without the checks around it")
    return found


def agreement(results: Mapping[str, Any]) -> str:
    """Say how well the distances agree."""
    worst = max(float(np.max(np.abs(found - results[OURS]))) for found in results.values())
    return f"distances of all sides agree to {worst:.1e}, mean {results[OURS].mean():.5g}"


def faulty_outputs(net: Network, flips: int, masks: int) -> Iterator[Array]:
    """Yield the reconstructed samples (N, 1, 8, 8) with each of some random sets of flipped weight bits."""
    codes, space, rng = net.twin.codes(net.twin.params), weight_bits(net), np.random.default_rng(flips)
    head = net.problem.head or torch.nn.Identity()
    for row in space.flipped(np.stack([space.draw(rng, flips) for _ in range(masks)])):
        with torch.no_grad():
            outputs: Array = head(net.twin.forward_codes({**codes, **space.codes(row)}, net.x).float()).numpy()
        yield outputs


def bounds(net: Network, masks: int) -> tuple[list[str], dict[str, float]]:
    """Compare the certified lower bound with the exact distance, at faulty outputs: lines to print, and figures."""
    bound = importlib.import_module(f"{str(net.model.score.per_sample.__module__).rpartition('.')[0]}.bound")
    targets = net.y.numpy()
    figures: dict[str, float] = {}
    start = processor_time()
    functions = bound.potentials(net.outputs, targets)
    once, seconds, lines = processor_time() - start, np.zeros(2), []
    for flips in BOUND_FLIPS:
        low, exact = [], []
        for outputs in faulty_outputs(net, flips, masks):
            times = [processor_time()]
            low.append(bound.lower_bound(functions, outputs, targets))
            times.append(processor_time())
            exact.append(net.model.score.per_sample(outputs, targets))
            times.append(processor_time())
            seconds += np.diff(times)
        found, true = (np.concatenate(values) for values in (low, exact))
        some = true > 0
        mean, least = float((found[some] / true[some]).mean()), float((found[some] / true[some]).min())
        above = float(np.nanmax(found - true))
        figures |= {f"bound_share_{flips}": mean, f"bound_share_{flips}_least": least}
        lines.append(
            f"  lower bound, not the distance: {mean:.4f} of it on average, {least:.3f} at least, at {masks} sets of {flips} flipped "
            f"bit{'s' * (flips > 1)} and {len(targets)} samples; largest excess {above:.0e}"
        )
    rates = masks * len(BOUND_FLIPS) * len(targets) / seconds
    figures |= {"bound_samples_per_s": float(rates[0]), "exact_samples_per_s": float(rates[1]), "bound_once_s": once}
    lines.append(
        f"  {rates[0] / 1e3:.0f} k bounds a second, {rates[0] / rates[1]:.0f}x the distances ({rates[1] / 1e3:.0f} k a second); "
        f"{once:.2f} s once for the functions of the clean outputs\n"
    )
    return lines, figures


def run(quick: bool = False) -> Iterator[str | Entry]:
    """Time the distances; yields lines to print and entries."""
    torch.set_num_threads(1)
    if not installed("pyemd"):
        yield f"pyemd: {EXTRA}\n"
    net = load(QUICK_SAMPLES if quick else SAMPLES, quick)
    lines, figures = bounds(net, 1 if quick else BOUND_MASKS)
    for line in run_contest(Contest(
        "emd", f"exact EMD of {len(net.x)} reconstructed ECON-T samples, 48 cells each", NAIVE, sides(net), sides(net.take(QUICK_SAMPLES)),
        1 if quick else 3, {NAIVE: 5.0, CPP: 5.0}, agreement,
    )):  # fmt: skip
        yield Entry(line.name, {**line.figures, **figures}) if isinstance(line, Entry) else line
    yield from lines
