"""Reads the netlists that `write_verilog -noattr -simple-lhs` of Yosys writes: cells, and which nets their pins are on."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput

Nets = NDArray[np.int64]
ZERO, ONE = 0, 1  # nets of the constants
NAME = r"(?:\\\S+ |[A-Za-z_$][\w$]*)"
SPACES = re.compile(r"\s+")
DECLARATION = re.compile(rf"  (input|output|inout|wire|reg)(?: signed)?(?: \[(\d+):(\d+)\])? ({NAME})\s*;")
ASSIGN = re.compile(r"  assign (.+?) = (.+);")
PIN = re.compile(rf"    \.({NAME})\((.*)\),?$")
CELL = re.compile(rf"  ({NAME})\s*(#\(|({NAME})\s*\()$")
INSTANCE = re.compile(rf"  \) ({NAME})\s*\($")
OPERAND = re.compile(rf"\s*(?:({NAME})\s*(?:\[(\d+)(?::(\d+))?\])?|(\d+)'s?([bhd])([0-9a-fA-FxXzZ?]+))\s*")
DIGITS = {"b": 2, "h": 16, "d": 10}


@dataclass(frozen=True)
class Cell:
    """An instance of a primitive, or of another module."""

    kind: str
    name: str
    parameters: Mapping[str, int | str]  # without those that have unknown bits
    pins: Mapping[str, tuple[int, ...]]  # nets, the least significant bit first


@dataclass
class Module:
    """A module of a netlist.

    Attributes:
        name: its name.
        inputs: nets of each input, the least significant bit first.
        outputs: the same of each output.
        cells: instances.
        nets: how many nets there are; 0 and 1 are the constants.
        drivers: of each net another one that it is assigned from, or itself.
    """

    name: str
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    outputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    nets: int = 2
    drivers: dict[int, int] = field(default_factory=dict)

    def resolved(self) -> Nets:
        """Return for each net the one that it is the same as, behind all assignments."""
        root = np.arange(self.nets)
        if self.drivers:
            root[list(self.drivers)] = list(self.drivers.values())
        return follow(root, self.name)


def follow(root: Nets, name: str) -> Nets:
    """Follow assignments to their beginnings.

    Raises:
        InvalidInput: they go in a circle.
    """
    for _ in range(64):
        further = root[root]
        if np.array_equal(further, root):
            return root
        root = further
    raise InvalidInput(f"netlist of {name}: assignments that go in a circle.")


class _Reader:
    """Holds the module that is being read, and the nets of its wires."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.modules: list[Module] = []
        self.module: Module | None = None
        self.wires: dict[str, tuple[int, int, int]] = {}  # first net, lowest index, width
        self.kind, self.instance = "", ""
        self.parameters: dict[str, int | str] = {}
        self.pins: dict[str, tuple[int, ...]] = {}
        self.in_parameters = False

    def read(self, lines: Iterable[str]) -> list[Module]:
        for number, line in enumerate(lines, 1):
            text = line.rstrip()
            if text and not self._line(text):
                raise InvalidInput(f"netlist {self.file}, line {number}: '{text.strip()[:80]}' is not what Yosys writes for mapped logic.")
        if self.module is not None or not self.modules:
            raise InvalidInput(f"netlist {self.file}: it ends in the middle.")
        return self.modules

    def _line(self, line: str) -> bool:
        if line.startswith("    ."):
            return self._pin(line)
        if line.startswith("  assign "):
            return self._assign(line)
        if line.startswith("module "):
            self.module, self.wires = Module(re.split(r"[\s(]", line[7:], maxsplit=1)[0]), {}
            return True
        if line == "endmodule" and self.module is not None:
            self.modules.append(self.module)
            self.module = None
            return True
        if line.startswith(("/*", "//", "`timescale")):
            return True
        return self.module is not None and (self._declaration(line) or self._cell(line))

    def _declaration(self, line: str) -> bool:
        found = DECLARATION.match(line)
        if not found or self.module is None:
            return False
        word, high, low, name = found[1], int(found[2] or 0), int(found[3] or 0), found[4].strip()
        if name not in self.wires:
            self.wires[name] = (self.module.nets, low, high - low + 1)
            self.module.nets += high - low + 1
        if word in ("input", "output"):
            (self.module.inputs if word == "input" else self.module.outputs)[name] = self._nets(name)
        return word != "inout" and low <= high

    def _cell(self, line: str) -> bool:
        if self.module is not None and line == "  );":
            self.module.cells.append(Cell(self.kind, self.instance, self.parameters, self.pins))
            return True
        if found := INSTANCE.match(line):
            self.instance, self.in_parameters = found[1].strip(), False
            return True
        if found := CELL.match(line):
            self.kind, self.parameters, self.pins = found[1].strip(), {}, {}
            self.in_parameters, self.instance = found[2] == "#(", (found[3] or "").strip()
            return True
        return False

    def _pin(self, line: str) -> bool:
        found = PIN.match(line)
        if not found:
            return False
        if self.in_parameters:
            self._parameter(found[1].strip(), found[2])
            return True
        self.pins[found[1].strip()] = self._nets(found[2]) if found[2].strip() else ()
        return True

    def _parameter(self, name: str, text: str) -> None:
        value = OPERAND.fullmatch(text)
        if text.startswith('"'):
            self.parameters[name] = text.strip('"')
        elif value and value[5] and not re.search("[xXzZ?]", value[6]):
            self.parameters[name] = int(value[6], DIGITS[value[5]])
        elif re.fullmatch(r"-?\d+", text):
            self.parameters[name] = int(text)

    def _assign(self, line: str) -> bool:
        found = ASSIGN.match(line)
        if not found or self.module is None:
            return False
        left, right = self._nets(found[1]), self._nets(found[2])
        if len(left) != len(right):
            raise InvalidInput(f"netlist {self.file}: '{line.strip()[:80]}' assigns {len(right)} bits to {len(left)}.")
        self.module.drivers.update(pair for pair in zip(left, right, strict=True) if pair[0] != pair[1])
        return True

    def _nets(self, text: str) -> tuple[int, ...]:
        text = text.strip()
        if not text.startswith("{"):
            return self._operand(text)
        parts = [self._operand(part) for part in re.findall(r"(?:\\\S+ |[^,\\])+", text[1:-1])]
        return tuple(net for part in reversed(parts) for net in part)

    def _operand(self, text: str) -> tuple[int, ...]:
        found = OPERAND.fullmatch(text + " ")
        if not found or self.module is None:
            raise InvalidInput(f"netlist {self.file}: '{text[:80]}' is not a net.")
        if found[1]:
            name = found[1].strip()
            if name not in self.wires:
                raise InvalidInput(f"netlist {self.file}: there is no wire {name}.")
            first, lowest, width = self.wires[name]
            if found[2] is None:
                return tuple(range(first, first + width))
            high, low = int(found[2]), int(found[3] or found[2])
            if not lowest <= low <= high < lowest + width:
                raise InvalidInput(f"netlist {self.file}: wire {name} has no bits [{high}:{low}].")
            return tuple(range(first + low - lowest, first + high - lowest + 1))
        return self._constant(int(found[4]), DIGITS[found[5]], found[6])

    def _constant(self, width: int, base: int, digits: str) -> tuple[int, ...]:
        if not re.search("[xXzZ?]", digits):
            value = int(digits, base)
            return tuple(value >> i & 1 for i in range(width))
        bits = {16: 4, 2: 1}.get(base, width)
        nets: list[int] = []
        for digit in reversed(digits):
            if digit in "xXzZ?":  # a net that nothing drives
                nets += range(self.module.nets, self.module.nets + bits) if self.module else ()
                if self.module:
                    self.module.nets += bits
            else:
                nets += [int(digit, base) >> i & 1 for i in range(bits)]
        return tuple((nets + [ZERO] * width)[:width])


def parse(text: str, file: str) -> list[Module]:
    """Read a netlist.

    Args:
        text: what Yosys wrote.
        file: its name, for messages.

    Raises:
        InvalidInput: with the line that is not understood.
    """
    return _Reader(file).read(text.splitlines())
