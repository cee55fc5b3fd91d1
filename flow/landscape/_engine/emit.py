"""Write a program as C++, with tables of where its numbers lie."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flow.landscape._engine.blocks import Block, blocks, is_bias
from flow.landscape._engine.faults import ENTRY as FAULTS
from flow.landscape._engine.faults import Dense, count_parts, dense_part, part_texts
from flow.landscape._engine.kernels import ENTRY
from flow.landscape._engine.operators import literal
from flow.landscape._engine.program import POINT, SAMPLE, Program
from flow.landscape._engine.tiles import Tile, find_tiles, tile_text
from flow.landscape._engine.values import CONST, INPUT, PARAM, TARGET, ZERO, Dots, Ids, Make, Peaks

NUMBER = re.compile(r"0x[0-9a-f.]+p[+-]\d+|\b\d+\b|NAN|INFINITY")
WEIGHTS = 2**18  # bytes of the weights of points that are taken together, so that a group of samples stays in the cache
MOST_KINDS = 12  # functions for one operation
TRASH = 0  # a place that is written but never read


@dataclass(frozen=True)
class Code:
    """A program as code.

    Attributes:
        text: C++ of one function ``run_<name>``.
        table: where numbers lie.
        constants: constant weights.
        products: multiplications and additions of one sample, at each point.
        faults: whether there is a function ``faults_<name>``; see `flow.landscape._engine.faults`.
    """

    text: str
    table: NDArray[np.int32]
    constants: NDArray[np.float64]
    products: int
    faults: bool = False


class Emitter:
    """Writes one program; see `emit`."""

    def __init__(self, program: Program, name: str, size: int, chip: int) -> None:
        self.program, self.name, self.size = program, name, size
        self.tables: list[NDArray[np.int64]] = []
        self.known: dict[bytes, int] = {}
        self.length = self.products = 0
        self.loop: tuple[Make, str] | None = None  # the element-wise operation before this one
        self.sizes = {"S": 1, "SD": 1, "T": 1, "TD": 1, "R": 0}  # the first place is the TRASH
        self.places = {space: np.full(len(program.kinds), -1) for space in "STR"}
        self.sections: dict[str, list[str]] = {"prepare": [], "point": [], "body": []}
        self.bodies: list[list[str]] = []  # of each operation that changes with point and sample
        self.work: list[int] = []  # multiplications of each of them
        self.dense: dict[int, Dense] = {}  # by number of the operation
        self.both = [m for m in program.made if program.level(m) == POINT | SAMPLE]
        self.parts = count_parts(program, self.both, chip)
        self.loads: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self.fills: dict[str, list[str]] = {"prepare": [], "point": [], "body": []}
        self.rows: dict[tuple[bool, bytes], int] = {}
        self.packs: dict[bool, list[int]] = {False: [], True: []}
        self.constants: dict[int, int] = {}
        self._allocate()

    def _allocate(self) -> None:
        """Give the results that change with point and sample their places; a place is used again once nothing reads it."""
        both = self.both
        last = np.full(len(self.program.kinds), -1)
        for i, op in enumerate(both):
            for operand in op.operands:
                last[operand] = i
        last[self.program.targets] = len(both)
        for op in both[: self.parts]:  # they stay, for the next point
            last[op.out[op.out >= 0]] = len(both)
        for double in (False, True):
            free: list[tuple[int, int]] = []  # start, length
            busy: list[tuple[int, int, int]] = []  # when it ends, start, length
            for i, op in enumerate(both):
                live = np.flatnonzero(op.out >= 0)
                if op.double == double:  # holes have places as well, so that those of an image are regular
                    start = self._take(free, len(op.out), "SD" if double else "S")
                    self.places["S"][op.out[live]] = start + live
                    busy.append((int(last[op.out[live]].max()), start, len(op.out)))
                free += [(start, count) for end, start, count in busy if end <= i]
                busy = [b for b in busy if b[0] > i]

    def _take(self, free: list[tuple[int, int]], count: int, space: str) -> int:
        for k, (start, length) in enumerate(free):
            if length >= count:
                free[k] = (start + count, length - count)
                return start
        self.sizes[space] += count
        return self.sizes[space] - count

    def table(self, values: NDArray[np.int64]) -> str:
        """Put numbers into the table; returns where they begin, as C++."""
        flat = values.reshape(-1).astype(np.int64)
        key = flat.tobytes()
        if key not in self.known:  # loads from the same table can be joined
            self.known[key] = self.length
            self.tables.append(flat)
            self.length += flat.size
        return f"table + {self.known[key]}"

    def _new(self, space: str, ids: Ids, double: bool) -> Ids:
        full = space + "D" * double
        self.places[space][ids] = np.arange(self.sizes[full], self.sizes[full] + len(ids))
        self.sizes[full] += len(ids)
        return self.places[space][ids]

    def _double(self, ids: Ids, wanted: bool) -> bool:
        """Return the type in which ids are stored; constants are stored in the one that is wanted."""
        kinds = self.program.kinds[ids]
        types = np.unique(self.program.doubles[ids[kinds != CONST]])
        return wanted if not types.size else bool(types[0])

    def find(self, ids: Ids, section: str, wanted: bool) -> tuple[str, Ids]:
        """Return the memory in which ids lie, and where; what lies elsewhere is put there first."""
        flat = np.unique(ids)
        flat = flat[flat >= 0]
        double, p = self._double(flat, wanted), self.program
        static = (p.levels[flat] & POINT == 0) & (section != "point")
        space = "T" if static.all() and (section == "prepare" or (p.levels[flat] == SAMPLE).any()) else "S"
        if section == "prepare" and np.isin(p.kinds[flat], (INPUT, TARGET)).all():
            space = "R"  # raw samples, which are soon replaced by those of the next group
        missing = flat[self.places[space][flat] < 0]
        for kind in (CONST, PARAM, INPUT, TARGET):
            some = missing[p.kinds[missing] == kind]
            if some.size:
                self._bring(some, kind, space, section, double)
        made = missing[self.places[space][missing] < 0]
        if made.size:  # results for the samples alone, needed beside others
            self._copy(made, double)
        return space + "D" * double, np.where(ids >= 0, self.places[space][ids], TRASH)

    def _copy(self, ids: Ids, double: bool) -> None:
        source = self.places["T"][ids]
        pairs = np.stack([self._new("S", ids, double), source], axis=1)
        d = "D" * double
        where = self.table(pairs)
        self.fills["body"].append(f"for (int i = 0; i < {len(ids)}; i++) S{d}[({where})[2 * i]] = T{d}[({where})[2 * i + 1]];")

    def _bring(self, ids: Ids, kind: int, space: str, section: str, double: bool) -> None:
        if kind in (INPUT, TARGET):
            space = "R" if space == "R" else "T"
            fresh = ids[self.places[space][ids] < 0]
            places = self._new(space, fresh, False)
            where = zip(places.tolist(), self.program.values[fresh].astype(int).tolist(), strict=True)
            self.loads.setdefault(("x" if kind == INPUT else "y", space), []).extend(where)
            return
        full, vector = space + "D" * double, "vd" if double else "vf"
        for i, place in zip(ids.tolist(), self._new(space, ids, double).tolist(), strict=True):
            value = self.program.values[i]
            source = literal(float(value)) if kind == CONST else f"values[{int(value)}]"
            self.fills["prepare" if space == "T" else "point"].append(f"{full}[{place}] = splat<{vector}>({source});")

    def row(self, ids: Ids, double: bool) -> int:
        """Return where weights lie, one after the other, in the memory of weights."""
        key = (double, ids.tobytes())
        if key not in self.rows:
            pack = self.packs[double]
            self.rows[key] = len(pack)
            for i in ids.tolist():
                constant = self.program.kinds[i] == CONST
                pack.append(~self.constants.setdefault(i, len(self.constants)) if constant else int(self.program.values[i]))
        return self.rows[key]

    def _expression(self, code: str, names: Sequence[str]) -> str:
        """Put names and constants into the code of a step."""
        code = NUMBER.sub(lambda m: f"splat<V>({m[0]})", code)
        code = code.replace("vif(", "vif<V>(")
        return re.sub(r"\b[abc]\b", lambda m: names["abc".index(m[0])], code)

    def _steps(self, op: Make, section: str, index: str) -> list[str]:
        """Return the statements that send ``r`` through the steps of an operation."""
        lines = []
        for step in op.steps:
            names = []
            for arg in step.args:
                if arg is None:
                    names.append("r")
                    continue
                first = arg[op.out >= 0][0]
                if self.program.kinds[first] == CONST and (arg[op.out >= 0] == first).all():
                    names.append(f"splat<V>({literal(float(self.program.values[first]))})")
                else:
                    names.append(self._load(arg, section, op.double, index))
            lines.append(f"r = {self._expression(step.code, names)};")
        return lines

    def _load(self, arg: Ids, section: str, double: bool, index: str) -> str:
        space, places = self.find(arg, section, double)
        if (places == places[0]).all():
            where = str(places[0])
        elif (np.diff(places) == 1).all():
            where = f"{places[0]} + {index}"
        else:
            where = f"({self.table(places)})[{index}]"
        return f"to<V>({space}[{where}])"

    def _put(self, op: Make, section: str) -> tuple[str, Ids]:
        """Return where results go."""
        space = "T" if section == "prepare" else "S"
        live = op.out[op.out >= 0]
        if (self.places[space][live] < 0).any():
            self._new(space, live, op.double)
        return space + "D" * op.double, np.where(op.out >= 0, self.places[space][op.out], TRASH)

    def add(self, op: Make) -> None:
        """Write one operation."""
        section = {0: "point", POINT: "point", SAMPLE: "prepare", POINT | SAMPLE: "body"}[self.program.level(op)]
        vector, lines = "vd" if op.double else "vf", self.sections[section]
        if section == "body":
            self.bodies.append([])
            self.work.append(0)
            lines = self.bodies[-1]
        finish = f"[](V r) {{ {' '.join(self._steps(op, section, '0'))} return r; }}" if type(op) is not Make else ""
        if isinstance(op, Dots):
            before = self.products
            lines += self._dots(op, section, vector, finish)
            if section == "body":
                self.work[-1] = self.products - before
            return
        space, places = self._put(op, section)
        if isinstance(op, Peaks):
            source, data = self.find(op.data, section, op.double)
            where = self.table(np.hstack([data, places[:, None]]))
            call = f"peaks({source}, {space}, {where}, {len(data)}, {data.shape[1]}, {finish});"
            lines.append(f"{{ typedef {vector} V; {call} }}")
            return
        steps = self._steps(op, section, "i")
        where = f"{places[0]} + i" if (np.diff(places) == 1).all() else f"({self.table(places)})[i]"
        body = f"V r = splat<V>(0); {' '.join(steps)} {space}[{where}] = r;"
        last = self.loop
        if last is not None and section == "body" and len(self.bodies) > self.parts + 1 and self._together(last[0], op, places):
            self.bodies[-2].clear()
            body = f"{{ {last[1]} }} {{ {body} }}"
        self.loop = (op, body)
        lines.append(f"{{ typedef {vector} V; for (int i = 0; i < {len(places)}; i++) {{ {body} }} }}")

    def _together(self, first: Make, second: Make, places: Ids) -> bool:
        """Tell whether one loop can do both: the second needs of the first only the result of the same turn, and overwrites nothing."""
        if self.both[len(self.bodies) - 2] is not first or len(first.out) != len(second.out) or first.double != second.double:
            return False
        made, mine = set(first.out.tolist()), [a for a in second.operands if not np.array_equal(a, first.out)]
        read = np.concatenate([self.places["S"][a] for a in first.operands])
        return not any(made & set(a.tolist()) for a in mine) and not np.isin(read, places).any()

    def _dots(self, op: Dots, section: str, vector: str, finish: str) -> list[str]:
        cut = blocks(op)
        source, _ = self.find(np.concatenate([b.data.reshape(-1) for b in cut]), section, op.double)
        place = self.places[source[0]]
        target, _ = self._put(op, section)
        lines = [f"{{ typedef {vector} V; const auto finish = {finish};"]
        weights = "WD" if op.double else "W"
        tiled = find_tiles(op, place)
        if tiled is not None:
            lines += self._tiles(op, source, target, *tiled)
            cut = []
            if section == "body":
                self.products += sum(len(tile.shifts) * len(pairs) for tile in tiled[2] for _, pairs in tile.uses)
        kinds = self._kinds(cut, place)
        for kind in dict.fromkeys(kinds):
            tables, group = [], [b for b, k in zip(cut, kinds, strict=True) if k == kind]
            for block in group:
                tables += [self._terms(block, place, op.double, kind), self.places[target[0]][block.out].reshape(-1)]
                if section == "body":
                    self.products += block.data.size * block.out.shape[1]
            lines.append(f"{kind}({source}, {weights}, {target}, {self.table(np.concatenate(tables))}, {len(group)}, finish);")
        if section == "body" and len(self.bodies) <= self.parts:
            self.dense[len(self.bodies) - 1] = dense_part(self, op, (source, target), finish)
        return [*lines, "}"]

    def _tiles(self, op: Dots, source: str, target: str, groups: Ids, bias: int | None, tiles: Sequence[Tile]) -> Iterator[str]:
        """Write the sums of one filter."""
        weights = "WD" if op.double else "W"
        rows = [self.row(op.weights[0, terms], op.double) for terms in groups]
        first = "0" if bias is None else f"{weights}[{self.row(op.weights[0, [bias]], op.double)}]"
        for tile in tiles:
            table = self.table(np.stack([tile.shifts, np.array(rows, np.int64)], axis=1))
            to = [f"{target}[{place}]" for place in self.places[target[0]][op.out[tile.rows]].tolist()]
            yield tile_text(tile, source, table, weights, first, to)

    def _terms(self, block: Block, place: Ids, double: bool, kind: str) -> Ids:
        """Return the terms of a block as a table; see the functions of `flow.landscape._engine.kernels`."""
        rows, data = np.array([self.row(w, double) for w in block.weights], np.int64).reshape(-1, 1), place[block.data]
        if not kind.startswith("series"):
            return np.concatenate([[len(rows)], np.hstack([rows, data]).reshape(-1)])
        bias = is_bias(block)
        first = rows[bias][0] if bias.any() else [self.row(np.full(block.weights.shape[1], ZERO), double)]
        return np.concatenate([[len(rows) - bias.sum()], first, np.hstack([rows, data[:, :1]])[~bias].reshape(-1)])

    def _kinds(self, cut: Sequence[Block], place: Ids) -> list[str]:
        """Return the function that computes each block: one with distances as constants if only few are needed and loads decide."""
        plain, fixed = [], []
        for block in cut:
            (r, m), at = block.out.shape, place[block.data[~is_bias(block)]]
            plain.append(f"dots<{r}, {m}, {1 if r * m >= 6 else 9 // (r * m)}>")
            regular = r > 1 and r * m >= 4 and len(at) and is_bias(block).sum() < 2 and (at - at[:, :1] == at[0] - at[0, 0]).all()
            fixed.append(f"series<{m}, {', '.join(map(str, at[0] - at[0, 0]))}>" if regular else plain[-1])
        return fixed if len(set(fixed)) <= MOST_KINDS else plain

    def code(self) -> Code:
        """Return the program as code."""
        for op in self.program.made:
            self.add(op)
        source, places = self.find(self.program.targets, "body", wanted=False)
        result = self.table(places)
        for (side, space), wanted in self.loads.items():
            width = int((self.program.kinds == (INPUT if side == "x" else TARGET)).sum())
            call = f"load({side}, {width}, first, samples, {space}, {self.table(np.array(wanted))}, {len(wanted)});"
            self.fills["prepare"].insert(0, call)
        pack = self.table(np.array(self.packs[False] + self.packs[True], np.int64))
        per_point = any("values[" in line for line in self.fills["point"]) or bool(self.sections["point"])
        block = 1 if per_point else max(1, WEIGHTS // max(1, 4 * len(self.packs[False]) + 8 * len(self.packs[True])))
        parts, functions = part_texts(self)
        words = {
            "BLOCK": block, "NAME": self.name, "D": self.size, "TARGETS": len(places), "FROM": source,
            "W": len(self.packs[False]), "WD": len(self.packs[True]), "PARTS": parts, "FUNCTIONS": functions, "COUNT": self.parts,
            "REST": self.products - sum(self.work[: self.parts]),
            "PACK": pack.removeprefix("table + "), "RESULT": result.removeprefix("table + "), **self.sizes,
            **{s.upper(): "\n".join([*self.fills[s], *self.sections[s]]) for s in self.sections},
        }  # fmt: skip
        text = re.sub(r"@([A-Z]+)@", lambda m: str(words[m[1]]), ENTRY + FAULTS * bool(self.parts))
        constants = self.program.values[np.array(list(self.constants), np.int64)]
        return Code(text, np.concatenate(self.tables).astype(np.int32), constants, self.products, self.parts > 0)


def emit(program: Program, name: str, size: int, chip: int = 0) -> Code:
    """Write a program as a function ``run_<name>`` of points of `size` numbers, of which faults may change the first `chip`."""
    return Emitter(program, name, size, chip).code()
