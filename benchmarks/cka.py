"""Centred kernel alignment of ECON-T outputs for clean and noisy inputs, at two numbers of samples, against N x N matrices.

The naive peer is the biased CKA of PyLandscape (Baldi et al., arXiv:2502.08355), stated anew: kernels of all samples, centred twice. The
other one is the debiased figure that ours is too (Song et al., JMLR 13, 2012), by its definition.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.compare import OURS, Contest, Entry, Side, run_contest
from benchmarks.econ_t import Network, load
from flow.landscape import cka
from flow.landscape._hsic import Features, hsics
from flow.landscape._problem import Floats, Problem
from flow.stages.data import read_dataset

TITLE = "CKA against kernels of all samples"
SAMPLES, QUICK_SAMPLES = (1024, 4096), (64, 128)
NOISE = 0.1
NAIVE, DEBIASED = "gram", "gram_debiased"


def _inputs(net: Network, samples: int) -> tuple[Problem, list[Tensor]]:
    """Return the network on training samples, of which there are more, and clean and noisy inputs."""
    data = read_dataset(net.paths["dataset"])
    x = torch.from_numpy(np.ascontiguousarray(data.x["train"][:samples]))
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(x.shape, dtype=np.float32))
    return replace(net.problem, x=x, y=x), [x, (x + NOISE * noise).clamp(0.0, float(x.max()))]


def _features(problem: Problem, x: Tensor) -> Floats:
    return np.concatenate([cka.output_features(problem, rows) for rows in torch.split(x, 1024)])


def _biased(x: Floats, y: Floats) -> float:
    kernels = [torch.from_numpy(features).float() @ torch.from_numpy(features).float().T for features in (x, y)]
    k, q = (kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean() for kernel in kernels)
    return float((k * q).sum()) / math.sqrt(float(k.square().sum()) * float(q.square().sum()))


def _unbiased_hsic(k: Floats, q: Floats) -> float:
    n = len(k)
    ends = k.sum() * q.sum() / ((n - 1) * (n - 2))
    return float(((k * q).sum() + ends - 2 * (k.sum(0) @ q.sum(0)) / (n - 2)) / (n * (n - 3)))


def _debiased(x: Floats, y: Floats) -> float:
    k, q = x @ x.T, y @ y.T
    for kernel in (k, q):
        np.fill_diagonal(kernel, 0.0)
    return _unbiased_hsic(k, q) / math.sqrt(_unbiased_hsic(k, k) * _unbiased_hsic(q, q))


def sides(net: Network, samples: int) -> dict[str, Side]:
    """Return ours and the peers; the forward passes are part of all of them."""
    problem, inputs = _inputs(net, samples)
    tasks = [(cka.OUTPUT, 0, 0), (cka.OUTPUT, 1, 1), (cka.OUTPUT, 0, 1)]

    def features(part: slice) -> Features:
        return [{cka.OUTPUT: cka.output_features(problem, x[part])} for x in inputs]

    def ours() -> float:
        found = cka.alignment(hsics(features, samples, tasks, problem.chunks, lambda done: None), tasks[-1])
        return float("nan") if found is None else float(found[0])

    def peer(way: Callable[[Floats, Floats], float], words: str) -> Side:
        return Side(lambda: way(*(_features(problem, x) for x in inputs)), words)

    return {
        OURS: Side(ours, "debiased, from sums over chunks of samples, with its interval"),
        NAIVE: peer(_biased, "PyLandscape's way, stated anew: biased, kernels of all samples, float32"),
        DEBIASED: peer(_debiased, "debiased, kernels of all samples, float64"),
    }


def agreement(results: Mapping[str, Any]) -> str:
    """Say how well the figures agree; the biased one is another estimate."""
    words = f"CKA {results[OURS]:.6f}, by its definition {results[DEBIASED]:.6f}, biased {results[NAIVE]:.6f}"
    return f"{words}; debiased ones agree to {abs(results[OURS] - results[DEBIASED]):.1e}"


def run(quick: bool = False) -> Iterator[str | Entry]:
    """Time both numbers of samples; yields lines to print and entries."""
    torch.set_num_threads(1)
    few, many = QUICK_SAMPLES if quick else SAMPLES
    net = load(QUICK_SAMPLES[0], quick)
    memory: list[str] = []
    for samples in (few, many):
        work = f"CKA of ECON-T outputs, clean inputs and {100 * NOISE:g} % noise, {samples} samples, forward passes included"
        contest = Contest(
            f"cka_{samples}", work, NAIVE, sides(net, samples), sides(net, QUICK_SAMPLES[0]), 1 if quick else 3, check=agreement
        )
        for line in run_contest(contest):
            yield line
            if isinstance(line, Entry) and line.name == contest.name and line.figures["ours_mib"] is not None:
                memory.append(f"{line.figures['ours_mib']:.1f} MiB at {samples} samples (kernels: {line.figures['peer_mib']:.0f} MiB)")
    yield f"  peak memory of ours: {', '.join(memory)}\n"
