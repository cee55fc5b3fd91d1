"""The pipeline registers of the network's Verilog, each three times with a voter behind it.

Every register takes new data in every cycle, so nothing is written back: what is upset is voted out until it is gone. The voter is one more
look-up table between two registers, which costs time (`delay`).
"""

import re
from collections.abc import Collection, Mapping

from flow.core.errors import InvalidInput
from flow.protection.store import COPIES, KEEP
from flow.rtl.fabric import fabric

SOURCE, MODULE = "src/tripled.v", "tripled"
REGISTER = re.compile(r"^(\s*(?:output )?)reg (\[(\d+):0\] (\w+);?)$", re.M)
TAKES = re.compile(r"^\s*(\w+)\[(\d+):0\] <= ([^;]+);\n", re.M)
BLOCK = re.compile(r"^\s*always @\(posedge (\w+)\) begin\n(.*?)^\s*end\n", re.M | re.S)
TRIPLED = f"""// A register with three copies of each bit; the majority is read.
module {MODULE} #(parameter WIDTH = 1) (input clk, input [WIDTH-1:0] d, output [WIDTH-1:0] q);
  {COPIES} reg [WIDTH-1:0] a, b, c;
  {KEEP} always @(posedge clk) a <= d;
  {KEEP} always @(posedge clk) b <= d;
  {KEEP} always @(posedge clk) c <= d;
  assign q = (a & b) | (a & c) | (b & c);
endmodule
"""


def registers(sources: Mapping[str, str]) -> dict[str, int]:
    """Return the width of each pipeline register by name, in the order of the text.

    Raises:
        InvalidInput: not exactly one file has registers.
    """
    return {found[4]: int(found[3]) + 1 for found in REGISTER.finditer(sources[_owner(sources)])}


def triplicate(sources: Mapping[str, str], names: Collection[str] | None = None) -> dict[str, str]:
    """Return the Verilog with registers triplicated; ports and modules are the same.

    Args:
        sources: Verilog text by relative path, as `flow.rtl.verilog.write` leaves it.
        names: of `registers`; None: all.

    Raises:
        InvalidInput: the Verilog is not what is known here.
    """
    path = _owner(sources)
    text, widths = sources[path], registers(sources)
    names = set(widths if names is None else names)
    block = BLOCK.search(text)
    given = {found[1]: (int(found[2]) + 1, found[3]) for found in TAKES.finditer(block[2])} if block else {}
    if block is None or len(given) != block[2].count("<=") or {name: width for name, (width, _) in given.items()} != widths:
        raise InvalidInput(f"{path}: its registers are not those that are known here, so they cannot be triplicated.")
    if not names <= widths.keys():
        raise InvalidInput(f"{path}: there is no register {', '.join(sorted(names - widths.keys()))}. Known are {', '.join(widths)}.")
    kept = "".join(found[0] for found in TAKES.finditer(block[2]) if found[1] not in names)
    made = "".join(
        f"    {MODULE} #({widths[name]}) tripled_{name} (.clk({block[1]}), .d({given[name][1]}), .q({name}));\n"
        for name in widths if name in names
    )  # fmt: skip
    clocked = f"    always @(posedge {block[1]}) begin\n{kept}    end\n" if kept else ""
    text = text[: block.start()] + "\n" + made + clocked + text[block.end() :]
    text = REGISTER.sub(lambda found: f"{found[1]}wire {found[2]}" if found[4] in names else found[0], text)
    return {**sources, path: text, SOURCE: TRIPLED}


def delay(part: str) -> float:
    """Return how much longer a pipeline stage takes with a voter before it, in ns: a look-up table and a net.

    Raises:
        ConfigError: the family has no delay model.
    """
    rates = fabric(part)
    return rates.lut + rates.net


def _owner(sources: Mapping[str, str]) -> str:
    found = [path for path, text in sources.items() if REGISTER.search(text)]
    if len(found) != 1:
        raise InvalidInput(f"triplication of registers: they are in {', '.join(found) or 'no file'}; one file is expected.")
    return found[0]
