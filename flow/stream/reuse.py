"""Chooser of reuse factors: in how many cycles each layer computes a pixel, so that frames are kept up with and little logic is used.

An element takes one pixel a cycle. When a pixel completes a window, an element with reuse factor r takes no further one for r - 1 cycles,
while its multipliers go through the inputs. So a frame keeps it busy for

    pixels - windows + windows * r

cycles. Frames are kept up with at the rate of the slowest element, if queues hold what comes faster than that; so each element may be
chosen on its own, and the least of each is the least of all.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from flow.core.errors import ConfigError, TooLarge
from flow.core.plugins import suggest
from flow.rtl.graph import Graph
from flow.rtl.lower import MOST_PRODUCTS, products
from flow.stream import cost
from flow.stream.cost import Cost, estimate
from flow.stream.elements import Element

Prefer = Literal["lut", "dsp"]
SOURCE = "flow.stream.cost: arithmetic alone, in look-up tables of 6 inputs before packing, whatever the family; intervals of 95 %"


@dataclass(frozen=True)
class Chosen:
    """What one element got.

    Attributes:
        reuse: cycles of one of its pixels; 1: unrolled, or it has no weights.
        cycles: that a frame keeps it busy.
        limit: the highest reuse factor: the words of a window, or what the budget allows; 1 where the order of the sums matters.
        cost: estimated arithmetic; None: it has no weights, so the choice does not change it.
        unrolled: what it would be unrolled.
        fixed: the factor was given.
        ordered: the order of its sums matters, so its multipliers cannot be used again.
    """

    reuse: int
    cycles: int
    limit: int = 1
    cost: Cost | None = None
    unrolled: Cost | None = None
    fixed: bool = False
    ordered: bool = False


@dataclass(frozen=True)
class Choice:
    """Reuse factors of a network.

    Attributes:
        budget: cycles of a frame.
        prefer: what was saved first.
        dsp: products may be in DSP slices.
        elements: by name, in the order of the network.
    """

    budget: int
    prefer: Prefer
    dsp: bool
    elements: Mapping[str, Chosen]

    @property
    def reuse(self) -> dict[str, int]:
        """Reuse factors of the elements that have weights, as `flow.stream.build.build` takes them."""
        return {name: c.reuse for name, c in self.elements.items() if c.cost}

    @property
    def cycles(self) -> dict[str, int]:
        """Busy cycles of a frame by element."""
        return {name: c.cycles for name, c in self.elements.items()}

    @property
    def interval(self) -> int:
        """Cycles between frames that the slowest element allows."""
        return max(self.cycles.values())

    @property
    def total(self) -> Cost:
        """Estimated arithmetic of all elements with weights; the interval as if all errors had the same sign, which is too wide."""
        costs = [c.cost for c in self.elements.values() if c.cost]
        return Cost(sum(c.lut for c in costs), sum(c.low for c in costs), sum(c.high for c in costs), sum(c.dsp for c in costs))

    def why(self, name: str) -> str:
        """Say in words what was chosen for an element, and why."""
        c = self.elements[name]
        busy = f"{c.cycles:,} of {self.budget:,} cycles"
        if c.cost is None or c.unrolled is None:
            return f"{name}: no weights; {busy}"
        chosen = f"{name}: {_words(c.reuse)}{', as set' if c.fixed else ''}; {busy}; {_size(c.cost)}"
        if c.fixed:
            return chosen
        if c.limit == 1:
            reason = "the order of its sums matters" if c.ordered else "there is no time for it"
            return f"{chosen}. Multipliers are not used again: {reason}"
        if c.reuse == 1:
            return f"{chosen}. Adders for constant weights take less than multipliers that are used up to {c.limit} times"
        apart = c.unrolled.low > c.cost.high or (self.prefer == "dsp" and c.unrolled.dsp > c.cost.dsp)
        sure = "" if apart else "; the intervals overlap, so this may be a mistake"
        return f"{chosen}, unrolled {_size(c.unrolled)}. Up to {c.limit} were possible{sure}"

    def text(self) -> str:
        """Return the choice as lines of text, one for each element."""
        saved = "look-up tables" if self.prefer == "lut" else "DSP slices, then look-up tables"
        head = (
            f"{self.budget:,} cycles a frame, the slowest element takes {self.interval:,}; saved: {saved}; arithmetic {_size(self.total)}"
        )
        return "\n".join([head, *(self.why(name) for name in self.elements)]) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Return the choice as data: budget, interval, and by element the factor, the limit, the cycles, the costs and the words."""
        return {
            "class": "estimate", "source": SOURCE, "unit": "LUT6",
            "budget_cycles": self.budget, "interval_cycles": self.interval, "prefer": self.prefer, "dsp": self.dsp,
            "total": asdict(self.total),
            "elements": {name: {**asdict(c), "why": self.why(name)} for name, c in self.elements.items()},
        }  # fmt: skip


