"""Curvature on ECON-T against PyHessian: the trace, exact against Hutchinson's estimate from 100 probes, and the top eigenvalue.

The peer runs as Baldi et al., arXiv:2502.08355, run it (loader with batches of 256, tolerance 1e-6), with one batch of all samples, and
with one graph of the gradient that is reused, which is the best it can do. The network of the peer is the same one in Brevitas.
"""

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.compare import EXTRA, OURS, Contest, Entry, Side, installed, run_contest, version
from benchmarks.econ_t import Network, load
from flow.config import LandscapeConfig
from flow.landscape import hessian_trace
from flow.landscape._products import HessianProduct
from flow.landscape.top_eigenvalue import largest_eigenvalue, start_vector

TITLE = "Hessian against PyHessian"
SAMPLES, PROBES, TIMED, ITERATIONS, TOLERANCE, CONVERGED = 2048, 100, 20, 100, 1e-6, 1e-9
QUICK_SAMPLES, QUICK_PROBES = 64, 2
NAIVE, LOADER, GRAPH = "loader_256", "loader_2048", "one_graph"
BATCHES = {NAIVE: 256, LOADER: SAMPLES}
WORDS = {NAIVE: "loader of batches of 256", LOADER: "loader of one batch of 2,048", GRAPH: "one graph of the gradient, reused"}


def _silent(done: float, words: str) -> None:
    """Show no progress."""


def _pyhessian(net: Network, name: str) -> Any:  # noqa: ANN401 - of a package without types
    """Return the operator of PyHessian; with `GRAPH` the graph is made here."""

    def mean_loss(output: Tensor, target: Tensor) -> Tensor:
        return net.model.loss(output, target).mean()

    given: dict[str, Any] = {"data": (net.x, net.y)}
    if name in BATCHES:
        given = {"dataloader": list(zip(torch.split(net.x, BATCHES[name]), torch.split(net.y, BATCHES[name]), strict=True))}
    return importlib.import_module("pyhessian").hessian(net.chain, mean_loss, cuda=False, **given)


def _peer(net: Network, name: str, call: Callable[[Any], Any]) -> Callable[[], Any]:
    """Return a run of PyHessian, its draws the same in each round."""

    def run() -> Any:  # noqa: ANN401 - of a package without types
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Using backward.. with create_graph=True")  # the peer does
            torch.manual_seed(0)
            return call(_pyhessian(net, name))

    return run


def _trace(probes: int) -> Callable[[Any], Any]:
    return lambda peer: peer.trace(maxIter=probes, tol=0.0)


def traces(net: Network, probes: int, timed: int) -> dict[str, Side]:
    """Return the sides of the trace."""
    config = LandscapeConfig(samples=len(net.x))
    rng = np.random.default_rng(0)
    sides = {OURS: Side(lambda: hessian_trace.measure(net.problem, config, rng, _silent)["hessian_trace"].value, "exact, by layer too")}
    for name, words in WORDS.items():
        count = probes if name == GRAPH else timed
        run, brief = (_peer(net, name, _trace(number)) for number in (count, 2))
        part = "" if count == probes else f"{count} of {probes} probes"
        sides[name] = Side(run, f"{version('pyhessian')}, {words}", count / probes, part, brief)
    return sides


def eigenvalues(net: Network) -> dict[str, Side]:
    """Return the sides of the top eigenvalue."""

    def ours() -> tuple[float, float, int]:
        operator = HessianProduct(net.problem, tuple(net.problem.params))
        return largest_eigenvalue(operator, start_vector(operator, np.random.default_rng(0)), TOLERANCE)

    sides = {OURS: Side(ours, "Lanczos, one graph of the gradient")}
    for name, words in WORDS.items():
        run = _peer(net, name, lambda peer: peer.eigenvalues(maxIter=ITERATIONS, tol=TOLERANCE, top_n=1)[0][0])
        sides[name] = Side(run, f"{version('pyhessian')}, power iteration, {words}")
    return sides


def _trace_words(results: Mapping[str, Any]) -> str:
    values = np.array(results[GRAPH])
    error = values.std(ddof=1) / len(values) ** 0.5
    return f"trace: exact {results[OURS]:.6g}; PyHessian {values.mean():.6g}, standard error {error:.2g} from {len(values)} probes"


def _eigenvalue_words(net: Network) -> Callable[[Mapping[str, Any]], str]:
    def check(results: Mapping[str, Any]) -> str:
        operator = HessianProduct(net.problem, tuple(net.problem.params))
        exact = largest_eigenvalue(operator, np.random.default_rng(1).standard_normal(operator.size), CONVERGED)[0]
        value, _, products = results[OURS]
        theirs = ", ".join(f"{results[name] / exact - 1:+.1e}" for name in WORDS)
        return f"top eigenvalue {exact:.9g}; relative errors: ours {value / exact - 1:+.1e} ({products} products), PyHessian {theirs}"

    return check


def run(quick: bool = False) -> Iterator[str | Entry]:
    """Time both figures; yields lines to print and entries."""
    torch.set_num_threads(1)
    if not installed("pyhessian"):
        yield f"pyhessian: {EXTRA}\n"
        return
    net = load(QUICK_SAMPLES if quick else SAMPLES, quick)
    probes, timed = (QUICK_PROBES, QUICK_PROBES) if quick else (PROBES, TIMED)
    few = net.take(QUICK_SAMPLES)
    words = f"ECON-T, {len(net.x)} samples, all {net.problem.point.size} parameters"
    rounds = 1 if quick else 3
    yield from run_contest(Contest(
        "hessian_trace", f"trace of the Hessian, {words}; peer: {probes} Hutchinson probes", NAIVE, traces(net, probes, timed),
        traces(few, 2, 2), rounds, {NAIVE: 8.0}, _trace_words,
    ))  # fmt: skip
    yield from run_contest(Contest(
        "hessian_top_eigenvalue", f"largest eigenvalue of the Hessian, {words}", NAIVE, eigenvalues(net), eigenvalues(few), rounds,
        {NAIVE: 3.0}, _eigenvalue_words(net),
    ))  # fmt: skip
