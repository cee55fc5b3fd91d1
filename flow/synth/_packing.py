"""How many physical LUT6 and CARRY8 a netlist of Xilinx primitives takes, by a stated rule.

A LUT6 has two outputs (LUT6_2): two look-up tables with at most five distinct inputs in total share one. In a carry chain the table of
a bit's S input has its place beside that bit, where its second output can only be the same bit's DI input; tables in front of a wide
multiplexer (MUXF7) stand alone. All other tables of a module are paired greedily, the largest first, with the largest table that fits and
has an input in common, then with any that fits. A shift register takes a table. A placer may do worse: it is a count of what is possible.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from flow.synth._netlist import ONE, Cell, Module, Nets

SHARED = 5  # distinct inputs of two tables in one LUT6
LOOK = 64  # how many tables on one net are tried


def packed(module: Module) -> int:
    """Return how many LUT6 the look-up tables and shift registers of a module take."""
    root = module.resolved()
    tables = [cell for cell in module.cells if cell.kind == "INV" or cell.kind.startswith("LUT")]
    inputs = [frozenset(n for n in _in(cell, root) if n > ONE) for cell in tables]
    owner = {int(root[cell.pins["O"][0]]): i for i, cell in enumerate(tables)}
    readers = _readers(module, root)
    free = set(range(len(tables)))
    pairs = 0
    for select, data in _carry_bits(module, root):
        first, second = owner.get(select), owner.get(data)
        if first in free:
            free.discard(first)
            alone = second in free and readers[data] == 1
            if alone and second is not None and first is not None and len(inputs[first] | inputs[second]) <= SHARED:
                free.discard(second)
                pairs += 1
    for cell in module.cells:
        if cell.kind == "MUXF7":
            free -= {owner.get(int(root[cell.pins[pin][0]]), -1) for pin in ("I0", "I1")}
    shifts = sum(cell.kind.startswith("SRL") for cell in module.cells)
    return len(tables) + shifts - pairs - _match(inputs, sorted(free))


def carry8(module: Module) -> int:
    """Return how many CARRY8 the carry chains of a module take: two CARRY4 of the same chain each, rounded up."""
    root = module.resolved()
    cells = [cell for cell in module.cells if cell.kind == "CARRY4"]
    by_carry = {int(root[cell.pins["CO"][3]]): i for i, cell in enumerate(cells)}
    before = [by_carry.get(int(root[net]), -1) for cell in cells for net in cell.pins["CI"][:1]]
    behind = {j: i for i, j in enumerate(before) if j >= 0}
    total = 0
    for first in (i for i, j in enumerate(before) if j < 0):
        length, at = 1, first
        while (at := behind.get(at, -1)) >= 0:
            length += 1
        total += -(-length // 2)
    return total


def _in(cell: Cell, root: Nets) -> list[int]:
    return [int(root[net]) for pin, nets in cell.pins.items() if pin.startswith("I") for net in nets]


def _readers(module: Module, root: Nets) -> dict[int, int]:
    """Count the pins and ports that read each net."""
    found: dict[int, int] = defaultdict(int)
    for nets in (*module.outputs.values(), *(nets for cell in module.cells for nets in cell.pins.values())):
        for net in nets:
            found[int(root[net])] += 1
    for cell in module.cells:
        for pin in ("O", "Q", "CO"):
            for net in cell.pins.get(pin, ()):
                found[int(root[net])] -= 1
    return found


def _carry_bits(module: Module, root: Nets) -> Iterator[tuple[int, int]]:
    for cell in module.cells:
        if cell.kind == "CARRY4":
            for select, data in zip(cell.pins["S"], cell.pins["DI"], strict=True):
                yield int(root[select]), int(root[data])


def _match(inputs: Sequence[frozenset[int]], free: Sequence[int]) -> int:
    """Return how many pairs are found among the free tables."""
    order = sorted((i for i in free if len(inputs[i]) <= SHARED), key=lambda i: (-len(inputs[i]), i))
    on = defaultdict(list)
    for i in order:
        for net in inputs[i]:
            on[net].append(i)
    taken: set[int] = set()
    for i in order:
        if i in taken:
            continue
        near = {j for net in inputs[i] for j in _first(on[net], taken) if j != i and len(inputs[i] | inputs[j]) <= SHARED}
        if near:
            taken |= {i, min(near, key=lambda j: (-len(inputs[j]), j))}
    left = [len(inputs[i]) for i in order if i not in taken]
    pairs, low = len(taken) // 2, len(left) - 1
    for high, size in enumerate(left):  # what has no input in common: the largest with the smallest
        if high < low and size + left[low] <= SHARED:
            pairs, low = pairs + 1, low - 1
    return pairs


def _first(tables: list[int], taken: set[int]) -> list[int]:
    """Return some tables of a net that are not taken yet, and forget those that are."""
    while tables and tables[0] in taken:
        tables.pop(0)
    return [j for j in tables[:LOOK] if j not in taken]