def _unrollable(e: Element, graph: Graph, highest: int) -> bool:
    """Tell whether a window has few enough products for adder trees.

    Raises:
        TooLarge: it has too many, and no factor above 1 is possible.
    """
    count = products(graph.layers[2])
    if count > MOST_PRODUCTS and highest == 1:
        raise TooLarge(
            f"layer '{e.layer}' multiplies {count:,} times for one pixel, and unrolled it has adders for each product, of which at most "
            f"{MOST_PRODUCTS:,} are made. Give it time to use multipliers again: a lower hardware.frame_rate_hz, or a higher factor in "
            "hardware.reuse."
        )
    return count <= MOST_PRODUCTS


def _words(reuse: int) -> str:
    return "unrolled" if reuse == 1 else f"reuse factor {reuse}"


def _size(cost: Cost) -> str:
    slices = f" and {cost.dsp:,} DSP slices" if cost.dsp else ""
    return f"about {cost.lut:,.0f} LUT6 ({cost.low:,.0f} to {cost.high:,.0f}){slices}"


def cycles(element: Element, reuse: int = 1) -> int:
    """Return the cycles that a frame keeps an element busy; zeros of padding count, as each is a pixel."""
    pixels, windows = (link.rows * link.columns for link in (element.source, element.output))
    if element.kind == "pad":
        return windows
    return pixels + windows * (reuse - 1)


def frame_budget(elements: Iterable[Element], clock_ns: float, frame_rate_hz: float | None) -> int:
    """Return the cycles of a frame.

    Args:
        elements: of the network.
        clock_ns: clock period.
        frame_rate_hz: frames per second; None: one pixel a cycle at the place with most pixels, padding included.

    Raises:
        ConfigError: the rate is above what one pixel a cycle allows.
    """
    pixels, name = max((cycles(e), e.name) for e in elements)
    if frame_rate_hz is None:
        return pixels
    budget = math.floor(1e9 / (clock_ns * frame_rate_hz) + 1e-6)  # 195,312.5 frames/s of 1,024 pixels at 5 ns are possible
    if budget < pixels:
        highest = math.floor(1e9 / (clock_ns * pixels))
        raise ConfigError(
            f"hardware.frame_rate_hz = {frame_rate_hz:g}: the {pixels:,} pixels of a frame in '{name}' take {pixels:,} cycles of "
            f"{clock_ns:g} ns, one for each, and only {budget:,} are there. The highest rate is {highest:,} frames/s; "
            "a faster clock raises it."
        )
    return budget


def least_budget(elements: Iterable[Element], fixed: Mapping[str, int]) -> int:
    """Return the fewest cycles of a frame for which `choose` finds anything: nothing is used again but in the layers of `fixed`."""
    return max(cycles(e, fixed.get(e.layer, 1) if e.reusable else 1) for e in elements)


