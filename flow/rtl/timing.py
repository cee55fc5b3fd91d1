"""Static timing estimate of lowered logic, before any synthesis: how long a pipeline stage takes on an FPGA family.

Every operation of alkaid is a level of look-up tables or a carry chain; between two of them lies a net. The delay of a stage is the
longest path through it, from a register's clock to the next register: clock-to-output, nets and operations, set-up time, clock
uncertainty. A value has two arrival times, of its lowest and its highest bit: a chain of adders pays for one carry chain, not for one per
adder, because the next one begins while the carries of the last still run. Placement is not known; nets are what `Fabric` says.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flow.core.errors import DoesNotFit
from flow.rtl.fabric import Fabric, fabric

Logic = Any  # alkaid's CombLogic; alkaid has no types
Span = tuple[float, float]  # arrival times in ns of the lowest and of the highest bit
NEGATE, INPUT, ADD, SUBTRACT, RELU, QUANTIZE, ADD_CONSTANT, CONSTANT, MUX, MULTIPLY, TABLE, UNARY, BINARY, ADD3 = range(-2, 12)


@dataclass(frozen=True)
class Timing:
    """What a pipeline is estimated to reach.

    Attributes:
        delays: of each pipeline stage, clock to clock, in ns.
        source: the delay model.
    """

    delays: tuple[float, ...]
    source: str

    @property
    def worst(self) -> float:
        """Delay of the slowest stage in ns."""
        return max(self.delays)


def _width(op: Any) -> int:  # noqa: ANN401
    return int(sum(op.qint.kif))


class Walk:
    """Arrival times along the operations of a logic, for one fabric."""

    def __init__(self, logic: Logic, rates: Fabric) -> None:
        """Count the loads of every value, by which its nets get slower."""
        self.ops, self.rates = logic.ops, rates
        self.loads = [0] * len(self.ops)
        for op in self.ops:
            for i in op.addr:
                self.loads[i] += 1

    def adder(self, at: Span, bits: int) -> Span:
        """Pass through a carry chain of so many bits; the look-up tables at its inputs belong to it."""
        r = self.rates
        carried = at[0] + r.add_in + r.carry * max(0, bits - r.carry_free)
        return at[0] + r.add_in, max(carried, at[1] + r.add_in) + r.add_out

    def step(self, index: int, arrival: Callable[[int], Span]) -> Span:
        """Return when the result of an operation is there.

        Args:
            index: of the operation.
            arrival: gives the times of an earlier operation.
        """
        op, r = self.ops[index], self.rates
        if op.opcode == CONSTANT:
            return 0.0, 0.0
        if op.opcode == INPUT:
            return r.clock_to_q, r.clock_to_q
        if op.opcode == QUANTIZE or (op.opcode == RELU and self.ops[op.addr[0]].qint.min >= 0) or (op.opcode == UNARY and op.data[0] == 0):
            return arrival(op.addr[0])  # wires; an inverter is absorbed by what follows
        width = _width(op)
        spans = [self._behind_net(i, arrival(i), width if self._selects(op, k) else 1) for k, i in enumerate(op.addr)]
        return self.through(op, (max(s[0] for s in spans), max(s[1] for s in spans)), width)

    def through(self, op: Any, at: Span, width: int) -> Span:  # noqa: ANN401
        """Pass through the logic of an operation, whose result has `width` bits."""
        r, bits = self.rates, [_width(self.ops[i]) for i in op.addr]
        if op.opcode in (ADD, SUBTRACT, ADD_CONSTANT, NEGATE):
            return self.adder(at, width)
        if op.opcode == ADD3:
            if r.negates_apart and not all(op.data[0:6:2]):
                at = self.adder(at, width)
                at = at[0] + r.net, at[1] + r.net
            return self.adder((at[0] + r.lut + r.net, at[1] + r.lut + r.net), width)  # three become two in one level of look-up tables
        if op.opcode == MULTIPLY:
            for _ in range(math.ceil(math.log2(max(2, min(bits))))):  # a tree of partial products
                at = self.adder((at[0] + r.net, at[1] + r.net), sum(bits))
            return at
        levels = 1  # multiplexer, ReLU, bitwise
        if op.opcode == TABLE:  # beyond one look-up table, each level selects by two more address bits
            levels += math.ceil(max(0, bits[0] - r.lut_inputs) / 2)
        elif op.opcode == UNARY:
            levels = math.ceil(math.log(max(2, bits[0]), r.lut_inputs))
        end = max(at) + levels * r.lut + (levels - 1) * r.net
        return end, end

    def _selects(self, op: Any, position: int) -> bool:  # noqa: ANN401
        """Tell whether an argument drives a look-up table for every bit of the result with its one bit."""
        return (op.opcode == MUX and position == 2) or op.opcode == RELU

    def _behind_net(self, index: int, at: Span, fan: int) -> Span:
        net = 0.0 if self.ops[index].opcode == CONSTANT else self.rates.net + self.rates.fan * math.log2(max(1, self.loads[index] * fan))
        return at[0] + net, at[1] + net


def stage_delay(logic: Logic, rates: Fabric) -> float:
    """Return the delay of one pipeline stage in ns, clock to clock."""
    walk = Walk(logic, rates)
    times: list[Span] = []
    for i in range(len(walk.ops)):
        times.append(walk.step(i, times.__getitem__))
    ends = [max(times[i]) for i in logic.out_idxs if i >= 0]
    return max(ends, default=rates.clock_to_q) + rates.overhead


def estimate(stages: Iterable[Logic], part: str) -> Timing:
    """Estimate each pipeline stage.

    Args:
        stages: alkaid's combinational logic between two registers.
        part: FPGA part with its speed grade.

    Raises:
        ConfigError: the family of the part has no delay model.
    """
    rates = fabric(part)
    return Timing(tuple(stage_delay(logic, rates) for logic in stages), rates.describe())


def _assign(logic: Logic, rates: Fabric, limit: float) -> list[int] | None:
    """Give every operation the earliest stage in which its result is there in time; None when one alone takes longer than `limit` ns."""
    walk, registered = Walk(logic, rates), (rates.clock_to_q, rates.clock_to_q)
    times: list[Span] = []
    stages: list[int] = []
    for i, op in enumerate(walk.ops):
        stage = max((stages[a] for a in op.addr if walk.ops[a].opcode != CONSTANT), default=0)

        def arrival(a: int, stage: int = stage) -> Span:
            return times[a] if stages[a] == stage or walk.ops[a].opcode == CONSTANT else registered

        at = walk.step(i, arrival)
        if max(at) > limit:
            stage, at = stage + 1, walk.step(i, lambda a: times[a] if walk.ops[a].opcode == CONSTANT else registered)
            if max(at) > limit:
                return None
        times.append(at)
        stages.append(stage)
    return stages


def _split(logic: Logic, stages: list[int]) -> Any:  # noqa: ANN401
    """Cut the logic at the stages that its operations were given."""
    from alkaid.trace.pipeline import to_pipeline

    # alkaid cuts at equal parts of the latency: half-way values put every operation into the part that has its number.
    ops = [op._replace(latency=stage + 0.5) for op, stage in zip(logic.ops, stages, strict=True)]
    return to_pipeline(logic._replace(ops=ops), n_stages=max(stages) + 1, verbose=False)


class ClockTooFast(DoesNotFit):
    """A single operation takes longer than the clock period.

    Attributes:
        fastest_ns: period that it is estimated to need, registers included.
    """

    def __init__(self, text: str, fastest_ns: float) -> None:
        super().__init__(text)
        self.fastest_ns = fastest_ns


def pipeline(logic: Logic, part: str, clock_ns: float) -> Any:  # noqa: ANN401
    """Cut logic into the fewest pipeline stages that are estimated to reach a clock, and these as evenly as that goes.

    Args:
        logic: alkaid's CombLogic, ternary adders already fused.
        part: FPGA part with its speed grade.
        clock_ns: target clock period.

    Returns:
        alkaid's FSM.

    Raises:
        ClockTooFast: a single operation takes longer than the period; says the fastest clock.
        ConfigError: the family has no delay model.
    """
    rates = fabric(part)
    high = clock_ns - rates.overhead
    stages = _assign(logic, rates, high)
    if stages is None:
        fastest = _fastest(logic, rates, high)
        raise ClockTooFast(
            f"hardware.clock_ns = {clock_ns:g}: the slowest single operation of this network is estimated to need {fastest:.2f} ns on "
            f"{part}, registers included ({rates.describe()}), and none is cut in two. Set hardware.clock_ns to "
            f"{math.ceil(fastest * 100) / 100:g} or more, choose a faster part, or set hardware.logic_per_stage by hand.",
            fastest,
        )
    low = 0.0
    for _ in range(8):  # the shortest limit that needs no more stages
        middle = (low + high) / 2
        tighter = _assign(logic, rates, middle)
        if tighter is not None and max(tighter) == max(stages):
            high, stages = middle, tighter
        else:
            low = middle
    return _split(logic, stages)


def _fastest(logic: Logic, rates: Fabric, low: float) -> float:
    """Find the shortest period in ns at which every operation fits into a stage."""
    high = 2 * max(low, rates.add_in)
    while _assign(logic, rates, high) is None:
        high *= 2
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if _assign(logic, rates, middle) is not None else (middle, high)
    return high + rates.overhead
