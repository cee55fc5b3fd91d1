"""The weight store of a network as Verilog, with some of its bits protected, and what each of its cells holds.

Every bit is an instance of one of a few small modules, which share no logic with each other: ``store_bare``, ``store_tmr`` and
``store_ecc_<data bits>``. While ``load`` is 1 all cells are one shift register; a bit written is the last one read of `Layout.stream`. Then

- a bare bit holds what it has (the enable of its flip-flop: no logic),
- a triplicated bit (von Neumann, "Probabilistic logics and the synthesis of reliable organisms from unreliable components", 1956) is the
  majority of its three cells, and all three take that in every cycle, so that an upset is gone after one,
- a group under a Hamming code is corrected at its output, and its cells take what is right in every cycle.

Check bits come through ``load`` with the data: whoever makes the image computes them, and there is no encoder on chip.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flow.protection.hamming import Bits, Ints, check_bits, encode, numbers

TOP, BARE, TMR, ECC = "weight_store", "store_bare", "store_tmr", "store_ecc_"
KEEP, COPIES = "(* keep *)", '(* dont_touch = "yes" *)'  # for Yosys, which wants it before `always`, and for Vivado, before `reg`
SOURCES = ("src/weight_store.v", "src/store_cells.v")


@dataclass(frozen=True)
class Layout:
    """A weight store.

    Attributes:
        total: deployed bits.
        protected: numbers of those that are protected (n,), none twice.
        group: data bits of a group under one Hamming code, the last one may be smaller; 0: bits are triplicated.
    """

    total: int
    protected: Ints
    group: int = 0

    @cached_property
    def instances(self) -> tuple[tuple[str, Ints], ...]:
        """Module and deployed bits of each instance, in the order of the shift register."""
        rest = np.setdiff1d(np.arange(self.total), self.protected)
        size = self.group or 1
        groups = [self.protected[i : i + size] for i in range(0, len(self.protected), size)]
        return (
            *((BARE, rest[i : i + 1]) for i in range(len(rest))),
            *((f"{ECC}{len(bits)}" if self.group else TMR, bits) for bits in groups),
        )

    @property
    def modules(self) -> dict[str, int]:
        """Number of instances of each module."""
        names, counts = np.unique([module for module, _ in self.instances], return_counts=True)
        return dict(zip(names.tolist(), counts.tolist(), strict=True))

    @property
    def cells(self) -> int:
        """Flip-flops of the store."""
        return sum(cells(module) * count for module, count in self.modules.items())

    def stream(self, bits: Bits) -> Bits:
        """Return what is shifted in, the first one first, so that the store holds deployed bits (total,), each 0 or 1."""
        return np.concatenate([place for module, which in self.instances for place in image(module, bits[which])])[::-1]

    def verilog(self) -> dict[str, str]:
        """Return the Verilog by relative path."""
        return dict(zip(SOURCES, (self._top(), "".join(cell(module) for module in sorted(self.modules))), strict=True))

    def _top(self) -> str:
        kinds = list(dict.fromkeys(module for module, _ in self.instances))
        blocks, link, bit, where = [], 0, 0, np.empty(self.total, np.int64)
        for name in kinds:
            count, size = self.modules[name], width(name)
            blocks.append(
                f"    for (i = 0; i < {count}; i = i + 1) begin : {name}s\n"
                f"      {name} one (.clk(clk), .load(load), .din(link[{link} + i]), .q(held[{bit} + {size} * i +: {size}]), "
                f".dout(link[{link} + 1 + i]));\n    end\n"
            )
            where[np.concatenate([bits for module, bits in self.instances if module == name])] = bit + np.arange(count * size)
            link, bit = link + count, bit + count * size
        wires = ", ".join(f"held[{w}]" for w in where[::-1])
        return (
            f"// All deployed bits of weights and biases: {len(self.protected)} of {self.total} are protected.\n"
            f"module {TOP} (input clk, input load, input din, output [{self.total - 1}:0] bits, output dout);\n"
            f"  wire [{link}:0] link;\n  wire [{self.total - 1}:0] held;\n  assign link[0] = din;\n  assign dout = link[{link}];\n"
            f"  genvar i;\n  generate\n{''.join(blocks)}  endgenerate\n  assign bits = {{{wires}}};\nendmodule\n"
        )


def width(module: str) -> int:
    """Return how many deployed bits a module holds."""
    return int(module.removeprefix(ECC)) if module.startswith(ECC) else 1


def cells(module: str) -> int:
    """Return how many flip-flops a module has."""
    if module.startswith(ECC):
        return width(module) + check_bits(width(module))
    return 3 if module == TMR else 1


def image(module: str, bits: Bits) -> list[Bits]:
    """Return what the places of a module in the shift register hold for its bits; one place of ``store_tmr`` is three cells."""
    return [encode(bits)] if module.startswith(ECC) else [bits]


def cell(module: str) -> str:
    """Return the Verilog of a module."""
    if module == BARE:
        return f"""module {BARE} (input clk, input load, input din, output q, output dout);
  reg held;
  always @(posedge clk) if (load) held <= din;
  assign q = held;
  assign dout = held;
endmodule
"""
    if module == TMR:
        return f"""module {TMR} (input clk, input load, input din, output q, output dout);
  {COPIES} reg a, b, c;
  wire next = load ? din : q;
  assign q = (a & b) | (a & c) | (b & c);
  assign dout = q;
  {KEEP} always @(posedge clk) a <= next;
  {KEEP} always @(posedge clk) b <= next;
  {KEEP} always @(posedge clk) c <= next;
endmodule
"""
    return _ecc(width(module))


def _ecc(data: int) -> str:
    total, checks, codes = data + check_bits(data), check_bits(data), numbers(data)
    masks = [sum(1 << i for i, code in enumerate(codes) if code >> c & 1) for c in range(checks)]
    parities = "".join(f"  assign syndrome[{c}] = ^(held & {total}'h{mask:x});\n" for c, mask in enumerate(masks))
    right = "".join(f"  assign right[{i}] = held[{i}] ^ (syndrome == {checks}'d{code});\n" for i, code in enumerate(codes))
    return f"""module {ECC}{data} (input clk, input load, input din, output [{data - 1}:0] q, output dout);
  reg [{total - 1}:0] held;
  wire [{checks - 1}:0] syndrome;
  wire [{total - 1}:0] right;
{parities}{right}  always @(posedge clk) held <= load ? {{held[{total - 2}:0], din}} : right;
  assign q = right[{data - 1}:0];
  assign dout = held[{total - 1}];
endmodule
"""