def factors(inputs: int, limit: int) -> list[int]:
    """Return the reuse factors worth a look: of those with the same number of multipliers the lowest, which has the shortest table.

    Args:
        inputs: words of a window.
        limit: highest factor.

    >>> factors(9, 9)
    [1, 2, 3, 5, 9]
    """
    return sorted({r for lanes in range(1, inputs + 1) if (r := -(-inputs // lanes)) <= limit} | {1})


def choose(
    elements: Sequence[Element], budget_cycles: int, prefer: Prefer = "lut", fixed: Mapping[str, int] | None = None, *, dsp: bool = False,
    dsp_bits: int = cost.DSP_BITS,
) -> Choice:  # fmt: skip
    """Choose the reuse factors that fit into a frame and cost least by the estimate of `flow.stream.cost`; of equal ones the lowest.

    Where look-up tables decide between unrolled and reused, and the intervals of the two overlap, alkaid makes the layer's adder trees,
    which decides better; it takes seconds for 2,000 weights.

    Args:
        elements: of the network, from `flow.stream.plan.plan`.
        budget_cycles: cycles of a frame; see `frame_budget`.
        prefer: ``lut``: fewest look-up tables; ``dsp``: fewest DSP slices, then look-up tables.
        fixed: factors that are given, by the layer that the element begins with.
        dsp: synthesis may map products to DSP slices.
        dsp_bits: of the narrowest product that it maps to one.

    Raises:
        ConfigError: an element has more pixels than the budget has cycles; or `fixed` names no element with weights, or a factor that is
            not possible or does not fit.
        TooLarge: a layer has too many products to be unrolled and no time for anything else.
    """
    given, known = dict(fixed or {}), {e.layer: e.name for e in elements if e.reusable}
    for layer in given:
        if layer not in known:
            raise ConfigError(
                f"hardware.reuse.{layer}: no layer of this name has multipliers to use again. Those that have: "
                f"{', '.join(known) or 'none'}.{suggest(layer, list(known))}"
            )
    rule = _Rule(budget_cycles, prefer, dsp, dsp_bits)
    return Choice(budget_cycles, prefer, dsp, {e.name: rule.choose(e, given.get(e.layer)) for e in elements})


@dataclass(frozen=True)
class _Rule:
    """What is the same for all elements; see `choose`."""

    budget: int
    prefer: Prefer
    dsp: bool
    dsp_bits: int

    def choose(self, e: Element, given: int | None) -> Chosen:
        """Choose for one element."""
        least = cycles(e)
        if least > self.budget:
            raise ConfigError(
                f"'{e.name}' takes {least:,} cycles for the pixels of a frame, and there are only {self.budget:,}. Lower the frame rate."
            )
        if e.graph is None or not e.reusable:
            return Chosen(1, least)
        limit = self._limit(e, e.graph, least, given)
        wanted = {1, *([given] if given else factors(e.graph.layers[0].shape[0], limit))}
        costs = {r: estimate(e.graph, r, self.dsp, self.dsp_bits) for r in wanted}
        small = _unrollable(e, e.graph, given or limit)
        best = given or self._best(costs if small else {r: c for r, c in costs.items() if r > 1})
        if given is None and small and self._open(costs):
            costs[1] = cost.unrolled(e.graph, traced=True)
            best = self._best(costs)
        return Chosen(best, cycles(e, best), limit, costs[best], costs[1], given is not None, not cost.reusable(e.graph))

    def _limit(self, e: Element, graph: Graph, least: int, given: int | None) -> int:
        """Return the highest factor, and refuse a given one that is above it."""
        inputs = graph.layers[0].shape[0]
        fits = 1 + (self.budget - least) // (e.output.rows * e.output.columns)
        limit = min(inputs, fits) if cost.reusable(graph) else 1
        if given is not None and given > limit:
            why = f"a frame has {self.budget:,} cycles, and it would take {cycles(e, given):,}; a lower frame_rate_hz gives more"
            if limit == inputs:
                why = f"a window has {inputs} words"
            elif limit < fits:
                why = "the order of its sums matters"
            raise ConfigError(f"hardware.reuse.{e.layer} = {given}: at most {limit} is possible, because {why}.")
        return limit

    def _open(self, costs: Mapping[int, Cost]) -> bool:
        """Tell whether look-up tables decide between unrolled and reused, and the intervals overlap."""
        rivals = [c for r, c in costs.items() if r > 1 and (self.prefer == "lut" or c.dsp == costs[1].dsp)]
        return bool(rivals) and costs[1].low < min(c.high for c in rivals) and min(c.low for c in rivals) < costs[1].high

    def _best(self, costs: Mapping[int, Cost]) -> int:
        if self.prefer == "dsp":
            return min(costs, key=lambda r: (costs[r].dsp, costs[r].lut, r))
        return min(costs, key=lambda r: (costs[r].lut, costs[r].dsp, r))
