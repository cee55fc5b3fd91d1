"""Many networks in one simulation, which takes the compiler half a minute: built once."""

from dataclasses import dataclass

import numpy as np
import pytest

from flow.core.errors import ToolNotFound
from flow.core.tool import GXX
from flow.rtl.graph import Graph
from flow.rtl.simulate import MAKE, VERILATOR
from flow.stream import lines
from flow.stream.build import Design, build, queues, skeleton, with_queues
from flow.stream.model import evaluate
from flow.stream.plan import plan
from tests.stream.bench import Bench
from tests.stream.networks import CLOCK, NAMED, PART, REUSED, STORED, random_network, random_reuse

DEPTH = 60  # pixels; no queue of these networks needs more
SIMULATED = range(12)


@dataclass(frozen=True)
class Case:
    """A network, and whether it is the handshakes only."""

    name: str
    graph: Graph
    design: Design
    bare: bool = False

    @property
    def pixels(self):
        """Pixels of a frame, and of a result."""
        source, output = self.design.elements[0].source, self.design.elements[-1].output
        return source.rows * source.columns, output.rows * output.columns

    def expected(self, x):
        """(N, ...) -> (N, words of all pixels)."""
        return evaluate(self.design.elements, self.design.kernels, x)[self.design.elements[-1].name].reshape(len(x), -1)


def make(name, graph, reuse, stored=False):
    """Build a network with deep queues; these and its rows, though they are short, are in memories, if wanted."""
    elements = plan(graph)
    names = {e.layer: e.name for e in elements}
    depths = dict.fromkeys(queues(elements, {names.get(key, key): n for key, n in reuse.items()}), DEPTH)
    memories = {e.name: True for e in elements if stored and lines.possible(e)}
    return Case(name, graph, build(graph, PART, CLOCK, reuse, depths, memories, 1 if stored else None))


@dataclass(frozen=True)
class Simulation:
    """Networks that are simulated together."""

    cases: tuple[Case, ...]
    bench: Bench

    def run(self, frames, **settings):
        """Send each network its frames, which are lists of pixels; return its case and its result."""
        return list(zip(self.cases, self.bench.run([np.concatenate(f) for f in frames], **settings), strict=True))


@pytest.fixture(scope="session")
def simulation(tmp_path_factory):
    try:
        for tool in (VERILATOR, MAKE, GXX):
            tool.argv()
    except ToolNotFound as error:
        pytest.skip(str(error))
    cases = [make(f"random {seed}", graph := random_network(seed), random_reuse(plan(graph), seed)) for seed in SIMULATED]
    cases += [make(name, network(), {}) for name, network in NAMED.items()]
    cases += [make(f"{name} reused", NAMED[name](), reuse) for name, reuse in REUSED.items()]
    cases += [make(f"{name} in memory", NAMED[name](), reuse, stored=True) for name, reuse in STORED.items()]
    found = {case.name: case for case in cases}
    cases += [Case(f"{name} bare", found[name].graph, skeleton(found[name].design, DEPTH), True) for name in ("residual", "plain reused")]
    waits = {place: DEPTH for place in found["residual"].design.fifos if "." in place}
    cases.append(Case("residual unqueued", found["residual"].graph, with_queues(skeleton(found["residual"].design, DEPTH), waits), True))
    return Simulation(tuple(cases), Bench([case.design for case in cases], tmp_path_factory.mktemp("stream") / "bench"))
