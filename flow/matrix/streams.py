"""Streaming hardware of a row: what it computes, and its Verilog in simulation."""

from pathlib import Path

import numpy as np

from flow.core.errors import MismatchError
from flow.core.stage import Job
from flow.gate import Values
from flow.rtl.graph import Graph
from flow.stream import cost
from flow.stream.build import Design, build, queues, with_queues
from flow.stream.model import evaluate
from flow.stream.plan import plan
from flow.stream.simulate import PAUSES, simulate
from flow.stream.simulate import build as build_simulation
from flow.stream.write import describe, write_sources


def design(graph: Graph, part: str, clock_ns: float, *, reused: bool) -> Design:
    """Build streaming hardware.

    Args:
        graph: that hls4ml made for io_stream.
        part: FPGA part.
        clock_ns: clock period in ns.
        reused: each multiplier is used as often as possible, instead of once a pixel.

    Returns:
        The design, with queues that are never full.

    Raises:
        InvalidInput: a layer that cannot be streamed; names it.
    """
    able = [e for e in plan(graph) if reused and e.reusable and e.graph is not None and cost.reusable(e.graph)]
    made = build(graph, part, clock_ns, {e.name: e.graph.layers[0].shape[0] for e in able if e.graph is not None})
    deep = max(e.source.rows * e.source.columns for e in made.elements)
    return with_queues(made, dict.fromkeys(queues(made.elements, made.reuse), max(16, deep)))


def outputs(made: Design, x: Values) -> Values:
    """Compute (N, ...) inputs, channels last -> (N, outputs)."""
    return evaluate(made.elements, made.kernels, x)[made.elements[-1].name].reshape(len(x), -1)


def simulated(job: Job, made: Design, x: Values, folder: Path) -> Values:
    """Simulate the Verilog, frames one behind the other, and again with pauses of both sides.

    Args:
        job: runs the simulator.
        made: the design.
        x: (N, ...) frames, channels last.
        folder: for the Verilog; it is made anew.

    Returns:
        (N, outputs).

    Raises:
        MismatchError: pauses change a value, a frame gives no result, or a whole one is marked as damaged.
        ToolFailed: it does not compile, or stops.
    """
    manifest = describe(made)
    work = build_simulation(job, write_sources(made, folder), manifest, job.work / "simulation")
    dense = simulate(job, work, manifest, x)
    paused = simulate(job, work, manifest, x, gap=PAUSES[0], stall=PAUSES[1])
    if not np.array_equal(dense.outputs, paused.outputs):
        raise MismatchError("with pauses the streaming Verilog gives other values.")
    if (dense.damaged | paused.damaged).any():
        raise MismatchError("the streaming Verilog marks whole frames as damaged.")
    return dense.outputs
