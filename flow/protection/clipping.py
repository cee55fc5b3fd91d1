"""The network with its activations bounded to their range on training samples: exact, what it costs, and what it buys."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flow import gate
from flow.core.stage import Job
from flow.protection import worth
from flow.protection.clip import BATCH, Bounds, Clipped, bounded_graph, bounds
from flow.protection.criticality import Criticality, Values
from flow.protection.folder import save
from flow.protection.mapping import cost, map_design
from flow.protection.upsets import Upsets, outputs
from flow.robustness._subject import Subject
from flow.rtl.graph import Graph
from flow.rtl.lower import lower
from flow.rtl.ports import Manifest
from flow.rtl.verilog import write
from flow.statistics import mean_interval
from flow.synth._plan import Counts

WORST, DRAWN = 1000, 2000  # bits flipped with bounds: the worst ones without, and random others
MATCHED = 16  # samples by which layers are known
Records = dict[str, NDArray[Any]]
Interval = tuple[float, float] | None  # None: every bit was flipped


@dataclass(frozen=True)
class Left:
    """What single upsets do with bounds.

    Attributes:
        degradation: mean over all bits, with its interval over the bits that were drawn.
        visible: share of the bits in percent, with the same.
        clean: what bounds alone do to the score of clean samples, with its interval over samples.
    """

    degradation: tuple[float, Interval]
    visible: tuple[float, Interval]
    clean: tuple[float, Interval]


def with_bounds(subject: Subject, limits: Bounds) -> Subject:
    """Return the network with bounds, with the same samples; its clean scores are those with bounds."""
    clipped = Clipped(subject.twin, limits)
    with torch.no_grad():
        batches = torch.split(torch.from_numpy(np.ascontiguousarray(subject.x)), BATCH)
        made = torch.cat([clipped.forward_codes(subject.codes, batch) for batch in batches])
    return replace(subject, _twin=clipped, outputs=made, clean=subject.score_outputs(made), problem=None)


def left(subject: Subject, limits: Bounds, found: Criticality, rng: np.random.Generator) -> Left:
    """Flip bits of the network with bounds: the worst ones without bounds all, the others by chance.

    Args:
        subject: the network without bounds.
        limits: from `flow.protection.clip.bounds`.
        found: its criticality map. For bits that are not drawn it is the better half of the estimate: only the differences are sampled.
        rng: draws the others.
    """
    space, count = subject.space(), found.samples
    bounded = with_bounds(subject, limits)
    shift = subject.degradation(bounded.clean)
    order = worth.critical_first(found.harm)
    top, rest = order[:WORST], order[WORST:]
    drawn = rest if len(rest) <= DRAWN else rng.choice(rest, DRAWN, replace=False)
    bits = np.concatenate([top, drawn])
    harm = (bounded.degradations(space, space.flipped(bits[:, None]), count) + shift[:count]).mean(axis=1)

    def estimate(within: Values, without: Values) -> tuple[float, Interval]:
        difference = within - without[bits]
        if len(drawn) == len(rest):
            return float(difference.sum() + without.sum()) / space.total, None
        exact = without.sum() + difference[: len(top)].sum()
        mean, ci = mean_interval(difference[len(top) :])
        value, low, high = ((exact + len(rest) * part) / space.total for part in (mean, *ci))
        return float(value), (float(low), float(high))

    return Left(estimate(harm, found.harm), _visible(found.seen(harm), len(top), space.total), mean_interval(shift))


def _visible(seen: Values, top: int, total: int) -> tuple[float, Interval]:
    """Return the share of visible bits in percent, of the worst ones counted, of the others drawn."""
    if len(seen) == total:
        return 100 * float(seen.mean()), None
    value, ci = worth.share(seen[top:] > 0)
    value, low, high = (100 * float(seen[:top].sum()) / total + part * (total - top) / total for part in (value, *ci))
    return value, (low, high)


def measure(job: Job, subject: Subject, found: Criticality, x: NDArray[np.float32], network: Counts, tool: str) -> Records:
    """Measure ``harden_clip_*`` and return what the report draws.

    Args:
        job: reads ``lowered``, ``vectors`` and ``verilog``; records the metrics.
        subject: the network.
        found: its criticality map.
        x: (N, ...) samples whose activations are the range.
        network: resources of the unprotected network.
        tool: who counted them.

    Raises:
        MismatchError: hardware with bounds computes something else than the network with bounds.
    """
    limits, words = bounds(subject.twin, x), "activations bounded to their range"
    whole, cycles = _build(job, subject, limits) if limits else (network, 0)
    records = cost(job, "clip", whole, network, tool, words)
    job.measure("harden_clip_cycles", cycles, "cycles", direction="lower", source="as designed", title=f"Latency more for {words}")
    job.progress(0.7, "flips with bounds")
    result = left(subject, limits, found, job.rng(job.point.data.seed, "clip"))
    total = len(found.harm)
    bits = f"all {total} bits" if total <= WORST + DRAWN else f"the {WORST} worst of {total} bits and {DRAWN} random others"
    flips = f"{bits}, {found.samples} samples; for each upset of the bare store"
    unit, title = subject.score.unit, subject.score.title
    for key, (value, ci), unit_, what, how in (
        ("degradation", result.degradation, unit, f"{title} degradation left", flips),
        ("visible", result.visible, "%", "Visible errors left", flips),
        ("clean", result.clean, unit, f"{title} degradation without upsets", f"{len(subject.x)} samples"),
    ):  # fmt: skip
        job.measure(f"harden_clip_{key}", value, unit_, direction="lower", ci=ci, source=how, title=f"{what}, {words}")
        records[f"harden_clip_{key}"] = np.array([value])
    return records


def _build(job: Job, subject: Subject, limits: Bounds) -> tuple[Counts, int]:
    """Return what hardware with bounds takes, and how many cycles more; it is simulated as stage ``netsim`` does."""
    hardware, twin = job.point.hardware, subject.twin
    vectors, _ = gate.read_vectors(job.input("vectors"))
    graph = bounded_graph(Graph.load(job.input("lowered")), twin, limits, vectors[:MATCHED])
    lowered, x = lower(graph), gate.channels_last(vectors)
    clipped = Clipped(twin, limits)
    with torch.no_grad():
        right = clipped(clipped.params, torch.from_numpy(np.ascontiguousarray(vectors, np.float32)))
    expected = gate.words(right.double().numpy())
    folder = job.work / "clip"
    manifest = write(
        lowered, graph, folder, part=hardware.part, clock_ns=hardware.clock_ns, logic_per_stage=hardware.logic_per_stage
    )  # fmt: skip
    sources = {name: (folder / name).read_text() for name in manifest.sources}
    mapped = map_design(job, "clip_mapped", sources, manifest)
    circuit = Upsets(mapped.modules, manifest.top, manifest.clock)
    simulated = outputs(circuit, manifest, x, job.rng(0, "registers"))
    for level, got in (("alkaid with bounds", lowered.predict(x)), ("netlist with bounds", simulated)):
        count, where = gate.mismatches(expected, got)
        if where is not None:
            raise gate.report(level, "twin", expected, got, manifest.output_layer, where, count)
    save(job.output("hardened_rtl") / "clip", {**sources, "manifest.json": (folder / "manifest.json").read_text()})
    before = Manifest.load(job.input("verilog") / "manifest.json")
    return mapped.report.total, manifest.latency - before.latency
