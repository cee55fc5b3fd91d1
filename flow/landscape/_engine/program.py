"""Make a recording short: leave out what nothing needs, and join what can be computed in one go."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flow.landscape._engine.values import CONST, INPUT, MADE, ONE, PARAM, TARGET, ZERO, Dots, Ids, Make, Pool, Step

POINT, SAMPLE = 1, 2
LEVELS = {CONST: 0, PARAM: POINT, INPUT: SAMPLE, TARGET: SAMPLE, MADE: 0}


@dataclass(frozen=True)
class Program:
    """Operations in the order of execution.

    Attributes:
        made: the operations.
        levels: of each id: what it depends on, a sum of `POINT` and `SAMPLE`.
        targets: ids of the results.
        kinds: what each id is; see `flow.landscape._engine.values`.
        doubles: which ids are of double precision.
        values: the number of a constant, or where the others lie in their vectors.
    """

    made: tuple[Make, ...]
    levels: NDArray[np.int8]
    targets: Ids
    kinds: NDArray[np.int8]
    doubles: NDArray[np.bool_]
    values: NDArray[np.float64]

    def level(self, operation: Make) -> int:
        """Return what an operation depends on."""
        return int(np.bitwise_or.reduce(self.levels[np.concatenate([o.reshape(-1) for o in operation.operands])]))


def _needed(pool: Pool, targets: Ids) -> list[Make]:
    """Return the operations, and of them the elements, that the targets need."""
    needed = np.zeros(pool.count, bool)
    needed[targets] = True
    kept = []
    for operation in reversed(pool.made):
        keep = needed[operation.out]
        if keep.any():
            cut = operation.take(keep)
            for operand in cut.operands:
                needed[operand] = True
            kept.append(cut)
    return kept[::-1]


class _Joiner:
    """Goes through the operations and puts each that it can at the end of an earlier one."""

    def __init__(self, pool: Pool, made: Sequence[Make], targets: Ids) -> None:
        self.kinds, self.made = pool.kinds, list[Make]()
        self.values = pool.values
        self.levels = np.array([LEVELS[k] for k in range(5)], np.int8)[self.kinds]
        self.maker = np.full(pool.count, -1)
        uses = [np.bincount(o.reshape(-1), minlength=pool.count) for m in made for o in m.operands]
        self.uses: NDArray[np.int64] = np.sum([np.bincount(targets, minlength=pool.count), *uses], axis=0)
        for operation in made:
            self._add(operation)

    def _add(self, operation: Make) -> None:
        level = np.bitwise_or.reduce(self.levels[np.concatenate([o.reshape(-1) for o in operation.operands])])
        live = operation.out[operation.out >= 0]
        self.levels[live] = level
        place = self._join(operation) if type(operation) is Make else None
        if place is None:
            place = len(self.made)
            self.made.append(operation)
        self.maker[live] = place

    def _join(self, operation: Make) -> int | None:
        """Put a step at the end of an earlier operation; return where that is, or None."""
        args = operation.steps[0].args
        makers = [int(self.maker[a].max()) for a in args if a is not None]
        last = max(makers)
        if last < 0 or makers.count(last) != 1:
            return None
        position, earlier = makers.index(last), self.made[last]
        order = self._order(earlier, operation, position)
        if order is None:
            return None
        others = [None if i == position else a for i, a in enumerate(args) if a is not None]
        if type(earlier) is not Make and not all(self._uniform(o) for o in others if o is not None):
            joined = self._bias(earlier, operation, others, order)
        else:
            live = earlier.out >= 0
            step = Step(operation.steps[0].code, tuple(None if o is None else _spread(o[order], live) for o in others))
            out = np.full(earlier.out.shape, -1)
            out[live] = operation.out[order]
            joined = replace(earlier, out=out, steps=self._shorten((*earlier.steps, step)))
        if joined is None:
            return None
        self.made[last] = joined
        return last

    def _order(self, earlier: Make, operation: Make, position: int) -> Ids | None:
        """Return for each result of `earlier` which element of `operation` uses it; None unless each is used there and nowhere else."""
        used, live = operation.steps[0].args[position], earlier.out[earlier.out >= 0]
        same = used is not None and len(used) == len(live) and earlier.double == operation.double
        if not same or used is None or (self.uses[live] != 1).any() or set(used.tolist()) != set(live.tolist()):
            return None
        if self.levels[live[0]] != self.levels[operation.out[0]]:
            return None
        sorter = np.argsort(used)
        order: Ids = sorter[np.searchsorted(used, live, sorter=sorter)]
        return order

    def _uniform(self, ids: Ids) -> bool:
        return bool((ids == ids[0]).all()) and self.kinds[ids[0]] == CONST

    def _bias(self, earlier: Make, operation: Make, others: Sequence[Ids | None], order: Ids) -> Make | None:
        """Make the addition of a bias one more product with 1, if each column of the products has one bias."""
        if not isinstance(earlier, Dots) or earlier.steps or operation.steps[0].code != "a + b":
            return None
        bias = np.full(earlier.out.shape, -1)
        bias[earlier.out >= 0] = next(o for o in others if o is not None)[order]
        table = bias.reshape(len(earlier.data), len(earlier.weights))
        column = table.max(axis=0)
        if not np.isin(self.kinds[column[column >= 0]], (CONST, PARAM)).all() or ((table != column) & (table >= 0)).any():
            return None
        out = np.full(earlier.out.shape, -1)
        out[earlier.out >= 0] = operation.out[order]
        data = np.hstack([earlier.data, np.full((len(earlier.data), 1), ONE)])
        return replace(earlier, out=out, data=data, weights=np.hstack([earlier.weights, np.maximum(column, ZERO)[:, None]]))

    def _shorten(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Drop a Relu in front of a quantizer that makes no negative words."""
        if [s.code for s in steps[-4:]] != ["vmax(a, 0)", "a * b", "vround(a)", "vmax(a, b)"]:
            return steps
        factor, low = (steps[i].args[1] for i in (-3, -1))
        if factor is None or low is None or self.values[factor[0]] <= 0 or self.values[low[0]] < 0:
            return steps
        return (*steps[:-4], *steps[-3:])


def _spread(ids: Ids, live: NDArray[np.bool_]) -> Ids:
    """Put ids where results are live, and a uniform filling elsewhere."""
    full = np.full(live.shape, ids[0])
    full[live] = ids
    return full


def shorten(pool: Pool, targets: Ids) -> Program:
    """Return the operations that `targets` need."""
    joiner = _Joiner(pool, _needed(pool, targets), targets)
    return Program(tuple(joiner.made), joiner.levels, targets, pool.kinds, pool.doubles, pool.values)
