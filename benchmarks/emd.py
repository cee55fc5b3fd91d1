"""Exact energy mover's distance of ECON-T test samples against loops over samples with packages from PyPI."""

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
from flow.landscape._problem import Floats
from flow.model import Array

TITLE = "exact EMD against loops over samples"
SAMPLES, QUICK_SAMPLES = 2048, 64
NAIVE, CPP, WRAPPED, BARE = "pyemd", "pyemd_cpp", "ot_emd2", "ot_emd_c"
MOST_ITERATIONS = 1_000_000


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


def run(quick: bool = False) -> Iterator[str | Entry]:
    """Time the distances; yields lines to print and entries."""
    torch.set_num_threads(1)
    if not installed("pyemd"):
        yield f"pyemd: {EXTRA}\n"
    net = load(QUICK_SAMPLES if quick else SAMPLES, quick)
    yield from run_contest(Contest(
        "emd", f"exact EMD of {len(net.x)} reconstructed ECON-T samples, 48 cells each", NAIVE, sides(net), sides(net.take(QUICK_SAMPLES)),
        1 if quick else 3, {NAIVE: 5.0, CPP: 5.0}, agreement,
    ))  # fmt: skip
